"""``python -m mnasfpn.benchmarks.foreign_models``: any .tflite, estimated and then measured.

Networks that no profile was made from - of keras.applications, and designs it lacks, in float32,
with float16 or int8 weights, and in int8 throughout - are estimated from a profile of this PC: the
kernels of the MnasFPN space and of networks in general, calibrated on random heads and random
networks. Their measurements stand in the same store, at the same clock, and are used for
nothing but the comparison.
"""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click

from ..android_harness.devices import opened
from ..android_harness.measurement import HOST, Measurement
from ..android_harness.protocol import HOST_PROTOCOL, quick
from ..cli.console import command, progress
from ..latency.estimate.estimate import Estimator
from ..latency.fitting.fit import fit
from ..latency.profile.device_profile import DeviceProfile
from ..latency.profiling.measured_files import measure_files
from ..latency.profiling.plan import ProfilingPlan
from ..latency.profiling.profile_device import profile_device
from ..latency.profiling.profile_options import ProfileOptions
from ..latency.profiling.session import Session
from ..latency.profiling.store import MeasurementStore
from ..models.graph.arithmetic import ARITHMETICS
from ..models.tflite.reader import read_tflite
from ..storage.atomic import write_atomically
from .keras_models import MODEL_SETS, Architecture, ModelSet, converted

OUT = Path(__file__).parent / "results"
MOST_ERROR = 0.15
LEAST_SHARE = 0.8

COLUMNS = (
    *("architecture", "predicted ms", "interval ms", "measured ms", "error"),
    *("layers known", "MAdds known", "verdict"),
)


@dataclass(frozen=True)
class Row:
    """One architecture: what was said of it, and what it took."""

    name: str
    predicted_ms: float
    low_ms: float
    high_ms: float
    measured_ms: float
    spread: float
    verdict: str
    covered_layers: float
    covered_madds: float
    uncovered: tuple[str, ...]

    @property
    def error(self) -> float:
        return self.predicted_ms / self.measured_ms - 1

    @property
    def inside(self) -> bool:
        """Whether the interval holds the measurement."""
        return self.low_ms <= self.measured_ms <= self.high_ms

    @property
    def cells(self) -> tuple[str, ...]:
        return (
            self.name,
            f"{self.predicted_ms:.2f}",
            f"{self.low_ms:.2f} to {self.high_ms:.2f}",
            f"{self.measured_ms:.2f}",
            f"{self.error:+.1%}",
            f"{self.covered_layers:.1%}",
            f"{self.covered_madds:.1%}",
            self.verdict,
        )


def row(name: str, file: Path, estimator: Estimator, measured: Measurement) -> Row | None:
    """None where the device could not run the file."""
    if measured.centre_us is None or measured.spread is None:
        return None
    found = estimator.estimate(read_tflite(file), allow_gaps=True)
    reasons = "; ".join(measured.verdict.reasons)
    return Row(
        name=name,
        predicted_ms=found.latency_ms,
        low_ms=found.low_ms,
        high_ms=found.high_ms,
        measured_ms=measured.centre_us / 1e3,
        spread=measured.spread,
        verdict=measured.verdict.status.value + (f" ({reasons})" if reasons else ""),
        covered_layers=found.covered_layers,
        covered_madds=found.covered_madds,
        uncovered=found.uncovered,
    )


def share_within(rows: list[Row], error: float) -> float:
    """Share of predictions that are at most that far off."""
    return sum(abs(item.error) <= error for item in rows) / len(rows)


def summary(rows: list[Row]) -> str:
    """The bar, and whether it was met."""
    share = share_within(rows, MOST_ERROR)
    inside = sum(item.inside for item in rows)
    return (
        f"Within {MOST_ERROR:.0%}: {share:.0%} of {len(rows)} architectures "
        f"(bar: {LEAST_SHARE:.0%}; {'met' if share >= LEAST_SHARE else 'NOT met'}). Within 10 %: "
        f"{share_within(rows, 0.10):.0%}. Inside their interval: {inside} of {len(rows)}. Mean "
        f"absolute error {statistics.mean(abs(item.error) for item in rows):.1%}, median error "
        f"{statistics.median(item.error for item in rows):+.1%}."
    )


def section(name: str, note: str, rows: list[Row]) -> list[str]:
    """Markdown of one set."""
    lines = [f"## {name[0].upper()}{name[1:]}", "", f"{note[0].upper()}{note[1:]}.", ""]
    lines += [f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS)]
    lines += [f"| {' | '.join(item.cells)} |" for item in rows]
    lines += ["", summary(rows), ""]
    unknown = sorted({signature.split("=")[-1] for item in rows for signature in item.uncovered})
    return lines + ([f"Not known and bounded: {', '.join(unknown)}.", ""] if unknown else [])


def markdown(found: Mapping[ModelSet, list[Row]], notes: list[str]) -> str:
    lines = ["# Foreign .tflite files, estimated and measured", "", *notes, ""]
    for each, rows in found.items():
        lines += section(each.name, each.note, rows)
    return "\n".join(lines)


def notes(profile: DeviceProfile, plan: ProfilingPlan, noise: float) -> list[str]:
    info, campaign = profile.device, profile.campaign
    return [
        f"Provenance: measured on this PC ({info.soc}, {os.cpu_count()} cores, {info.runtime}), "
        f"seed {campaign.seed}, protocol {campaign.protocol}: {campaign.settings['rounds']} "
        "sessions, each a process of its own. "
        f"The profile has {len(profile.table)} kernels: those of the MnasFPN space, {plan.general} "
        f"of networks in general in each of {', '.join(plan.arithmetics)} (hybrid: int8 weights), "
        f"and those of {plan.networks} random networks in each; it is calibrated on the latter and "
        f"{plan.calibration_heads} random heads. None of the architectures below took part in any "
        f"fit. {campaign.unstable:.1%} of the profile's measurements are UNSTABLE. The machine "
        "was shared while they were made; the same network measured in different processes "
        f"differed by {noise:.1%} (median spread of the networks below).",
    ]


@command
@click.option("--work", type=click.Path(path_type=Path), required=True, help="Files and runs.")
@click.option("--out", type=click.Path(path_type=Path), default=OUT, help="Where results go.")
@click.option("--general", default=256, show_default=True, help="Kernels of networks in general.")
@click.option("--heads", default=24, show_default=True, help="Heads to calibrate on, and others.")
@click.option("--seed", default=0, show_default=True)
def main(
    work: Path, out: Path, general: int, heads: int, seed: int, as_json: bool
) -> dict[str, Any]:
    """Foreign architectures, estimated from a profile of this PC and measured. Resumable."""
    asked = ProfileOptions(
        general=general,
        arithmetic=",".join(ARITHMETICS),
        calibration_heads=heads,
        validation_heads=heads,
        seed=seed,
    )
    plan = replace(asked.plan(), detectors=())
    architectures = [item for each in MODEL_SETS for item in each.architectures]
    with progress("converting", quiet=as_json) as watch:
        files: dict[Architecture, Path] = {}
        for architecture, path in converted(work / "models", architectures):
            files[architecture] = path
            watch(len(files), len(architectures), architecture.name)
    with (
        opened(HOST, None) as pc,
        MeasurementStore(work / "measurements.db") as store,
        progress("measuring", quiet=as_json) as watch,
    ):
        protocol = quick(HOST_PROTOCOL)
        session = Session(pc, store, protocol, seed=seed, progress=watch)
        profile = fit(profile_device(session, plan))
        keys = {f"foreign {architecture.name}": path for architecture, path in files.items()}
        measured = measure_files(session, keys)
    estimator = Estimator(profile)
    found = {each: compare(each, files, estimator, measured) for each in MODEL_SETS}
    noise = statistics.median(item.spread for rows in found.values() for item in rows)
    text = markdown(found, notes(profile, plan, noise))
    result: dict[str, Any] = {
        "device": asdict(profile.device),
        "campaign": asdict(profile.campaign),
        "sets": [
            {
                "name": each.name,
                "note": each.note,
                "summary": summary(rows),
                "rows": [{**asdict(item), "error": item.error} for item in rows],
            }
            for each, rows in found.items()
        ],
    }
    write_atomically(out / "foreign_models.json", json.dumps(result, indent=1) + "\n")
    write_atomically(out / "foreign_models.md", text)
    if not as_json:
        click.echo(text)
    return result


def compare(
    each: ModelSet,
    files: Mapping[Architecture, Path],
    estimator: Estimator,
    measured: Mapping[str, Measurement],
) -> list[Row]:
    rows = (
        row(item.name, files[item], estimator, measured[f"foreign {item.name}"])
        for item in each.architectures
    )
    return [item for item in rows if item is not None]


if __name__ == "__main__":
    main(prog_name="python -m mnasfpn.benchmarks.foreign_models")
