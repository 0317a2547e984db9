"""``python -m mnasfpn.benchmarks.this_pc --work FOLDER``: how well a PC's latencies are predicted.

What ``mnasfpn profile`` and ``mnasfpn fit`` do by default, for three seeds (other heads, and
another order) on the machine as it is, and for three while another program, which the benchmark
starts, keeps the core busy that models are timed on. Interrupted, the same command goes on.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from ..android_harness.devices import opened
from ..android_harness.measurement import HOST
from ..cli.console import command, progress
from ..errors import InvalidInput
from ..latency.fitting.accuracy import share
from ..latency.fitting.fit import fit
from ..latency.profile.device_profile import DeviceProfile, save_profile
from ..latency.profile.validation import Figure, Validation
from ..latency.profiling.profile_device import profile_device
from ..latency.profiling.profile_options import ProfileOptions
from ..latency.profiling.session import Session
from ..latency.profiling.store import MeasurementStore
from ..storage.atomic import write_atomically

OUT = Path(__file__).parent / "results"
SEEDS = "31,32,33"  # the laws were compared on others: benchmarks/ablation.py
LEAST_R2 = 0.99
COVERAGE = (0.88, 0.93)  # of 90 % intervals
QUIET, LOADED = "quiet", "one core busy"
#: Compresses more than a second-level cache holds, over and over, on the core of its argument.
OTHER_PROGRAM = """
import os, random, sys, zlib
if hasattr(os, "sched_setaffinity") and sys.argv[1] != "None":
    os.sched_setaffinity(0, {int(sys.argv[1])})
content = random.Random(0).randbytes(1 << 23)
while os.getppid() == int(sys.argv[2]):
    zlib.compress(content, 6)
"""


@dataclass(frozen=True)
class Campaign:
    """One profile and how good it is.

    Args:
        minutes: that this call measured; less than it takes where it went on.
    """

    condition: str
    seed: int
    profile: DeviceProfile
    minutes: float

    @property
    def validation(self) -> Validation:
        assert self.profile.validation is not None  # it is fitted
        return self.profile.validation

    @property
    def sigma(self) -> float:
        """Of one measurement: two of the same head differ by sqrt(2) times as much."""
        again = self.validation.noise_floor
        return again.rmspe.value / math.sqrt(2) if again else math.nan


@contextmanager
def busy(core: int | None) -> Iterator[None]:
    """Another program keeps a core busy meanwhile; it ends with this one, however that ends."""
    words = (sys.executable, "-c", OTHER_PROGRAM, str(core), str(os.getpid()))
    process = subprocess.Popen(words)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def measured(work: Path, condition: str, seed: int, quiet: bool) -> Campaign:
    """The fitted profile of a condition and seed; what the store has is not measured again."""
    name = f"{condition.replace(' ', '-')}-{seed}"
    start = time.monotonic()
    with (
        opened(HOST, None) as device,
        busy(next(iter(device.describe().cores), None)) if condition == LOADED else nullcontext(),
        MeasurementStore(work / f"{name}.db") as runs,
        progress(f"{condition}, seed {seed}", quiet=quiet) as report,
    ):
        session = Session(device, runs, seed=seed, progress=report)
        profile = fit(profile_device(session, ProfileOptions(seed=seed).plan()))
    save_profile(profile, work / f"{name}.json")
    return Campaign(condition, seed, profile, (time.monotonic() - start) / 60)


def held(campaigns: list[Campaign]) -> dict[str, Figure]:
    """Share of all their heads inside, below and above their intervals."""
    points = [point for each in campaigns for point in each.validation.points]
    return {
        "inside": share(sum(point.inside for point in points), len(points)),
        "below": share(sum(point.measured_ms < point.low_ms for point in points), len(points)),
        "above": share(sum(point.measured_ms > point.high_ms for point in points), len(points)),
    }


def verdicts(campaigns: list[Campaign]) -> list[str]:
    """What was asked for, and whether it was met, in words; one condition's campaigns."""
    worst = min(each.validation.accuracy.r2.value for each in campaigns)
    inside = held(campaigns)["inside"]
    met = "met" if worst >= LEAST_R2 else "NOT met"
    low, high = COVERAGE
    if low <= inside.value <= high:
        holds = "met"
    else:
        holds = "not told apart" if inside.low <= high and inside.high >= low else "NOT met"
    return [
        f"R2 of every seed at least {LEAST_R2}: {worst:.4f} is the least, {met}.",
        f"{low:.0%} to {high:.0%} of held-out heads inside 90 % intervals: {_percent(inside)} of "
        f"all seeds, {holds}.",
    ]


def _percent(figure: Figure) -> str:
    return f"{figure.value:.1%} [{figure.low:.0%}, {figure.high:.0%}]"


def row(each: Campaign) -> str:
    accuracy, shares = each.validation.accuracy, held([each])
    cells = (
        each.condition,
        str(each.seed),
        f"{accuracy.r2.value:.4f} [{accuracy.r2.low:.4f}, {accuracy.r2.high:.4f}]",
        f"{accuracy.rmspe.value:.1%} [{accuracy.rmspe.low:.1%}, {accuracy.rmspe.high:.1%}]",
        f"{each.sigma:.1%}",
        f"{accuracy.within_5.value:.0%}",
        f"{accuracy.within_10.value:.0%}",
        _percent(shares["inside"]),
        f"{shares['below'].value:.0%}, {shares['above'].value:.0%}",
        each.profile.unstable or "0%",
    )
    return f"| {' | '.join(cells)} |"


def markdown(found: Mapping[str, list[Campaign]]) -> str:
    first = next(iter(found.values()))[0]
    profile, device = first.profile, first.profile.device
    core = f"core {device.cores[0]}" if device.cores else "no core of their own"
    lines = [
        "# How well a PC's latencies are predicted",
        "",
        f"Provenance: {profile.provenance}, on {core} of {device.soc}, {device.runtime}. Each "
        f"campaign: {len(profile.table)} kernels, {len(profile.heads_for('calibration'))} heads of "
        "the MnasFPN space to calibrate on, and "
        f"{first.validation.accuracy.models} others to validate on, each measured twice; all drawn "
        "uniformly. While the busy campaigns were measured, another program that the benchmark "
        f"starts compressed data without a pause on the same core. Laws were compared on other "
        "seeds (`ablation.md`).",
        "",
        "Sigma is what one measurement is off by: two of the same head differ by sqrt(2) sigma. It "
        "is in every error below, so that a predictor without error would have RMSPE = sigma.",
        "",
        "| condition | seed | R2 | RMSPE | sigma | within 5 % | within 10 % | inside 90 % interval "
        "| below, above | UNSTABLE |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for campaigns in found.values():
        lines += map(row, campaigns)
    lines += ["", "In brackets 95 % intervals, of shares by Wilson's formula.", ""]
    for condition, campaigns in found.items():
        lines += [f"{condition[0].upper()}{condition[1:]}: {' '.join(verdicts(campaigns))}", ""]
    return "\n".join(lines)


def seeds_of(text: str) -> list[int]:
    """Seeds with commas between.

    Raises:
        InvalidInput: something else.
    """
    try:
        return [int(word) for word in text.split(",")]
    except ValueError:
        raise InvalidInput(
            f"--seeds takes whole numbers with commas between, as {SEEDS}; got {text!r}"
        ) from None


@command
@click.option(
    "--work",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of raw runs and profiles; an interrupted benchmark goes on with the same.",
)
@click.option("--out", type=click.Path(path_type=Path), default=OUT, help="Where results go.")
@click.option("--seeds", default=SEEDS, show_default=True, help="Of the campaigns.")
def main(work: Path, out: Path, seeds: str, as_json: bool) -> dict[str, object]:
    """Profile this PC for three seeds, as it is and with one core kept busy: an hour or more."""
    wanted = seeds_of(seeds)
    work.mkdir(parents=True, exist_ok=True)
    found = {
        condition: [measured(work, condition, seed, quiet=as_json) for seed in wanted]
        for condition in (QUIET, LOADED)
    }
    text = markdown(found)
    campaigns = [each for its in found.values() for each in its]
    result: dict[str, object] = {
        "provenance": campaigns[0].profile.provenance,
        "device": asdict(campaigns[0].profile.device),
        "campaigns": [
            {
                "condition": each.condition,
                "seed": each.seed,
                "sigma": each.sigma,
                "unstable": each.profile.unstable_shares,
                "minutes": each.minutes,
                "validation": asdict(each.validation),
            }
            for each in campaigns
        ],
        "coverage": {
            condition: {name: asdict(figure) for name, figure in held(its).items()}
            for condition, its in found.items()
        },
        "verdicts": {condition: verdicts(its) for condition, its in found.items()},
    }
    write_atomically(out / "this_pc.json", json.dumps(result, indent=1) + "\n")
    write_atomically(out / "this_pc.md", text)
    if not as_json:
        click.echo(text)
    return result


if __name__ == "__main__":
    main(prog_name="python -m mnasfpn.benchmarks.this_pc")
