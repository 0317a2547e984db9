"""``python -m mnasfpn.benchmarks.virtual_phone --cpu cortex-a76``: from adb to a validated profile.

A virtual ARM phone behind a real adbd is profiled as any phone is, fitted, and validated on heads
used for nothing else. Its clock counts instructions: nothing it says is about a real phone. With no
noise in the way, what is left is the error of the predictor itself: that its kernels, fusion and
partitions are those the runtime executes.

Needs the repository's tests/phone and what it is made of (see ``make phone``).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..android_harness.adb import list_devices
from ..android_harness.android import AndroidDevice
from ..android_harness.protocol import protocol_for
from ..console import command, progress
from ..errors import JobFailed, StableDeviceError
from ..latency.profile import save_profile
from ..latency.profiling import ProfilingPlan
from ..latency.store import MeasurementStore
from .packed_kernels import OUT, Way, measure, write_results

if TYPE_CHECKING:
    from ..tests.phone.adbd_phone import Phone

CPUS = ("cortex-a76", "cortex-a53")
LEAST_R2 = 0.99
MOST_ERROR = 0.05


@contextmanager
def started(cpu: str) -> Iterator[tuple[Phone, Path]]:
    """A running virtual phone known to an adb server of its own, and its benchmark program.

    Raises:
        StableDeviceError: none can be started here; the message says what is missing.
    """
    try:
        from ..tests.phone.adbd_phone import free_port
        from ..tests.phone.virtual_arm import CPUS as KINDS
        from ..tests.phone.virtual_arm import make_launcher
        from ..tests.phone.virtual_phone import virtual_phone, why_no_virtual_phone
    except ModuleNotFoundError as error:
        raise StableDeviceError(
            "the virtual phone is part of the repository's tests/phone, not of the installed "
            "package; run this in a checkout"
        ) from error
    import adbutils

    if reason := why_no_virtual_phone():
        raise StableDeviceError(reason)
    os.environ["ANDROID_ADB_SERVER_PORT"] = str(free_port())
    with tempfile.TemporaryDirectory(prefix="mnasfpn-phone-") as folder:
        phone = virtual_phone(Path(folder), KINDS[cpu]).start()
        try:
            list_devices()  # starts the adb server
            adbutils.AdbClient().connect(phone.serial, timeout=10)
            yield phone, make_launcher(KINDS[cpu])
        finally:
            phone.stop()
            adbutils.AdbClient().server_kill()


def check(way: Way) -> None:
    """A deterministic clock leaves no excuse.

    Raises:
        JobFailed: R2 below 0.99, or a head more than 5 % off.
    """
    points = way.validation.points
    worst = max(points, key=lambda point: abs(point.predicted_ms / point.measured_ms - 1))
    error = worst.predicted_ms / worst.measured_ms - 1
    r2 = way.validation.accuracy.r2.value
    if r2 < LEAST_R2 or abs(error) > MOST_ERROR:
        raise JobFailed(
            f"kernels {way.name}: R2 {r2:.4f} and {worst.name} {error:+.1%} off; expected at least "
            f"{LEAST_R2} and at most {MOST_ERROR:.0%}"
        )


@click.group()
def group() -> None:
    """Only carries the one command below."""


@command(group, name="virtual_phone")
@click.option("--cpu", type=click.Choice(CPUS), default=CPUS[0], help="Kind of phone.")
@click.option("--out", type=click.Path(path_type=Path), default=OUT, help="Where results go.")
@click.option("--store", type=click.Path(path_type=Path), help="measurements.db, to be resumable.")
@click.option("--profile-to", type=click.Path(path_type=Path), help="Save the profile there.")
@click.option("--input-size", default=128, help="Pixels of the image the heads' features are of.")
@click.option("--calibration", default=16, help="Heads to calibrate on.")
@click.option("--validation", default=24, help="Heads to validate on.")
@click.option("--both-ways", is_flag=True, help="Also measure one file per kernel: slower by far.")
def main(
    cpu: str,
    out: Path,
    store: Path | None,
    profile_to: Path | None,
    input_size: int,
    calibration: int,
    validation: int,
    both_ways: bool,
    as_json: bool,
) -> dict[str, object]:
    """Profile a virtual phone over adb, fit, and validate on held-out heads."""
    plan = ProfilingPlan(
        calibration_heads=calibration,
        validation_heads=validation,
        input_size=input_size,
        packed=True,
    )
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mnasfpn-")))
        measurements = stack.enter_context(MeasurementStore(store or folder / "measurements.db"))
        phone, program = stack.enter_context(started(cpu))
        device = stack.enter_context(AndroidDevice(phone.serial, program))
        watch = stack.enter_context(progress("measuring", quiet=as_json))
        info = device.describe()
        profile, way = measure(device, plan, measurements, protocol_for(info), watch)
        ways = [way]
        if both_ways:
            alone = replace(plan, packed=False)
            ways += [measure(device, alone, measurements, protocol_for(info), watch)[1]]
    notes = [
        f"Provenance: **simulated**. {info.model}: LiteRT for AArch64 under QEMU with invented "
        "costs per instruction, without caches or pipeline. It proves the way from adb to a "
        "validated profile, and says nothing about a real phone's milliseconds.",
        "",
        f"{validation} held-out heads of the MnasFPN space at {input_size}x{input_size}, "
        f"calibrated on {calibration} others. Device time is real time on this PC.",
    ]
    name = f"virtual_phone_{cpu}"
    text = write_results(out, name, f"Virtual ARM phone ({cpu}, simulated)", notes, ways)
    if profile_to:
        save_profile(profile, profile_to)
    if not as_json:
        click.echo(text)
    for way in ways:
        check(way)
    return {"provenance": info.provenance, "ways": [asdict(way) for way in ways]}


if __name__ == "__main__":
    main(prog_name="python -m mnasfpn.benchmarks.virtual_phone")
