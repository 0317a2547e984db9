"""``mnasfpn profile``: measure a device."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...errors import InvalidInput
from .. import options
from ..console import command, progress, say, say_unused

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
@click.option("--cores", help="Of a phone, to run on, like 6,7; default: the biggest.")
@options.output("--store", "Raw runs; default: OUT with the suffix .db.", required=False)
@options.count(
    "--calibration-heads", 40, "Whole random heads to calibrate sums of kernels on.", least=5
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
@click.option(
    "--afresh",
    is_flag=True,
    help="What has used up its rounds and is not VALID is measured anew: on a quieter device.",
)
@click.option(
    "--from", "old", help="Another phone's profile: measure --models whole models and no kernels."
)
@options.count("--models", 20, "Models to measure with --from, those that tell most.", least=5)
@options.seed
def profile(
    device: str,
    out: Path,
    binary: Path | None,
    cores: str | None,
    store: Path | None,
    afresh: bool,
    old: str | None,
    models: int,
    as_json: bool,
    **asked: Any,
) -> Any:
    """Measure a device: all kernels of a space, and whole heads.

    With --from, what differs from another phone, in minutes. The same command goes on where it was
    stopped; raw runs are kept in --store.
    """
    from ...android_harness.devices import opened
    from ...latency.profile.device_profile import save_profile
    from ...latency.profiles import open_profile
    from ...latency.profiling.new_phone import profile_from
    from ...latency.profiling.profile_device import profile_device
    from ...latency.profiling.profile_options import ProfileOptions, new_phone_plan
    from ...latency.profiling.session import Session
    from ...latency.profiling.store import MeasurementStore

    given = _given()
    known = open_profile(old) if old else None
    if known:
        plan = new_phone_plan(known, device, {name: asked[name] for name in given & asked.keys()})
    elif "models" in given:
        raise InvalidInput("--models belongs to --from; without it every kernel is measured")
    else:
        plan = ProfileOptions(device, **asked).plan()
    with (
        opened(device, binary, options.numbers(cores, "--cores", int)) as target,
        MeasurementStore(store or out.with_suffix(".db")) as runs,
        progress(f"profiling {device}", quiet=as_json) as report,
    ):
        session = Session(
            target, runs, seed=plan.seed, runtime=plan.runtime, progress=report, afresh=afresh
        )
        unused = session.runs_without_digest
        if not as_json:
            say_unused(unused)
        result = (
            profile_from(session, known, models, plan.space, plan.input_size)
            if known
            else profile_device(session, plan)
        )
    save_profile(result, out)
    if not as_json:
        _print(result, out)
    return {
        "profile": str(out),
        "device": result.device,
        "provenance": result.provenance,
        "kernels": len(result.table),
        "heads": len(result.heads),
        "expected": str(result.validation) if result.validation else None,
        "unstable_share": result.unstable_shares,
        "runs_without_digest": unused,
        "failed": result.campaign.failed,
        "notes": result.campaign.notes,
    }


def _given() -> set[str]:
    """Options that were typed."""
    context = click.get_current_context()
    default = click.core.ParameterSource.DEFAULT
    return {name for name in context.params if context.get_parameter_source(name) != default}


def _print(profile: DeviceProfile, path: Path) -> None:
    if profile.validation:
        say(
            f"{path}: {profile.require_calibration().models} models {profile.provenance} on "
            f"{profile.device.soc}; UNSTABLE: {profile.unstable}"
        )
        say(f"expect: {profile.validation}")
        following = f"mnasfpn estimate mobilenetv2-mnasfpn --profile {path}"
    else:
        say(
            f"{path}: {len(profile.table)} kernels and {len(profile.heads)} heads "
            f"{profile.provenance} on {profile.device.soc}; UNSTABLE: {profile.unstable}"
        )
        following = f"mnasfpn fit {path}"
    for note in profile.campaign.notes:
        say(f"note: {note}")
    failed = profile.campaign.failed
    if failed:
        key, reason = next(iter(failed.items()))
        say(f"{len(failed)} could not be measured, first {key}: {reason}")
    if failed or profile.campaign.unstable:
        say("on a quieter device, the same command with --afresh measures what is not VALID anew")
    say(f"next: {following}")
