"""The native runner on this PC: its operator profile, its output, its errors."""

from __future__ import annotations

import os
import platform
import signal
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mnasfpn.android_harness.device import Job, RunSettings
from mnasfpn.android_harness.host.host import HostDevice
from mnasfpn.android_harness.host.native_build import (
    build,
    build_runner,
    find_compiler,
    litert_library,
)
from mnasfpn.android_harness.host.operator_profile import (
    ACTIVATION_APART,
    XNNPACK_ACTIVATION,
    XNNPACK_NAMES,
    OpSamples,
    _read,
    op_profile,
    profile_model,
)
from mnasfpn.android_harness.phone.benchmark_tool import arguments, flags_known
from mnasfpn.android_harness.tool_output.benchmark_output import Asked, check_asked, parse_output
from mnasfpn.errors import BenchmarkOutputError, JobFailed, StableDeviceError, TransientDeviceError
from mnasfpn.models.graph.builder import GraphBuilder
from mnasfpn.models.graph.graph import Graph
from mnasfpn.models.tflite.writer import write_tflite
from mnasfpn.tests.android_harness.host.native_runner import obstacle

if missing := obstacle():
    pytest.skip(missing, allow_module_level=True)

QUICK = ("--num_threads=1", "--min_secs=0", "--warmup_min_secs=0", "--num_runs=5")


def run(model: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(build_runner()), f"--graph={model}", *flags],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"LITERT_LIBRARY": str(litert_library())},
    )


def save(graph: Graph, path: Path) -> Path:
    path.write_bytes(write_tflite(graph))
    return path


ATTRIBUTES: dict[str, dict[str, Any]] = {
    "mean": {"axes": (3,)},
    "transpose": {"axes": (0, 3, 1, 2)},
    "slice": {"target": (1, 10, 10, 16)},
    "max_pool": {"window": (3, 3), "stride": (2, 2)},
    "average_pool": {"window": (3, 3), "stride": (2, 2)},
    "resize_bilinear": {"target": (24, 24)},
    "reshape": {"target": (1, 144, 16)},
    "pad": {"pads": ((1, 1), (1, 1))},
}
WEIGHTS = {"conv": (3, 3, 16, 24), "depthwise_conv": (3, 3, 16, 1), "fully_connected": (16, 24)}


#: Types of the tensors read and written, where they are not float32.
DTYPES = {
    "quantize": ("float32", "int8"),
    "requantize": ("int8", "int8"),
    "dequantize": ("int8", "float32"),
}


def one_layer(op: str, **attributes: Any) -> Graph:
    """A graph of that one operator on a small tensor."""
    builder = GraphBuilder()
    count = 2 if op == "concat" or op in ACTIVATION_APART else 1
    inputs = tuple(builder.input(f"in{i}", (1, 12, 12, 16)) for i in range(count))
    attributes |= ATTRIBUTES.get(op, {})
    graph = builder.graph([builder.add_layer("only", op, inputs, WEIGHTS.get(op), **attributes)])
    read, written = DTYPES.get(op, ("float32", "float32"))
    layers = (
        replace(layer, dtype=read if layer.op == "input" else written) for layer in graph.layers
    )
    return Graph(tuple(layers), graph.outputs)


@pytest.fixture(scope="module")
def partitioned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Convolution, resize, convolution, resize, convolution: three delegate partitions."""
    builder = GraphBuilder()
    name = builder.input("in", (1, 5, 5, 16))
    for size in (10, 20):
        name = builder.conv(f"conv{size}", name, 16)
        name = builder.resize_nearest(f"up{size}", name, size, size)
    name = builder.conv("last", name, 16)
    return save(builder.graph([name]), tmp_path_factory.mktemp("models") / "partitioned.tflite")


@pytest.mark.parametrize("op", XNNPACK_NAMES)
def test_xnnpack_calls_an_operator_what_the_table_says(op: str, tmp_path: Path) -> None:
    rows = op_profile(save(one_layer(op), tmp_path / "m.tflite"), runs=2)
    assert len(rows) == 1
    assert rows[0].op.startswith(XNNPACK_NAMES[op])
    assert rows[0].name == f"Delegate/{rows[0].op}:0"


@pytest.mark.parametrize("op", ["conv", "add"])
def test_only_activations_apart_have_a_row_of_their_own(op: str, tmp_path: Path) -> None:
    rows = op_profile(save(one_layer(op, activation="relu6"), tmp_path / "m.tflite"), runs=2)
    apart = [XNNPACK_ACTIVATION] if op in ACTIVATION_APART else []
    assert [row.op for row in rows][1:] == apart


def test_rows_stay_apart_and_in_order_across_partitions(partitioned: Path) -> None:
    rows = op_profile(partitioned, runs=2)
    product, resize = "Fully Connected (NC, F32) GEMM", "RESIZE_NEAREST_NEIGHBOR"
    assert [row.op for row in rows] == [product, resize, product, resize, product]
    assert [row.name for row in rows][1::2] == ["[up10]:1", "[up20]:3"]
    # The summary that LiteRT prints itself numbers operators per partition and merges these three.
    assert len({row.name for row in rows if row.op == product}) == 1


def test_without_xnnpack_the_interpreter_names_its_own_operators(partitioned: Path) -> None:
    rows = op_profile(partitioned, runs=2, xnnpack=False)
    names = ["CONV_2D", "RESIZE_NEAREST_NEIGHBOR"]
    assert [row.op for row in rows] == [*names, *names, "CONV_2D"]


def test_every_sample_of_every_operator_is_kept(partitioned: Path) -> None:
    rows = profile_model(partitioned, RunSettings(runs=7)).operators
    assert [len(row.samples_us) for row in rows] == [7] * 5


def test_a_disturbed_half_of_the_samples_does_not_count() -> None:
    assert OpSamples("ADD", "x", (10, 900, 12, 5000, 11)).undisturbed_us == 11
    assert OpSamples("ADD", "x", (10, 900)).undisturbed_us == 10
    assert OpSamples("ADD", "x", (7,)).undisturbed_us == 7


def test_output_is_read_like_that_of_benchmark_model(partitioned: Path) -> None:
    done = run(partitioned, *QUICK, "--use_xnnpack=true", "--enable_op_profiling=true")
    output = parse_output(done.stdout, done.stderr, done.returncode)
    check_asked(output, Asked(graph=str(partitioned), threads=1, xnnpack=True))
    assert "not Google's benchmark_model" in done.stdout.splitlines()[0]
    assert done.stdout.count("count=") == 4  # warm-up, measured, sum of operators, memory


def test_csv_profile_has_the_rows_of_the_text_profile(partitioned: Path, tmp_path: Path) -> None:
    file = tmp_path / "ops.csv"
    flags = ("--op_profiling_output_mode=csv", f"--op_profiling_output_file={file}")
    done = run(partitioned, *QUICK, "--enable_op_profiling=true", *flags)
    assert done.returncode == 0
    lines = file.read_text().splitlines()
    assert lines[2] == "node type, first, avg_ms, %, cdf%, mem KB, times called, name"
    assert len(lines) == 3 + 5 + 1
    assert lines[3].startswith("Fully Connected (NC, F32) GEMM, ")
    assert lines[3].endswith(", 0, 1, Delegate/Fully Connected (NC\t F32) GEMM:0")


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (("--frobnicate=3",), "Unconsumed cmdline flags: --frobnicate=3"),
        (("--num_runs=2", "--num_runs=3"), "Duplicate flags: num_runs"),
    ],
)
def test_flags_that_change_nothing_are_said(
    partitioned: Path, flags: tuple[str, ...], line: str
) -> None:
    done = run(partitioned, "--min_secs=0", "--warmup_min_secs=0", *flags)
    assert done.returncode == 0
    assert line in done.stdout


def test_dry_run_measures_nothing_and_says_so(partitioned: Path) -> None:
    done = run(partitioned, "--dry_run=true")
    assert done.returncode == 0
    assert done.stdout.count("INFO: count=0\n") == 2


def test_time_limit_ends_a_run_before_its_count(partitioned: Path) -> None:
    done = run(partitioned, "--num_runs=1000000000", "--max_secs=0.05", "--warmup_min_secs=0")
    output = parse_output(done.stdout, done.stderr, done.returncode)
    assert 0 < output.measured.count < 1_000_000_000


@pytest.mark.parametrize(
    ("content", "flags", "reason"),
    [
        (b"not a model", (), "should be 'TFL3'"),
        (None, (), "no file"),
        (b"", ("--num_runs=many",), "Failed to parse flag 'num_runs'"),
    ],
)
def test_bad_input_fails_with_a_reason(
    content: bytes | None, flags: tuple[str, ...], reason: str, tmp_path: Path
) -> None:
    model = tmp_path / "m.tflite"
    if content is not None:
        model.write_bytes(content)
    done = run(model, *flags)
    assert done.returncode == 1
    assert reason in done.stderr


def test_profile_of_something_else_is_refused(tmp_path: Path) -> None:
    model = tmp_path / "m.tflite"
    model.write_bytes(b"TFL3" * 100)
    with pytest.raises(BenchmarkOutputError, match="exit code 1"):
        op_profile(model)


def test_profile_that_takes_too_long_is_stopped(partitioned: Path) -> None:
    endless = RunSettings(runs=10**9, max_s=50, timeout_s=0.3)
    with pytest.raises(TransientDeviceError, match=r"took longer than 0\.3 s"):
        profile_model(partitioned, endless)
    short = RunSettings(runs=10**9, max_s=0.05)
    few = profile_model(partitioned, short)
    assert few.stats_us["count"] == len(few.operators[0].samples_us) < short.runs


def test_a_missing_library_is_named(partitioned: Path) -> None:
    done = subprocess.run(
        [str(build_runner()), f"--graph={partitioned}"],
        capture_output=True,
        text=True,
        check=False,
        env={"LITERT_LIBRARY": "/nowhere/libLiteRt.so"},
    )
    assert done.returncode == 1
    assert "Set LITERT_LIBRARY" in done.stderr


def test_no_compiler_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(StableDeviceError, match="apt-get install gcc-aarch64-linux-gnu"):
        find_compiler("aarch64")


def test_a_program_is_built_once_until_its_source_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MNASFPN_CACHE", str(tmp_path / "cache"))
    source = tmp_path / "answer.c"
    source.write_text("int main(void) { return 3; }")
    first = build("answer", [source], platform.machine())
    assert subprocess.run([first], check=False).returncode == 3
    stamp = first.stat().st_mtime_ns
    assert build("answer", [source], platform.machine()).stat().st_mtime_ns == stamp
    source.write_text("int main(void) { return 4; }")
    assert build("answer", [source], platform.machine()) != first
    source.write_text("int main(void) { return unknown; }")
    with pytest.raises(JobFailed, match="unknown"):
        build("answer", [source], platform.machine())


def test_damaged_samples_are_an_error() -> None:
    from mnasfpn.android_harness.host.operator_profile import _read

    for text in ("", "ADD\tx\t1 2\nMUL\ty\t1\n"):
        with pytest.raises(BenchmarkOutputError, match="damaged"):
            _read(text)


def test_help_lists_the_flags_it_is_called_with(partitioned: Path) -> None:
    done = run(partitioned, "--help")
    assert done.returncode == 0
    known = flags_known(done.stdout + done.stderr)
    assert {"use_xnnpack", "enable_op_profiling", "op_profiling_output_file"} <= known
    asked = arguments(str(partitioned), RunSettings(runs=2, op_profile=True), known)
    measured = run(partitioned, *asked[1:])
    assert parse_output(measured.stdout, measured.stderr, measured.returncode).profile is not None


@pytest.mark.parametrize("text", ["", "a\tb\t1 2\nc\td\t1\n", "a\tb\t1 x\n", "a b 1\n", "a\tb\t\n"])
def test_damaged_samples_are_refused(text: str) -> None:
    with pytest.raises(BenchmarkOutputError, match="operator samples are damaged"):
        _read(text)


def test_a_model_too_slow_to_profile_costs_its_own_run_only(partitioned: Path) -> None:
    slow = RunSettings(runs=10**9, max_s=50, timeout_s=0.3, op_profile=True)
    work = [Job("a", partitioned), Job("b", partitioned)]
    found = [run for _, run in HostDevice().run_round(work, slow, 0)]
    assert ["took longer than 0.3 s" in run.error for run in found] == [True, True]


def test_ctrl_c_while_the_runner_starts_leaves_none(
    partitioned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There must be something to end before Ctrl-C has its effect."""
    build_runner()  # so that no compiler is started below
    started = []

    class Pressed(subprocess.Popen[str]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            signal.raise_signal(signal.SIGINT)
            super().__init__(*arguments, **options)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Pressed)
    with pytest.raises(KeyboardInterrupt):
        profile_model(partitioned, RunSettings(runs=10**9, max_s=50, op_profile=True))
    (runner,) = started
    assert runner.returncode == -signal.SIGKILL
