"""``python -m mnasfpn.benchmarks.this_pc``: profile this PC, and say how good its predictions are.

Beside the table with regressions and calibration: the same without the table, without what the
operators of the calibration heads say, and the plain sum of the table, so that each part shows its
worth.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import click
import numpy as np

from ..android_harness.host.host import HostDevice
from ..cli.console import command, progress
from ..latency.estimate.estimate import Estimator
from ..latency.fitting.accuracy import agreement
from ..latency.fitting.fit import fit
from ..latency.profile.calibration import Calibration
from ..latency.profile.device_profile import DeviceProfile
from ..latency.profile.validation import Agreement
from ..latency.profiling.head_graph import head_graph
from ..latency.profiling.profile_device import profile_device
from ..latency.profiling.profile_options import ProfileOptions
from ..latency.profiling.session import Session
from ..latency.profiling.store import MeasurementStore
from ..report.summary import validation_rows
from ..storage.atomic import write_atomically

OUT = Path(__file__).parent / "results"
MOST_OF_REPEAT = 2.0  # a prediction's error, over that of a second measurement


def variants(profile: DeviceProfile) -> dict[str, Agreement]:
    """The held-out heads, predicted with parts of the method left out."""
    uncalibrated = replace(profile, calibration=_identity(profile))
    heads = tuple(replace(head, steps_us=()) for head in profile.heads)
    return {
        "table, regression, calibration": _agreement(profile),
        "regression and calibration, no table": _agreement(replace(profile, table=())),
        "calibrated on whole heads alone": _agreement(fit(replace(profile, heads=heads))),
        "plain sum of the table": _agreement(uncalibrated),
    }


def _identity(profile: DeviceProfile) -> Calibration:
    """No calibration: every kernel as measured alone, nothing for partitions."""
    return replace(
        profile.require_calibration(),
        families={},
        intercept_us=0.0,
        partition_us=0.0,
        crossing_us_per_mb=0.0,
    )


def _agreement(profile: DeviceProfile) -> Agreement:
    heads = profile.heads_for("validation")
    estimator = Estimator(profile)
    graphs = (head_graph(head.genotype, head.channels, head.input_size) for head in heads)
    predicted = np.asarray([estimator.estimate(graph).latency_ms for graph in graphs])
    return agreement(np.asarray([head.latency_ms for head in heads]), predicted)


def markdown(profile: DeviceProfile, found: dict[str, Agreement]) -> str:
    validation = profile.validation
    assert validation is not None
    assert validation.noise_floor is not None
    device = profile.device
    error, repeat = validation.accuracy.rmspe.value, validation.noise_floor.rmspe.value
    lines = [
        "# How well a PC's latencies are predicted",
        "",
        f"Provenance: {profile.provenance}, on one pinned core of {device.soc}, {device.runtime}. "
        f"{len(profile.table)} kernels; {len(profile.heads_for('calibration'))} heads of the "
        "MnasFPN space to calibrate on, also operator by operator, and "
        f"{validation.accuracy.models} others, drawn uniformly, to validate on, each measured "
        f"twice; seed {profile.campaign.seed}. {profile.campaign.unstable:.1%} of the "
        "measurements are UNSTABLE.",
        "",
        f"The error (RMSPE) is {error / repeat:.2f} times that of measuring again (bar: "
        f"{MOST_OF_REPEAT:g}; {'met' if error <= MOST_OF_REPEAT * repeat else 'NOT met'}). Two "
        "measurements differ by the noise of both; a perfect prediction would be at "
        f"{math.sqrt(0.5):.2f}.",
        "",
        "| figure | prediction | 95 % interval | measured again |",
        "|---|---|---|---|",
        *(f"| {' | '.join(row)} |" for row in validation_rows(validation)),
        "",
        "| variant | R2 | RMSPE | within 5 % | within 10 % | Kendall tau |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {a.r2.value:.4f} | {a.rmspe.value:.1%} | {a.within_5.value:.0%} | "
        f"{a.within_10.value:.0%} | {a.kendall_tau.value:.3f} |"
        for name, a in found.items()
    ]
    return "\n".join(lines) + "\n"


@command
@click.option(
    "--store",
    type=click.Path(path_type=Path),
    required=True,
    help="Raw runs; an interrupted benchmark goes on with the same file.",
)
@click.option("--out", type=click.Path(path_type=Path), default=OUT, help="Where results go.")
@click.option("--seed", default=0, show_default=True, help="Other heads, and another order.")
def main(store: Path, out: Path, seed: int, as_json: bool) -> dict[str, object]:
    """Profile this PC in full and validate on 40 held-out heads."""
    plan = ProfileOptions(operators="yes", seed=seed).plan()
    with (
        MeasurementStore(store) as runs,
        progress("profiling this PC", quiet=as_json) as report,
    ):
        session = Session(HostDevice(), runs, seed=seed, progress=report)
        profile = fit(profile_device(session, plan))
    found = variants(profile)
    result = {
        "device": asdict(profile.device),
        "unstable": profile.campaign.unstable,
        "validation": asdict(profile.validation) if profile.validation else None,
        "variants": {name: asdict(value) for name, value in found.items()},
    }
    write_atomically(out / "this_pc.json", json.dumps(result, indent=1) + "\n")
    text = markdown(profile, found)
    write_atomically(out / "this_pc.md", text)
    if not as_json:
        click.echo(text)
    return result


if __name__ == "__main__":
    main(prog_name="python -m mnasfpn.benchmarks.this_pc")
