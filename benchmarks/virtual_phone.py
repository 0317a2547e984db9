"""``python -m mnasfpn.benchmarks.virtual_phone --cpu cortex-a76``: from adb to a validated profile.

A virtual ARM phone behind a real adbd is profiled as any phone is, by ``mnasfpn profile`` and
``mnasfpn fit``, and validated on heads used for nothing else. Its clock counts instructions:
nothing it says is about a real phone. With no noise in the way, what is left is the error of the
predictor itself: that its kernels, fusion and partitions are those the runtime executes.

Needs the repository's tests/phone and what it is made of (see ``make phone``).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..android_harness.phone.adb_server import list_devices
from ..cli.console import command
from ..errors import JobFailed, StableDeviceError
from ..latency.profile.device_profile import DeviceProfile, load_profile
from ..latency.profiling.profile_options import ProfileOptions
from ..latency.profiling.store import MeasurementStore
from .packed_kernels import OUT, Way, judged, write_results

if TYPE_CHECKING:
    from ..tests.android_harness.phone.adbd_phone import Phone

CPUS = ("cortex-a76", "cortex-a53")
MNASFPN = (sys.executable, "-m", "mnasfpn")
LEAST_R2 = 0.99
MOST_ERROR = 0.05


@contextmanager
def started(cpu: str) -> Iterator[tuple[Phone, Path]]:
    """A running virtual phone known to an adb server of its own, and its benchmark program.

    Raises:
        StableDeviceError: none can be started here; the message says what is missing.
    """
    try:
        from ..tests.android_harness.phone.adbd_phone import free_port
        from ..tests.android_harness.phone.virtual_arm import CPUS as KINDS
        from ..tests.android_harness.phone.virtual_arm import make_launcher
        from ..tests.android_harness.phone.virtual_phone import virtual_phone, why_no_virtual_phone
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


def profiled(asked: ProfileOptions, program: Path, folder: Path) -> tuple[DeviceProfile, Way]:
    """What the two commands of docs/profile-a-phone.md make; again in the same folder, they go on.

    Raises:
        JobFailed: a command failed; it has said why.
    """
    profile, store = folder / f"{asked.kernels}.json", folder / "measurements.db"
    files = ("--binary", str(program), "--out", str(profile), "--store", str(store))
    for words in (("profile", *asked.words, *files), ("fit", str(profile))):
        done = subprocess.run([*MNASFPN, *words], stdout=sys.stderr, check=False)
        if done.returncode:
            raise JobFailed(f"mnasfpn {words[0]} ended with exit code {done.returncode}; see above")
    fitted = load_profile(profile)
    with MeasurementStore(store) as runs:
        return fitted, judged(fitted, asked.plan(), runs)


@command
@click.option("--cpu", type=click.Choice(CPUS), default=CPUS[0], help="Kind of phone.")
@click.option("--out", type=click.Path(path_type=Path), default=OUT, help="Where results go.")
@click.option("--keep", type=click.Path(path_type=Path), help="Folder of the runs: resumable.")
@click.option("--input-size", default=128, help="Pixels of the image the heads' features are of.")
@click.option("--calibration", default=16, help="Heads to calibrate on.")
@click.option("--validation", default=24, help="Heads to validate on.")
@click.option("--both-ways", is_flag=True, help="Also measure one file per kernel: slower by far.")
def main(
    cpu: str,
    out: Path,
    keep: Path | None,
    input_size: int,
    calibration: int,
    validation: int,
    both_ways: bool,
    as_json: bool,
) -> dict[str, object]:
    """Profile a virtual phone over adb, fit, and validate on held-out heads."""
    with ExitStack() as stack:
        temporary = stack.enter_context(tempfile.TemporaryDirectory(prefix="mnasfpn-"))
        folder = keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        phone, program = stack.enter_context(started(cpu))
        asked = ProfileOptions(
            device=phone.serial,
            kernels="packed",
            input_size=input_size,
            calibration_heads=calibration,
            validation_heads=validation,
        )
        profile, way = profiled(asked, program, folder)
        ways = [way]
        if both_ways:
            ways += [profiled(replace(asked, kernels="alone"), program, folder)[1]]
    info = profile.device
    notes = [
        f"Provenance: **simulated**. {info.model}: LiteRT for AArch64 under QEMU with invented "
        "costs per instruction, without caches or pipeline. It proves the way from adb to a "
        "validated profile, and says nothing about a real phone's milliseconds.",
        "",
        f"{validation} held-out heads of the MnasFPN space at {input_size}x{input_size}, "
        f"calibrated on {calibration} others; {len(profile.table)} kernels. Device time is real "
        "time on this PC, of all visits to the kernels' files.",
    ]
    name = f"virtual_phone_{cpu}"
    text = write_results(out, name, f"Virtual ARM phone ({cpu}, simulated)", notes, ways)
    if not as_json:
        click.echo(text)
    for way in ways:
        check(way)
    return {"provenance": info.provenance, "ways": [asdict(way) for way in ways]}


if __name__ == "__main__":
    main(prog_name="python -m mnasfpn.benchmarks.virtual_phone")
