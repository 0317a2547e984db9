"""Why a tool failed: what LiteRT 2.3 said of files that it refuses, and what its users reported."""

from __future__ import annotations

import pytest

from mnasfpn.android_harness.tool_output.benchmark_output import parse_output
from mnasfpn.android_harness.tool_output.failure import reason_of
from mnasfpn.errors import BenchmarkOutputError

NOISE = "ERROR: [dispatch_delegate.cc:116] Failed to initialize Dispatch API\n"

#: What the tool said on stderr -> its reason.
SAID = {
    "ERROR: tflite/util.cc BytesRequired number of elements overflowed.\n"
    "ERROR: Node number 2 (RESHAPE) failed to prepare.\n"
    "ERROR: Failed to allocate tensors!\n"
    "ERROR: Benchmarking failed.\n": (
        "tflite/util.cc BytesRequired number of elements overflowed.; "
        "Node number 2 (RESHAPE) failed to prepare."
    ),
    "ERROR: Op type not registered 'Custom: FlexErf'\nERROR: Benchmarking failed.\n": (
        "Op type not registered 'Custom: FlexErf'"
    ),
    "ERROR: [build_stamp.cc:55] Build stamp size mismatch\n"
    "ERROR: Encountered unresolved custom op: DISPATCH_OP.\n"
    "See instructions: https://www.tensorflow.org/lite/guide/ops_custom\n"
    "ERROR: Node number 0 (DISPATCH_OP) failed to prepare.\n"
    "ERROR: [litert_compiled_model.cc:164] Failed to allocate tensors\n"
    "ERROR: Benchmarking failed.\n": (
        "Encountered unresolved custom op: DISPATCH_OP.; "
        "Node number 0 (DISPATCH_OP) failed to prepare."
    ),
    "ERROR: [model_load.cc:316] Variable tensors not yet supported.\n"
    "ERROR: Failed to load the model (LiteRT status 5).\n"
    "ERROR: Benchmarking failed.\n": "Variable tensors not yet supported.",
    "ERROR: [tensor_buffer.cc:150] Failed to get num packed bytes\n"
    "ERROR: Failed to allocate tensors (LiteRT status 3).\n"
    "ERROR: Benchmarking failed.\n": (
        "Failed to get num packed bytes; Failed to allocate tensors (LiteRT status 3)."
    ),
    "E tflite  : ERROR: Input tensor 2 lacks data\r\nERROR: Benchmarking failed.\r\n": (
        "Input tensor 2 lacks data"
    ),
    "ERROR: Benchmarking failed.\n": "ERROR: Benchmarking failed.",
    "WARNING: linker: x\nSegmentation fault\n": "Segmentation fault",
    "": "nothing",
}


@pytest.mark.parametrize("said", SAID)
def test_the_reason_is_the_line_that_gives_it(said: str) -> None:
    assert reason_of("INFO: STARTING!\n" * bool(said), said) == SAID[said]
    assert reason_of("INFO: STARTING!\n" * bool(said) + said) == SAID[said]  # one stream


@pytest.mark.parametrize("said", list(SAID)[:4])
def test_errors_that_good_runs_print_too_are_not_the_reason(said: str) -> None:
    assert reason_of(NOISE, said) == SAID[said]


def test_a_failed_run_gives_the_reason() -> None:
    said = next(iter(SAID))
    with pytest.raises(BenchmarkOutputError, match=r"exit code 1 and said '.*overflowed\.; Node"):
        parse_output("INFO: STARTING!\n", said, exit_code=1)
