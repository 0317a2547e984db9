"""``mnasfpn profile``: measure a device."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...errors import InvalidInput
from .. import options
from ..console import command, progress, say

if TYPE_CHECKING:
    from ...latency.profile.device_profile import DeviceProfile
    from ...latency.profiling.plan import ProfilingPlan
    from ...models.graph.arithmetic import Arithmetic

KERNELS_PER_NETWORK = 16  # of --general: a random network to calibrate on for so many kernels


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
    "--arithmetic", "float32", "Of these, and of whole models: float32,int8,hybrid (int8 weights)."
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
    from ...latency.profiling.store import MeasurementStore

    plan = profiling_plan(device, **asked)
    with (
        opened(device, binary) as target,
        MeasurementStore(store or out.with_suffix(".db")) as runs,
        progress(f"profiling {device}", quiet=as_json) as report,
    ):
        result = profile_device(target, plan, runs, progress=report)
    save_profile(result, out)
    if not as_json:
        _print(result, out)
    return {
        "profile": str(out),
        "device": result.device,
        "provenance": result.provenance,
        "kernels": len(result.table),
        "heads": len(result.heads),
        "unstable_share": result.measuring.unstable,
        "failed": result.measuring.failed,
    }


def profiling_plan(
    device: str,
    space: str = "mnasfpn",
    input_size: int = 320,
    calibration_heads: int = 24,
    validation_heads: int = 40,
    runtime: str = "xnnpack",
    kernels: str = "auto",
    seed: int = 0,
    general: int = 0,
    arithmetic: str = "float32",
    operators: str = "auto",
) -> ProfilingPlan:
    """What `mnasfpn profile` measures, from its options.

    Raises:
        InvalidInput: ``arithmetic`` has a word that is none, or lacks float32.
    """
    from ...android_harness.host.operator_profile import obstacle
    from ...latency.kernels.execution import runtime_named
    from ...latency.profiling.plan import ProfilingPlan
    from ...models.published import published
    from ...search.search_space import search_space

    whole = replace(published("mobilenetv2-mnasfpn"), input_size=input_size)
    return ProfilingPlan(
        space=search_space(space).space,
        detectors=(whole.graph(),),
        general=general,
        networks=general // KERNELS_PER_NETWORK,
        arithmetics=_arithmetics(arithmetic),
        seed=seed,
        calibration_heads=calibration_heads,
        validation_heads=validation_heads,
        input_size=input_size,
        runtime=runtime_named(runtime),
        packed=kernels == "packed" or (kernels == "auto" and device != "host"),
        by_operator=operators == "yes"
        or (operators == "auto" and device == "host" and obstacle() is None),
    )


def _arithmetics(text: str) -> tuple[Arithmetic, ...]:
    from ...models.graph.arithmetic import ARITHMETICS

    words = [word.strip() for word in text.split(",")]
    found = tuple(each for each in ARITHMETICS if each in words)
    if len(found) < len(words) or "float32" not in found:
        raise InvalidInput(
            f"--arithmetic takes float32, with commas between it and more of "
            f"{', '.join(ARITHMETICS[1:])}; got {text!r}"
        )
    return found


def _print(profile: DeviceProfile, path: Path) -> None:
    say(
        f"{path}: {len(profile.table)} kernels and {len(profile.heads)} heads "
        f"{profile.provenance} on {profile.device.soc}, {profile.measuring.unstable:.0%} of them "
        "UNSTABLE"
    )
    failed = profile.measuring.failed
    if failed:
        key, reason = next(iter(failed.items()))
        say(f"{len(failed)} could not be measured, first {key}: {reason}")
    say(f"next: mnasfpn fit {path}")
