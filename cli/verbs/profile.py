"""``mnasfpn profile``: measure a device."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .. import options
from ..console import command, progress, say

if TYPE_CHECKING:
    from ...latency.profile.device_profile import DeviceProfile


@command
@options.text("--device", "host", "host, phone for the only one there is, or an adb serial.")
@options.space()
@options.count(
    "--input-size", 320, "Pixels of the detectors' square image, a multiple of 64.", least=64
)
@options.output("--out", "The profile to write.")
@click.option("--binary", type=options.FILE, help="A benchmark_model for the phone.")
@options.output("--store", "Raw runs; default: OUT with the suffix .db.", required=False)
@options.count(
    "--calibration-heads", 24, "Whole random heads to calibrate sums of kernels on.", least=5
)
@options.count(
    "--validation-heads", 40, "Others, measured twice, to tell how good predictions are.", least=5
)
@options.count(
    "--general", 0, "Kernels of other networks, to estimate any .tflite; 256 do well.", least=0
)
@options.text(
    "--arithmetic",
    "float32",
    "Of these and of networks: float32,int8,uint8,hybrid (int8 weights).",
)
@options.choice(
    "--runtime", ("xnnpack", "builtin"), "With the XNNPACK delegate, or TFLite's builtin kernels."
)
@options.choice(
    "--kernels",
    ("auto", "packed", "alone"),
    "Many in one file, by the operator profile, or one each; auto: packed on phones.",
)
@options.choice(
    "--operators",
    ("auto", "yes", "no"),
    "Calibration heads once more, by operator; auto: on this PC, if it has a C compiler.",
)
@options.seed
def profile(
    device: str,
    out: Path,
    binary: Path | None,
    store: Path | None,
    as_json: bool,
    **asked: Any,
) -> Any:
    """Measure a device: all kernels of a space, and whole heads.

    The same command goes on where it was stopped; raw runs are kept in --store.
    """
    from ...android_harness.devices import opened
    from ...latency.profile.device_profile import save_profile
    from ...latency.profiling.profile_device import profile_device
    from ...latency.profiling.profile_options import ProfileOptions
    from ...latency.profiling.session import Session
    from ...latency.profiling.store import MeasurementStore

    plan = ProfileOptions(device, **asked).plan()
    with (
        opened(device, binary) as target,
        MeasurementStore(store or out.with_suffix(".db")) as runs,
        progress(f"profiling {device}", quiet=as_json) as report,
    ):
        session = Session(target, runs, seed=plan.seed, runtime=plan.runtime, progress=report)
        result = profile_device(session, plan)
    save_profile(result, out)
    if not as_json:
        _print(result, out)
    return {
        "profile": str(out),
        "device": result.device,
        "provenance": result.provenance,
        "kernels": len(result.table),
        "heads": len(result.heads),
        "unstable_share": result.campaign.unstable,
        "failed": result.campaign.failed,
    }


def _print(profile: DeviceProfile, path: Path) -> None:
    say(
        f"{path}: {len(profile.table)} kernels and {len(profile.heads)} heads "
        f"{profile.provenance} on {profile.device.soc}, {profile.campaign.unstable:.0%} of them "
        "UNSTABLE"
    )
    failed = profile.campaign.failed
    if failed:
        key, reason = next(iter(failed.items()))
        say(f"{len(failed)} could not be measured, first {key}: {reason}")
    say(f"next: mnasfpn fit {path}")
