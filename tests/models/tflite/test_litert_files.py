"""LiteRT's own test models: what its runtime runs is read, and nothing else ends in our errors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mnasfpn.errors import InvalidModelFile
from mnasfpn.models.tflite.interpreter_process import InterpreterProcess
from mnasfpn.models.tflite.reader import read_tflite

FOLDER = Path(__file__).parents[4] / "shared" / "fixtures" / "litert"
FILES = sorted(path for path in FOLDER.glob("*") if path.suffix in (".tflite", ".bin"))

#: Run, and not read: end of the name -> the reason that is given.
REFUSED = {
    "simple_topk_op_runtime_k.tflite": "depends on what the data are",
    "multi_subgraphs_while.bin": "control flow",
}
#: Read, and not run by this runtime: a phone may have the operator, or other inputs suit it.
NOT_RUN_HERE = {
    **dict.fromkeys(
        (
            *("dynamic_string_custom_ops.tflite", "max_unpooling_2d.tflite", "custom_sinh.bin"),
            *("precompiled_mediatek_model.tflite", "google_tensor_p25_precompiled.tflite"),
            *("npu_google_tensor_precompiled.tflite", "multi_add_flex.bin", "sparse_tensor.bin"),
            "with_metadata.bin",
        ),
        "custom operators",
    ),
    **dict.fromkeys(("gather_string.tflite", "simple_floor_mod.tflite"), "zeros as inputs"),
    **dict.fromkeys(
        (
            *("lstm_calibrated2.bin", "lstm_quantized2.bin", "single_conv_no_bias.bin"),
            *("svdf_quantized.bin", "tensor_string_data_type.bin", "versioned_ops.bin"),
        ),
        "operands that its kernel does not take",
    ),
}


def runs(content: bytes) -> bool:
    """Whether the runtime takes the file and zeros for all of its inputs."""
    try:
        interpreter = InterpreterProcess(content, most_s=60)
        interpreter.run(*(np.zeros(each.shape, each.dtype) for each in interpreter.inputs))
    except InvalidModelFile:
        return False
    return True


def reason(content: bytes) -> str | None:
    """Why a file is refused; None if it is read."""
    try:
        read_tflite(content)
    except InvalidModelFile as error:
        return str(error)
    return None


def listed(path: Path, names: dict[str, str]) -> str | None:
    return next((why for name, why in names.items() if path.name.endswith(name)), None)


@pytest.mark.slow
@pytest.mark.skipif(not FILES, reason="needs LiteRT's test models in ../shared/fixtures/litert")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_what_the_runtime_runs_is_read(path: Path) -> None:
    content = path.read_bytes()
    refused = reason(content)
    if listed(path, REFUSED):
        assert listed(path, REFUSED) in (refused or "")
    elif listed(path, NOT_RUN_HERE):
        assert refused is None
    else:
        assert runs(content) == (refused is None)
