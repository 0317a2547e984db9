"""A phone as a device to measure on: the benchmark program run over adb, one process per visit."""

from __future__ import annotations

import hashlib
import shlex
import warnings
from collections.abc import Generator, Sequence
from itertools import zip_longest
from pathlib import Path
from types import TracebackType

from ...errors import (
    BenchmarkOutputError,
    DeviceError,
    InvalidInput,
    StableDeviceError,
    TransientDeviceError,
)
from ..device import Job, RunSettings
from ..measurement import UNREADABLE, DeviceInfo, OpTiming, Run, Telemetry
from ..telemetry import affinity_mask, read_clusters, telemetry
from ..tool_output.benchmark_output import Asked, BenchmarkOutput, check_asked, parse_output
from ..tool_output.profiler import parse_profile
from .adb import AdbDevice, choose_serial
from .benchmark_tool import Tool, arguments, find_tool, flags_known, place
from .settings import apply_settings, restore_settings
from .visit import Visit, end_left_over, visit

FOLDER = "/data/local/tmp/mnasfpn"
_PROPERTIES = (
    "ro.product.manufacturer", "ro.product.model", "ro.soc.model", "ro.board.platform",
    "ro.build.version.release", "ro.build.id", "ro.product.cpu.abi", "ro.serialno",
    "ro.boot.qemu", "ro.kernel.qemu",
)  # fmt: skip
#: That many failing visits, and none that worked: the program or the phone is at fault.
_HOPELESS = 3


class AndroidDevice:
    """One phone; see :class:`~..device.Device`.

    Used as a context manager it also keeps the phone awake and puts its settings back at the end,
    whatever the end is.

    Args:
        serial: as adb lists it; None where there is only one phone.
        binary: Google's ``benchmark_model``; None for the one fetched earlier.
        cores: to run on; None for the cluster with the highest maximum frequency.
        folder: of ours on the phone.
        sysfs: where the phone has its ``/sys``.
        reconnect_s: how long a lost phone is waited for; a restart takes about a minute.

    Raises:
        InvalidInput, StableDeviceError, TransientDeviceError: no such phone, it cannot be used, or
            it does not answer; the message says what to do.
    """

    def __init__(
        self,
        serial: str | None = None,
        binary: Path | None = None,
        *,
        cores: Sequence[int] | None = None,
        folder: str = FOLDER,
        sysfs: str = "/sys",
        reconnect_s: float = 120.0,
    ) -> None:
        self.adb = AdbDevice(choose_serial(serial))
        self.reconnect_s = reconnect_s
        self.patience_s = 30.0  # for a phone that is gone when its settings are to be put back
        self._folder, self._sysfs = folder, sysfs
        self.adb.wait(reconnect_s)
        self._properties = _read_properties(self.adb)
        self.tool: Tool = find_tool(self._properties["ro.product.cpu.abi"], binary)
        self.cores = self._pinnable(cores)
        self._flags: frozenset[str] | None = None
        self._failures = 0
        self._worked = False

    def __enter__(self) -> AndroidDevice:
        self.adb.shell(f"mkdir -p {shlex.quote(self._folder)}/models")
        apply_settings(self.adb, self._folder)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            restore_settings(self.adb, self._folder, self.patience_s)
            end_left_over(self.adb, self._folder)
            self.adb.shell(f"rm -rf {shlex.quote(self._folder)}/models")
        except DeviceError as lost:
            warnings.warn(str(lost), RuntimeWarning, stacklevel=2)

    def describe(self) -> DeviceInfo:
        known = self._properties
        emulated = "1" in (known["ro.boot.qemu"], known["ro.kernel.qemu"])
        by_address = ":" in self.adb.serial and known["ro.serialno"] != UNREADABLE
        return DeviceInfo(
            serial=known["ro.serialno"] if by_address else self.adb.serial,
            model=f"{known['ro.product.manufacturer']} {known['ro.product.model']}",
            soc=_soc(known),
            os=f"Android {known['ro.build.version.release']} ({known['ro.build.id']})",
            abi=known["ro.product.cpu.abi"],
            runtime=f"benchmark_model {self.tool.sha256[:12]}",
            cores=self.cores,
            provenance="simulated" if emulated else "measured",
        )

    def telemetry(self) -> Telemetry:
        return telemetry(self.adb, self._sysfs)

    def run_round(
        self, jobs: Sequence[Job], settings: RunSettings, round_number: int
    ) -> Generator[tuple[Job, Run], None, None]:
        """Visit the jobs in order, one process each; see :class:`~..device.Device`.

        Begins by waiting for the phone, ending what an interrupted campaign left running, and
        making sure that program and models are there, by content.
        """
        models = {job.key: self._remote_model(job) for job in jobs}
        under_way = False
        try:
            self.adb.wait(self.reconnect_s)
            end_left_over(self.adb, self._folder)
            self._place(jobs, models)
            for position, job in enumerate(jobs):
                before = self.telemetry()
                under_way = True
                values = self._visit(models[job.key], settings)
                under_way = False
                after = self.telemetry()
                run = Run(round_number, position, before=before, after=after, **values)  # type: ignore[arg-type]
                self._note(run)
                yield job, run
        except TransientDeviceError as error:
            error.under_way = under_way
            raise  # the next round begins by ending what is left
        except DeviceError:
            raise
        except BaseException:
            self._end_quietly()
            raise

    def _visit(self, graph: str, settings: RunSettings) -> dict[str, object]:
        """The fields of a Run; ``error`` alone when this model has no result."""
        csv = f"{self._folder}/run.csv"
        flags = arguments(graph, settings, self._known_flags(), csv)
        mask = affinity_mask(self.cores) if self.cores else ""
        done = visit(self.adb, self._folder, flags, mask, settings.timeout_s)
        try:
            output = self._checked(done, graph, settings, mask)
            profile = self._profile(output, f"--op_profiling_output_file={csv}" in flags, settings)
        except BenchmarkOutputError as error:
            return {"error": str(error)}
        return {
            "stats_us": output.measured.as_dict(),
            "init_us": output.init_us,
            "cpu_per_wall": done.cpu_per_wall,
            "op_profile": profile,
        }

    def _checked(
        self, done: Visit, graph: str, settings: RunSettings, mask: str
    ) -> BenchmarkOutput:
        if done.too_long:
            raise BenchmarkOutputError(
                f"the benchmark program had not finished after {settings.timeout_s:g} s and was "
                "ended on the phone; allow more time, or leave this model out"
            )
        if done.returncode > 128:
            raise BenchmarkOutputError(
                f"the benchmark program was ended by signal {done.returncode - 128}: it crashed, "
                "or the phone ran out of memory; try another version of it"
            )
        if mask and done.affinity != mask:
            raise BenchmarkOutputError(
                f"asked for the cores of mask {mask} but ran on {done.affinity or UNREADABLE!r}: "
                "Android moved it; keep the screen on, or name other cores"
            )
        output = parse_output(done.stdout, done.stderr, done.returncode)
        check_asked(output, Asked(graph, 1, settings.xnnpack))
        return output

    def _profile(
        self, output: BenchmarkOutput, in_file: bool, settings: RunSettings
    ) -> tuple[OpTiming, ...]:
        if not settings.op_profile:
            return ()
        if in_file:
            text = self.adb.shell(f"cat {shlex.quote(self._folder)}/run.csv").stdout
            return parse_profile(text).timings()
        if output.profile is None:
            raise BenchmarkOutputError(
                "asked the benchmark program for an operator profile and it printed none; "
                "use another version of it"
            )
        return output.profile.timings()

    def _note(self, run: Run) -> None:
        """Stop when nothing works: a campaign of models that all hang would take days."""
        self._worked = self._worked or not run.error
        self._failures += bool(run.error)
        if not self._worked and self._failures >= _HOPELESS:
            raise StableDeviceError(
                f"the first {self._failures} runs on {self.adb.serial} all failed, the last with: "
                f"{run.error}"
            )

    def _place(self, jobs: Sequence[Job], models: dict[str, str]) -> None:
        folder = shlex.quote(self._folder)
        made = self.adb.shell(f"mkdir -p {folder}/models")
        if made.returncode:
            raise StableDeviceError(
                f"{self.adb.serial} cannot make {self._folder}: {made.stderr.strip()}; "
                "give another folder"
            )
        if place(self.adb, {f"{self._folder}/benchmark_model": self.tool.path}, mode=0o755):
            self._flags = None
        self.adb.shell(f"chmod 755 {folder}/benchmark_model")
        place(self.adb, {models[job.key]: job.model for job in jobs})

    def _remote_model(self, job: Job) -> str:
        """Named by content: another model never answers for this one."""
        try:
            digest = hashlib.sha256(job.model.read_bytes()).hexdigest()
        except OSError as error:
            raise InvalidInput(
                f"cannot read the model {job.model} of {job.key!r}: {error.strerror}"
            ) from error
        return f"{self._folder}/models/{digest[:16]}.tflite"

    def _known_flags(self) -> frozenset[str]:
        if self._flags is None:
            said = visit(self.adb, self._folder, ["--help"], "", 20)
            self._flags = flags_known(said.stdout + said.stderr)
        return self._flags

    def _pinnable(self, cores: Sequence[int] | None) -> tuple[int, ...]:
        """The cores asked for or the biggest cluster; empty when the phone cannot pin or say so.

        Raises:
            StableDeviceError: cores were asked for and the phone does not give them.
        """
        wanted = tuple(cores or read_clusters(self.adb, self._sysfs).biggest)
        if not wanted:
            return ()
        mask = affinity_mask(wanted)
        result = self.adb.shell(f"taskset {mask} sh -c 'taskset -p $$'")
        if result.returncode == 0 and result.stdout.rpartition(":")[2].strip() == mask:
            return tuple(sorted(wanted))
        if cores:
            raise StableDeviceError(
                f"{self.adb.serial} does not pin to cores {wanted}: "
                f"{(result.stdout + result.stderr).strip()!r}; name other cores"
            )
        return ()

    def _end_quietly(self) -> None:
        """End the running program if the phone can still be asked; its own watchdog does else."""
        try:
            end_left_over(self.adb, self._folder)
        except DeviceError as error:
            warnings.warn(
                f"a run goes on, until its time is up, on {self.adb.serial}: {error}",
                RuntimeWarning,
                stacklevel=2,
            )


def summary(serial: str, sysfs: str = "/sys") -> str:
    """One line about a phone that can be used: what it is, and its cores by highest clock.

    Raises:
        TransientDeviceError, StableDeviceError: it cannot be asked.
    """
    adb = AdbDevice(serial)
    known = _read_properties(adb)
    clusters = read_clusters(adb, sysfs).cores_by_khz
    cores = ", ".join(f"{len(cpus)} at {khz / 1e6:.2f} GHz" for khz, cpus in clusters.items())
    return (
        f"{known['ro.product.manufacturer']} {known['ro.product.model']}, {_soc(known)}, "
        f"Android {known['ro.build.version.release']}, {known['ro.product.cpu.abi']}, "
        f"cores: {cores or UNREADABLE}"
    )


def _read_properties(adb: AdbDevice) -> dict[str, str]:
    # A line for each, also where there is no getprop.
    command = "; ".join(f'echo "$(getprop {name})"' for name in _PROPERTIES)
    lines = adb.shell(command).stdout.split("\n")[: len(_PROPERTIES)]
    found = zip_longest(_PROPERTIES, lines, fillvalue="")
    return {name: value.strip() or UNREADABLE for name, value in found}


def _soc(known: dict[str, str]) -> str:
    soc = known["ro.soc.model"]
    return known["ro.board.platform"] if soc == UNREADABLE else soc
