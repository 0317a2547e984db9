"""A phone as a device to measure on: the benchmark program run over adb, one process per visit."""

from __future__ import annotations

import hashlib
import shlex
import uuid
import warnings
from collections.abc import Generator, Sequence
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
from ..identity import hardware_serial
from ..measurement import UNREADABLE, DeviceInfo, OpTiming, Run, Telemetry
from ..telemetry import PhoneState
from ..tool_output.benchmark_output import Asked, BenchmarkOutput, check_asked, parse_output
from ..tool_output.profiler import parse_profile
from .adb import AdbDevice, choose_serial, digest, printable
from .benchmark_tool import Tool, arguments, find_tool, flags_known, place
from .cores import named, pin, read_cores
from .settings import apply_settings, restore_settings
from .visit import Visit, check_runs, end_left_over, visit

FOLDER = "/data/local/tmp/mnasfpn"
_PROPERTIES = (
    "ro.product.manufacturer", "ro.product.model", "ro.soc.model", "ro.board.platform",
    "ro.build.version.release", "ro.build.id", "ro.product.cpu.abi", "ro.product.cpu.abi2",
    "ro.product.cpu.abilist", "ro.boot.qemu", "ro.kernel.qemu",
)  # fmt: skip
#: Names a phone that has no ``android_id``; beside our folder, which people clear.
_NAME_TAG = f"{FOLDER}.unit"
_MARK = "@@mnasfpn "
_CSV = "run.csv"
#: That many failing visits, and none that worked: the program or the phone is at fault.
_HOPELESS = 3
_PROBE_BYTES = 65536  # less free space than this is none


class AndroidDevice:
    """One phone; see :class:`~..device.Device`.

    Used as a context manager it also keeps the phone awake and puts its settings back at the end,
    whatever the end is.

    Args:
        serial: see :func:`~.adb.choose_serial`; None where there is only one phone.
        binary: Google's ``benchmark_model``; None for the one fetched earlier.
        cores: to run on; None for the biggest, see :class:`~.cores.Cores`.
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
        self._identity = _identity(self.adb)
        self.tool: Tool = find_tool(_abis(self._properties), binary, _page_bytes(self.adb))
        self._state = PhoneState(self.adb, sysfs)
        self._asked_cores = cores
        self._pin()
        self._flags: frozenset[str] | None = None
        self._failures = 0
        self._worked = False

    def __enter__(self) -> AndroidDevice:
        self.adb.shell(f"mkdir -p {shlex.quote(self._folder)}/models")
        apply_settings(self.adb, self._folder)
        if self._pinning.doubts or self._pinning.why_not:
            self._pin()  # with the screen on, cores may be on that were off
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
            folder = shlex.quote(self._folder)
            self.adb.shell(f"rm -rf {folder}/models {folder}/{_CSV}")
        except DeviceError as lost:
            warnings.warn(str(lost), RuntimeWarning, stacklevel=2)

    def describe(self) -> DeviceInfo:
        known = self._properties
        emulated = "1" in (known["ro.boot.qemu"], known["ro.kernel.qemu"])
        serial, unit = self._identity
        return DeviceInfo(
            serial=serial,
            model=f"{known['ro.product.manufacturer']} {known['ro.product.model']}",
            soc=_soc(known),
            os=f"Android {known['ro.build.version.release']} ({known['ro.build.id']})",
            abi=self.tool.abi or known["ro.product.cpu.abi"],
            runtime=f"benchmark_model {self.tool.sha256[:12]}",
            cores=self._pinning.cores,
            provenance="simulated" if emulated else "measured",
            unit=unit,
        )

    def telemetry(self) -> Telemetry:
        return self._state.now()

    def run_round(
        self, jobs: Sequence[Job], settings: RunSettings, round_number: int
    ) -> Generator[tuple[Job, Run], None, None]:
        """Visit the jobs in order, one process each; see :class:`~..device.Device`.

        Begins by waiting for the phone, ending what an interrupted campaign left running, and
        making sure that program and models are there, by content.
        """
        models = {job.key: _remote_model(job) for job in jobs}
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
            if error.under_way is None:
                error.under_way = under_way
            raise  # the next round begins by ending what is left
        except DeviceError:
            raise
        except BaseException:
            self._end_quietly()
            raise

    def _visit(self, graph: str, settings: RunSettings) -> dict[str, object]:
        """The fields of a Run; ``error`` alone when this model has no result.

        Files are named from within our folder: whatever it is called, the program never sees it.
        """
        flags = arguments(graph, settings, self._known_flags(), _CSV)
        cores = self._pinning.cores
        done = visit(self.adb, self._folder, flags, cores, settings.timeout_s, self._sysfs)
        try:
            output = self._checked(done, graph, settings)
            profile = self._profile(output, f"--op_profiling_output_file={_CSV}" in flags, settings)
        except BenchmarkOutputError as error:
            return {"error": str(error)}
        return {
            "stats_us": output.measured.as_dict(),
            "init_us": output.init_us,
            "cpu_per_wall": done.cpu_per_wall,
            "op_profile": profile,
            "clocks": done.clocks,
            "unpinned": self._pinning.unpinned(done.affinity),
            "core_doubts": self._pinning.doubts,
        }

    def _checked(self, done: Visit, graph: str, settings: RunSettings) -> BenchmarkOutput:
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
        output = parse_output(done.stdout, done.stderr, done.returncode)
        check_asked(output, Asked(graph, 1, settings.xnnpack))
        return output

    def _profile(
        self, output: BenchmarkOutput, in_file: bool, settings: RunSettings
    ) -> tuple[OpTiming, ...]:
        if not settings.op_profile:
            return ()
        if in_file:
            written = self.adb.shell(f"cat {shlex.quote(self._folder)}/{_CSV}")
            if written.returncode:
                raise BenchmarkOutputError(
                    "the benchmark program wrote no operator profile though it was asked for one; "
                    "use another version of it"
                )
            return parse_profile(written.stdout).timings()
        if output.profile is None:
            raise BenchmarkOutputError(
                "asked the benchmark program for an operator profile and it printed none; "
                "use another version of it"
            )
        return output.profile.timings()

    def _note(self, run: Run) -> None:
        """Stop when nothing works: a campaign of models that all hang would take days.

        A full disk is no model's fault. It is told by writing, never by what a program says.
        """
        if run.error:
            self._check_disk()
        self._worked = self._worked or not run.error
        self._failures += bool(run.error)
        if not self._worked and self._failures >= _HOPELESS:
            raise StableDeviceError(
                f"the first {self._failures} runs on {self.adb.serial} all failed, the last with: "
                f"{run.error}"
            )

    def _check_disk(self) -> None:
        """Raise what a push raises when nothing can be written any more."""
        probe = f"{self._folder}/probe"
        try:
            self.adb.push(bytes(_PROBE_BYTES), probe)
        finally:
            self.adb.shell(f"rm -f {shlex.quote(probe)}")

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
        place(self.adb, {f"{self._folder}/{models[job.key]}": job.model for job in jobs})

    def _known_flags(self) -> frozenset[str]:
        if self._flags is None:
            said = visit(self.adb, self._folder, ["--help"], (), 20)
            check_runs(self.adb, said)
            self._flags = flags_known(said.stdout + said.stderr)
        return self._flags

    def _pin(self) -> None:
        """Find the cores to run on; what is not as it should be is said, and noted in every run."""
        self._pinning = pin(self.adb, self._asked_cores, self._sysfs)
        for text in filter(None, (self._pinning.why_not, *self._pinning.doubts)):
            warnings.warn(f"{self.adb.serial}: {text}", RuntimeWarning, stacklevel=3)

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
    found = read_cores(adb, sysfs)
    cores = ", ".join(f"{len(cpus)} at {khz / 1e6:.2f} GHz" for khz, cpus in found.by_khz.items())
    cores += f", {named(found.off)} switched off" if cores and found.off else ""
    return (
        f"{known['ro.product.manufacturer']} {known['ro.product.model']}, {_soc(known)}, "
        f"Android {known['ro.build.version.release']}, {known['ro.product.cpu.abi']}, "
        f"cores: {cores or UNREADABLE}"
    )


def _remote_model(job: Job) -> str:
    """Named by content, in our folder: another model never answers for this one."""
    try:
        content = job.model.read_bytes()
    except OSError as error:
        raise InvalidInput(
            f"cannot read the model {job.model} of {job.key!r}: {error.strerror}"
        ) from error
    return f"models/{hashlib.sha256(content).hexdigest()[:16]}.tflite"


def _read_properties(adb: AdbDevice) -> dict[str, str]:
    """Each as one printable line, or ``unreadable``; whatever the value holds."""
    names = " ".join(_PROPERTIES)
    said = adb.shell(f"for name in {names}; do echo {_MARK}$name; getprop $name; done 2>/dev/null")
    answers = (part.partition("\n") for part in said.stdout.split(_MARK)[1:])
    found = {name.strip(): printable(value) for name, _, value in answers}
    return {name: found.get(name) or UNREADABLE for name in _PROPERTIES}


def _identity(adb: AdbDevice) -> tuple[str, str]:
    """``DeviceInfo.serial`` and ``unit``: the same by cable, by address and by mDNS name.

    All emulators of one image have one ``ro.serialno``: they keep adb's name.
    """
    serial, unit = adb.identity()
    if not unit:
        tag = adb.shell(
            f"[ -s {_NAME_TAG} ] || echo {uuid.uuid4().hex} >{_NAME_TAG}; cat {_NAME_TAG}"
        )
        unit = "" if tag.returncode else digest(tag.stdout)
    if adb.serial.startswith("emulator-") or not serial:
        serial = hardware_serial(adb.serial)
    return serial, unit


def _abis(known: dict[str, str]) -> list[str]:
    """That the phone runs, best first; Android 4 has no list of them."""
    listed = known["ro.product.cpu.abilist"]
    names = (known["ro.product.cpu.abi"], known["ro.product.cpu.abi2"])
    return listed.split(",") if listed != UNREADABLE else [*names]


def _page_bytes(adb: AdbDevice) -> int | None:
    """Of the kernel; None where ``getconf`` is missing, as before any phone had other than 4096."""
    said = adb.shell("getconf PAGE_SIZE").stdout.strip()
    return int(said) if said.isdecimal() else None


def _soc(known: dict[str, str]) -> str:
    soc = known["ro.soc.model"]
    return known["ro.board.platform"] if soc == UNREADABLE else soc
