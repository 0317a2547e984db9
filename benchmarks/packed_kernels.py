"""``python -m mnasfpn.benchmarks.packed_kernels``: two ways to measure a table, on this PC.

One file per kernel, or many kernels packed into a few files that the operator profile takes apart.
Both tables are fitted on the same calibration heads and judged on the same held-out ones; the time
spent on the device is compared beside the accuracy.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import click

from ..android_harness.devices import opened
from ..android_harness.measurement import HOST
from ..cli.console import command, progress
from ..latency.fitting.fit import fit
from ..latency.profile.device_profile import DeviceProfile
from ..latency.profile.validation import Validation
from ..latency.profiling.plan import ProfilingPlan
from ..latency.profiling.profile_device import profile_device
from ..latency.profiling.profile_options import ProfileOptions
from ..latency.profiling.session import Session
from ..latency.profiling.store import MeasurementStore
from ..storage.atomic import write_atomically

OUT = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Way:
    """One way to measure: what it took and how good predictions from it are."""

    name: str
    files: int
    device_s: float
    validation: Validation

    @property
    def row(self) -> str:
        """One line of a Markdown table."""
        found = self.validation.accuracy
        worst = max(self.validation.points, key=lambda p: abs(p.predicted_ms / p.measured_ms - 1))
        return (
            f"| {self.name} | {self.files} | {self.device_s:.0f} | {found.r2.value:.4f} | "
            f"{found.rmspe.value:.2%} | {found.within_5.value:.0%} | {found.within_10.value:.0%} | "
            f"{found.kendall_tau.value:.3f} | {worst.predicted_ms / worst.measured_ms - 1:+.1%} |"
        )


MARKDOWN_HEADER = (
    "| kernels measured | files | device time (s) | R2 | RMSPE | within 5 % | within 10 % | "
    "Kendall tau | largest error |\n|---|---|---|---|---|---|---|---|---|"
)


def measure(session: Session, plan: ProfilingPlan) -> Way:
    """Measure a plan's kernels and heads, and tell what the kernels took and are good for."""
    return judged(fit(profile_device(session, plan)), plan, session.store)


def judged(fitted: DeviceProfile, plan: ProfilingPlan, store: MeasurementStore) -> Way:
    """What the kernels of a plan took, by a store, and what a profile fitted to them is good for.

    Args:
        plan: only its kernels and how they were measured are looked at.
    """
    assert fitted.validation
    files = [packed.name for packed in plan.packs] or [each.signature for each in plan.kernels]
    name = "packed" if plan.packed else "one file each"
    seconds = store.device_s(fitted.device, frozenset(files))
    return Way(name, len(files), seconds, fitted.validation)


def write_results(out: Path, name: str, title: str, notes: list[str], ways: list[Way]) -> str:
    """JSON with every held-out head, and Markdown for people; returns the latter."""
    text = "\n".join(
        [f"# {title}", "", *notes, "", MARKDOWN_HEADER, *(way.row for way in ways), ""]
    )
    result = {"title": title, "notes": notes, "ways": [asdict(way) for way in ways]}
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / f"{name}.json", json.dumps(result, indent=1) + "\n")
    write_atomically(out / f"{name}.md", text)
    return text


@command
@click.option("--store", type=click.Path(path_type=Path), required=True, help="measurements.db.")
@click.option("--out", type=click.Path(path_type=Path), default=OUT, help="Where results go.")
@click.option("--calibration", default=24, help="Heads to calibrate on.")
@click.option("--validation", default=40, help="Heads to validate on.")
def main(
    store: Path, out: Path, calibration: int, validation: int, as_json: bool
) -> dict[str, object]:
    """One file per kernel against packed kernels, on this PC."""
    asked = ProfileOptions(calibration_heads=calibration, validation_heads=validation)
    plan = replace(asked.plan(), detectors=())
    with (
        opened(HOST, None) as pc,
        MeasurementStore(store) as runs,
        progress("measuring", quiet=as_json) as watch,
    ):
        info = pc.describe()
        session = Session(pc, runs, progress=watch)
        ways = [measure(session, way) for way in (plan, replace(plan, packed=True))]
    notes = [
        f"Provenance: measured on this PC ({info.soc}, {os.cpu_count()} cores, {info.runtime}), "
        f"{validation} held-out heads of the MnasFPN space at 320x320, calibrated on "
        f"{calibration} others. Times are those of the kernels' visits alone.",
    ]
    text = write_results(out, "packed_kernels", "Two ways to measure kernels", notes, ways)
    if not as_json:
        click.echo(text)
    return {"ways": [asdict(way) for way in ways]}


if __name__ == "__main__":
    main(prog_name="python -m mnasfpn.benchmarks.packed_kernels")
