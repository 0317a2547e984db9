"""Thousands of damaged outputs: each is refused in our own words, or read as the truth.

Lost, doubled, swapped and interleaved lines and truncation at any byte are what adb, logcat and a
dying tool do; there every figure must be right. Lost or altered bytes inside a line happen to
nobody's adb, but a figure that is printed twice must survive them too.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from mnasfpn.android_harness.tool_output.benchmark_output import (
    Asked,
    BenchmarkOutput,
    check_asked,
    parse_output,
)
from mnasfpn.android_harness.tool_output.profiler import parse_profile
from mnasfpn.errors import BenchmarkOutputError

OUTPUTS = Path(__file__).parent / "outputs"
ROUNDS = 500
FOREIGN = (
    "ERROR: something else",
    "WARNING: linker: /system/lib64/libfoo.so: unused DT entry",
    "count=3 first=5 curr=6 min=5 max=7 avg=6 std=1",
    "INFO: count=1 curr=77",
    "Inference timings in us: Init: 1, First inference: 2, Warmup (avg): 3, Inference (avg): 4",
    "Running benchmark for at least 1 iterations and at least 0.5 seconds",
    "\x00\xff\ufffd",
)

Mutation = Callable[[random.Random, str], str]


def bases() -> dict[str, tuple[str, str]]:
    found = {path.stem: (path.read_text(), "") for path in sorted(OUTPUTS.glob("[A-H]_*.txt"))}
    era_i = "I_litert2.x_benchmark_litert_model"
    streams = ((OUTPUTS / f"{era_i}_{name}.txt").read_text() for name in ("stdout", "stderr"))
    stdout, stderr = streams
    return found | {era_i: (stdout, stderr)}


BASES = bases()


def on_lines(change: Callable[[random.Random, list[str]], None]) -> Mutation:
    def mutate(rng: random.Random, text: str) -> str:
        lines = text.split("\n")
        change(rng, lines)
        return "\n".join(lines)

    return mutate


def lose_lines(rng: random.Random, lines: list[str]) -> None:
    start = rng.randrange(len(lines))
    del lines[start : start + rng.choice((1, 1, 2, 5))]


def double_a_line(rng: random.Random, lines: list[str]) -> None:
    lines.insert(rng.randrange(len(lines)), rng.choice(lines))


def swap_lines(rng: random.Random, lines: list[str]) -> None:
    a, b = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[a], lines[b] = lines[b], lines[a]


def add_a_foreign_line(rng: random.Random, lines: list[str]) -> None:
    lines.insert(rng.randrange(len(lines)), rng.choice(FOREIGN))


def join_lines(rng: random.Random, lines: list[str]) -> None:
    at = rng.randrange(len(lines) - 1)
    lines[at : at + 2] = [lines[at] + lines[at + 1]]


def split_by_another(rng: random.Random, lines: list[str]) -> None:
    at = rng.randrange(len(lines))
    cut = rng.randrange(len(lines[at]) + 1)
    lines[at : at + 1] = [lines[at][:cut] + rng.choice(FOREIGN), lines[at][cut:]]


def truncate(rng: random.Random, text: str) -> str:
    return text[: rng.randrange(len(text))]


def twice(rng: random.Random, text: str) -> str:
    return text + text[rng.randrange(len(text)) :]


def lose_bytes(rng: random.Random, text: str) -> str:
    start = rng.randrange(len(text))
    return text[:start] + text[start + rng.choice((1, 2, 3, 10, 200)) :]


def alter_a_byte(rng: random.Random, text: str) -> str:
    at = rng.randrange(len(text))
    return text[:at] + rng.choice("0123456789.e+-: =[](),\t\x00Z") + text[at + 1 :]


OF_LINES: dict[str, Mutation] = {
    "lose": on_lines(lose_lines),
    "double": on_lines(double_a_line),
    "swap": on_lines(swap_lines),
    "foreign": on_lines(add_a_foreign_line),
    "truncate": truncate,
    "twice": twice,
    "join": on_lines(join_lines),
    "split": on_lines(split_by_another),
}
OF_BYTES: dict[str, Mutation] = {"lose": lose_bytes, "alter": alter_a_byte}


def damaged(name: str, mutate: Mutation, seed: str) -> list[BenchmarkOutput]:
    """What was read from ROUNDS damaged copies, the refused ones left out."""
    rng = random.Random(f"{name} {seed}")
    truth = parse_output(*BASES[name])
    asked = Asked(truth.settings["Graph"], int(truth.settings["Num threads"]))
    accepted = []
    for _ in range(ROUNDS):
        stdout, stderr = BASES[name]
        for _ in range(rng.choice((1, 1, 1, 2))):
            if stderr and rng.random() < 0.5:
                stderr = mutate(rng, stderr) or "\n"
            else:
                stdout = mutate(rng, stdout) or "\n"
        try:
            output = parse_output(stdout, stderr)
            check_asked(output, asked)
        except BenchmarkOutputError:
            continue
        accepted.append(output)
    return accepted


@pytest.mark.parametrize("kind", OF_LINES)
@pytest.mark.parametrize("name", BASES)
def test_damaged_lines(name: str, kind: str) -> None:
    truth = parse_output(*BASES[name])
    for output in damaged(name, OF_LINES[kind], kind):
        assert output.measured == truth.measured
        assert output.warmup == truth.warmup
        assert output.init_us in (truth.init_us, None)
        assert output.first_inference_us == truth.first_inference_us
        assert output.memory_mb.items() <= truth.memory_mb.items()
        for key, value in truth.settings.items():
            assert output.settings.get(key, value) == value
        assert set(output.delegates) <= set(truth.delegates)
        if output.profile:
            assert truth.profile is not None
            assert output.profile.rows == truth.profile.rows


@pytest.mark.parametrize("kind", OF_BYTES)
@pytest.mark.parametrize("name", BASES)
def test_damaged_bytes(name: str, kind: str) -> None:
    truth = parse_output(*BASES[name])
    exact = truth.settings and not name.startswith("I_")  # I repeats its figures rounded to 10 us
    for output in damaged(name, OF_BYTES[kind], kind):
        assert output.warmup is not None
        assert truth.warmup is not None
        if exact:
            assert output.measured.avg_us == truth.measured.avg_us
            assert output.warmup.avg_us == truth.warmup.avg_us
            assert output.init_us == pytest.approx(truth.init_us, rel=1e-4)
        else:
            assert output.measured.avg_us == pytest.approx(truth.measured.avg_us, abs=11)
        assert output.first_inference_us == pytest.approx(truth.first_inference_us, abs=11)
        if kind == "lose":
            for key, value in truth.measured.as_dict().items():
                assert output.measured.as_dict()[key] == pytest.approx(value, rel=0.02)
        if output.profile and truth.profile:
            seen = sum(row.cost_us for row in output.profile.rows)
            assert seen == pytest.approx(
                sum(row.cost_us for row in truth.profile.rows), rel=0.03, abs=20
            )


def test_damaged_csv_profile() -> None:
    text = (OUTPUTS / "G_opprof.csv").read_text()
    truth = parse_profile(text)
    rng = random.Random(5)
    for _ in range(2000):
        mutate = rng.choice([*OF_LINES.values()])
        try:
            profile = parse_profile(mutate(rng, text))
        except BenchmarkOutputError:
            continue
        assert profile.rows == truth.rows
