"""``python -m mnasfpn.benchmarks.verdicts``: what VALID means, on devices whose noise is known.

Simulated: a device that takes a known time for each model, but for a noise of a given size. The
ordinary campaign measures it once, is started again and again with what is stored, and every row is
judged as it is for a user. Only here is the truth known that the intervals are to hold.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from ..android_harness.campaign import campaign
from ..android_harness.device import Job, RunSettings
from ..android_harness.measurement import DeviceInfo, Run, Status, Telemetry
from ..android_harness.protocol import HOST_PROTOCOL, PHONE_PROTOCOL, MeasuringProtocol
from ..android_harness.verdict import measurements
from ..cli.console import command, progress
from ..progress import Progress, silent
from ..storage.atomic import write_atomically

OUT = Path(__file__).parent / "results"
PROTOCOLS = {"PC": HOST_PROTOCOL, "phone": PHONE_PROTOCOL}
SIGMAS = (0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.12, 0.2)
CALLS = 3
MODELS = 60  # of one campaign
CAMPAIGNS = 20
BAR = 0.9  # least share of VALID rows whose true centre lies in their interval
OUTLIERS, SLOWEST = 0.1, 2.0  # share of runs that something else slows, up to by this factor
DRIFT_VISITS = 100  # from fast to slow and back
SENTINEL = Job("sentinel", Path("sentinel.tflite"))

Array = NDArray[np.float64]
Law = Callable[[np.random.Generator, float, Array], Array]


def _lognormal(rng: np.random.Generator, sigma: float, visit: Array) -> Array:
    return rng.normal(0.0, sigma, visit.shape)


def _outliers(rng: np.random.Generator, sigma: float, visit: Array) -> Array:
    slowed = rng.uniform(0.0, math.log(SLOWEST), visit.shape)
    return _lognormal(rng, sigma, visit) + np.where(rng.random(visit.shape) < OUTLIERS, slowed, 0.0)


def _drift(rng: np.random.Generator, sigma: float, visit: Array) -> Array:
    """All models alike grow slower and faster by sigma, beside noise of that size."""
    swing = sigma * np.sin(2 * math.pi * visit / DRIFT_VISITS)
    return _lognormal(rng, sigma, visit) + swing


#: Logarithm of what a visit takes over what it would without noise, by the number of the visit.
LAWS: dict[str, Law] = {"lognormal": _lognormal, "outliers": _outliers, "drift": _drift}


class NoisyDevice:
    """Takes :func:`true_us` times the noise of a law. Simulated, and says so."""

    def __init__(self, law: Law, sigma: float, protocol: MeasuringProtocol, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._law, self._sigma, self._protocol = law, sigma, protocol
        self._visit = float(self._rng.uniform(0, DRIFT_VISITS))

    def describe(self) -> DeviceInfo:
        return DeviceInfo("noisy", *("simulated",) * 5, provenance="simulated")

    def telemetry(self) -> Telemetry:
        return Telemetry()

    def run_round(
        self, jobs: Sequence[Job], settings: RunSettings, round_number: int
    ) -> Iterator[tuple[Job, Run]]:
        for position, job in enumerate(jobs):
            self._visit += 1
            noise = self._law(self._rng, self._sigma, np.array([self._visit]))
            us = true_us(job.key) * math.exp(noise[0])
            stats_us = {self._protocol.statistics[0]: us, "count": float(settings.runs)}
            yield job, Run(round_number, position, stats_us=stats_us)


def true_us(key: str) -> float:
    """Any time will do, as long as models differ: verdicts and intervals are ratios to it."""
    return 1000.0 * (1 + zlib.crc32(key.encode()) % 1000)


def true_centre(law: Law, sigma: float, share: float) -> float:
    """Of infinitely many visits, at any time, over what a model takes without noise."""
    rng = np.random.default_rng(0)
    noise = law(rng, sigma, rng.uniform(0, DRIFT_VISITS, 400_000))
    return math.exp(float(np.quantile(noise, share)))


@dataclass(frozen=True)
class Row:
    """What became of the models of some campaigns.

    Args:
        device: whose protocol.
        sigma: standard deviation of the logarithm of the noise.
        valid: share of VALID rows after each call.
        held: share of VALID rows whose true centre lies in their interval, after each call; None
            where no row is VALID.
        half_width: median of the VALID rows, after the last call; None where there is none.
        runs: of a model, on average, after the last call.
    """

    device: str
    law: str
    sigma: float
    models: int
    valid: tuple[float, ...]
    held: tuple[float | None, ...]
    half_width: float | None
    runs: float

    @property
    def is_met(self) -> bool:
        rising = any(later > self.valid[0] + 1e-9 for later in self.valid)
        return not rising and all(share is None or share >= BAR for share in self.held)


def simulate(
    device: str, law: str, sigma: float, campaigns: int = CAMPAIGNS, models: int = MODELS
) -> Row:
    """Campaigns of models that are measured, and measured again by the same command."""
    protocol = PROTOCOLS[device]
    centre = true_centre(LAWS[law], sigma, protocol.quantile)
    jobs = [Job(f"model {number}", Path("m.tflite")) for number in range(models)]
    valid, held = [0] * CALLS, [0] * CALLS
    widths: list[float] = []
    runs = 0
    for seed in range(campaigns):
        noisy = NoisyDevice(LAWS[law], sigma, protocol, seed)
        stored: dict[str, list[Run]] = {}
        for call in range(CALLS):
            for job, run in campaign(
                noisy, jobs, protocol, seed, sentinel=SENTINEL, already=stored, sleep=_no_sleep
            ):
                stored.setdefault(job.key, []).append(run)
            found = measurements(noisy.describe(), stored, protocol, SENTINEL.key)
            for key, row in found.items():
                if row.verdict.status is not Status.VALID:
                    continue
                assert row.interval_us is not None
                assert row.half_width is not None
                low_us, high_us = row.interval_us
                valid[call] += 1
                held[call] += low_us <= true_us(key) * centre <= high_us
                if call == CALLS - 1:
                    widths.append(row.half_width)
        runs += sum(len(row.runs) for row in found.values())
    rows = campaigns * models
    return Row(
        device,
        law,
        sigma,
        rows,
        tuple(count / rows for count in valid),
        tuple(inside / count if count else None for inside, count in zip(held, valid, strict=True)),
        float(np.median(widths)) if widths else None,
        runs / rows,
    )


def _no_sleep(seconds: float) -> None:
    """A simulated device has nothing to wait for."""


def simulate_all(watch: Progress = silent) -> list[Row]:
    cells = [(device, law, sigma) for device in PROTOCOLS for law in LAWS for sigma in SIGMAS]
    rows = []
    for cell in cells:
        rows.append(simulate(*cell))
        watch(len(rows), len(cells), f"{cell[0]}, {cell[1]}, {cell[2]:.0%}")
    return rows


def table(rows: Sequence[Row]) -> list[str]:
    """As in docs/protocol.md: shares after one, two and three calls."""
    lines = [
        "| device | noise | sigma | VALID after 1 / 2 / 3 calls | of these, truth inside | half "
        "width | runs |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        inside = " / ".join("" if share is None else f"{share:.0%}" for share in row.held)
        width = "" if row.half_width is None else f"{row.half_width:.1%}"
        lines.append(
            f"| {row.device} | {row.law} | {row.sigma:.0%} | "
            f"{' / '.join(f'{share:.0%}' for share in row.valid)} | "
            f"{inside if row.held[0] is not None else '-'} | {width or '-'} | {row.runs:.1f} |"
        )
    return lines


def markdown(rows: Sequence[Row]) -> str:
    met = "met" if all(row.is_met for row in rows) else "NOT met"
    return "\n".join(
        (
            "# What VALID means",
            "",
            "Provenance: simulated. The ordinary campaign on a device whose models take a known "
            f"time, but for noise: {CAMPAIGNS} campaigns of {MODELS} models each, started three "
            "times with what is stored. Lognormal; with outliers, which slow "
            f"{OUTLIERS:.0%} of the runs by up to {SLOWEST - 1:.0%}; with drift, where all models "
            "alike become slower and faster by sigma. The truth is the protocol's quantile of "
            "infinitely many visits.",
            "",
            f"Bar: wherever there is a VALID row, {BAR:.0%} of them hold the truth, and no later "
            f"call has more than the first ({met}).",
            "",
            *table(rows),
            "",
        )
    )


@command
@click.option("--out", type=click.Path(path_type=Path), default=OUT, help="Where results go.")
def main(out: Path, as_json: bool) -> dict[str, object]:
    """How many rows are VALID under noise, and how many of these hold the truth."""
    with progress("simulating", quiet=as_json) as watch:
        rows = simulate_all(watch)
    result: dict[str, object] = {
        "provenance": "simulated",
        "met": all(row.is_met for row in rows),
        "rows": [asdict(row) for row in rows],
    }
    write_atomically(out / "verdicts.json", json.dumps(result, indent=1) + "\n")
    text = markdown(rows)
    write_atomically(out / "verdicts.md", text)
    if not as_json:
        click.echo(text)
    return result


if __name__ == "__main__":
    main(prog_name="python -m mnasfpn.benchmarks.verdicts")
