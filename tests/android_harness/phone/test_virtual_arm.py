"""The virtual ARM phone by itself: its clock, its two kinds, and that it says what it is."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from mnasfpn.android_harness.host.native_build import build
from mnasfpn.android_harness.tool_output.benchmark_output import (
    Asked,
    BenchmarkOutput,
    check_asked,
    parse_output,
)
from mnasfpn.models.graph.builder import GraphBuilder
from mnasfpn.models.tflite.writer import write_tflite
from mnasfpn.tests.android_harness.phone.virtual_arm import (
    ABI,
    CPUS,
    VirtualCpu,
    make_launcher,
    script,
    what_is_missing,
)

pytestmark = pytest.mark.phone
if missing := what_is_missing():
    pytest.skip(missing, allow_module_level=True)

A76, A53 = CPUS["cortex-a76"], CPUS["cortex-a53"]

#: Prints the nanoseconds between two clock readings with COUNT times one INSTRUCTION between.
PROGRAM = """
#include <stdio.h>
#include <time.h>
int main(void) {
    static long long memory[4];
    struct timespec start, end;
    clock_gettime(CLOCK_MONOTONIC, &start);
    __asm__ volatile(".rept COUNT\\n INSTRUCTION\\n .endr" ::"r"(memory) : "x9", "v0", "memory");
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("%lld\\n", (end.tv_sec - start.tv_sec) * 1000000000LL + end.tv_nsec - start.tv_nsec);
    return 0;
}
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pointwise and a depthwise convolution, twice, and an up-sampling between."""
    builder = GraphBuilder()
    name = builder.input("in", (1, 10, 10, 24))
    for part in ("a", "b"):
        name = builder.conv(f"{part}/conv", name, 24, activation="relu6")
        name = builder.depthwise(f"{part}/depthwise", name, 3)
    name = builder.resize_nearest("up", name, 20, 20)
    path = tmp_path_factory.mktemp("models") / "model.tflite"
    path.write_bytes(write_tflite(builder.graph([name])))
    return path


def measure(cpu: VirtualCpu, model: Path, *flags: str) -> tuple[BenchmarkOutput, str]:
    quick = ("--num_threads=1", "--min_secs=0", "--warmup_min_secs=0", "--num_runs=2")
    done = subprocess.run(
        [str(make_launcher(cpu)), f"--graph={model}", "--use_xnnpack=true", *quick, *flags],
        capture_output=True,
        text=True,
        check=False,
    )
    return parse_output(done.stdout, done.stderr, done.returncode), done.stdout


def times(output: BenchmarkOutput) -> list[float]:
    assert output.profile is not None
    return [output.measured.min_us, *(row.avg_ms for row in output.profile.rows)]


@pytest.mark.parametrize("cpu", CPUS.values(), ids=CPUS)
def test_the_same_model_takes_the_same_time_to_the_last_digit(cpu: VirtualCpu, model: Path) -> None:
    def timed_lines(text: str) -> list[str]:
        return [line for line in text.splitlines() if "count=" in line or "\t" in line]

    first, second = (
        timed_lines(measure(cpu, model, "--enable_op_profiling=true")[1]) for _ in "12"
    )
    assert first == second
    assert len(first) == 3 + 1 + 1 + 5  # count lines, Memory, heading of the table, its rows


def test_equal_kernels_take_equal_time(model: Path) -> None:
    output, _ = measure(A76, model, "--enable_op_profiling=true")
    _, *rows = times(output)
    conv_a, depthwise_a, conv_b, depthwise_b, _ = rows
    # The runtime's own clock has whole microseconds.
    assert conv_a == pytest.approx(conv_b, abs=0.0011)
    assert depthwise_a == pytest.approx(depthwise_b, abs=0.0011)


def test_the_two_kinds_are_two_devices(model: Path) -> None:
    """Other kernels, not only another clock: depthwise costs more of the time on the A53."""
    (_, *a76), (_, *a53) = (
        times(measure(cpu, model, "--enable_op_profiling=true")[0]) for cpu in (A76, A53)
    )
    share = [depthwise / conv for conv, depthwise in (a76[:2], a53[:2])]
    assert all(slow > fast for slow, fast in zip(a53, a76, strict=True))
    assert share[1] > 1.2 * share[0]


def test_its_output_is_that_of_the_tool_and_says_simulated(model: Path) -> None:
    output, text = measure(A76, model)
    check_asked(output, Asked(graph=str(model), threads=1, xnnpack=True))
    assert text.splitlines()[1].startswith(f"INFO: SIMULATED device: {A76.model}.")
    assert "simulated" in A76.model


@pytest.mark.parametrize(
    ("kind", "instruction"),
    [
        ("scalar", "add x9, x9, #1"),
        ("scalar", "mul x9, x9, x9"),
        ("branch", "b 1f\\n 1:"),
        ("memory", "ldr x9, [%0]"),
        ("vector_memory", "ldr q0, [%0]"),
        ("vector", "fadd v0.4s, v0.4s, v0.4s"),
        ("vector_fma", "fmla v0.4s, v0.4s, v0.4s"),
        ("vector_fma", "fmls v0.4s, v0.4s, v0.s[1]"),
        ("vector_fma", "fmadd s0, s0, s0, s0"),
    ],
)
def test_every_instruction_costs_what_its_class_does(
    kind: str, instruction: str, tmp_path: Path
) -> None:
    def elapsed_ns(count: int) -> int:
        source = tmp_path / f"{count}.c"
        program = PROGRAM.replace("COUNT", str(count)).replace("INSTRUCTION", instruction)
        source.write_text(program)
        launcher = tmp_path / "launcher"
        launcher.write_text(script(A53, build("program", [source], ABI), {}))
        done = subprocess.run(["sh", str(launcher)], capture_output=True, text=True, check=True)
        return int(done.stdout)

    difference_ns = elapsed_ns(3000) - elapsed_ns(1000)
    assert difference_ns == pytest.approx(2000 * A53.costs_ps[kind] / 1000, abs=2)


def test_the_clock_leaves_no_file_behind(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    measure(A76, model)
    assert list(tmp_path.iterdir()) == []
