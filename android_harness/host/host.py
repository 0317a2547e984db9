"""This PC as a device: one worker process per round, one thread, one core."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ...errors import (
    BenchmarkOutputError,
    DeviceError,
    InvalidInput,
    StableDeviceError,
    TransientDeviceError,
)
from ..clocks import CURRENT, TIME_IN_STATE, ClockReading, mean_mhz, read_clock
from ..device import Job, RunSettings
from ..measurement import HOST, UNREADABLE, CoreClock, DeviceInfo, Run, Telemetry
from .endings import raise_if_killed
from .operator_profile import ProfilingTooSlow, profile_model
from .worker import installed_runtime

START_TIMEOUT_S = 60.0


class HostDevice:
    """Times models on this PC. Satisfies :class:`~..device.Device`.

    Args:
        core: the CPU to pin to. By default the last of the fastest cores this process may use:
            interrupts and system services favour the first ones, and a fixed rule means that a
            resumed campaign lands on the same core again. Where the system cannot pin (macOS,
            Windows) the run is not pinned and ``DeviceInfo.cores`` is empty.
        sys_root: where sysfs is mounted; tests point it elsewhere.

    Raises:
        InvalidInput: this process may not use ``core``.
    """

    def __init__(self, core: int | None = None, sys_root: Path = Path("/sys")) -> None:
        self._sys = sys_root
        allowed = _allowed_cores()
        if core is not None and core not in allowed:
            raise InvalidInput(f"cannot pin to core {core}; this process may use {sorted(allowed)}")
        self.core = core if core is not None else self._default_core(allowed)

    def describe(self) -> DeviceInfo:
        found = installed_runtime()
        if found is None:
            raise StableDeviceError(
                "no TensorFlow Lite runtime is installed on this PC; expected ai-edge-litert: "
                "run `pip install ai-edge-litert`"
            )
        return DeviceInfo(
            serial=HOST,
            model=_read(self._sys / "class/dmi/id/product_name"),
            soc=_cpu_name(),
            os=f"{platform.system()} {platform.release()}",
            abi=platform.machine(),
            runtime=f"{found[0]} {found[1]}, Python {platform.python_version()}",
            cores=() if self.core is None else (self.core,),
        )

    def telemetry(self) -> Telemetry:
        """State of the pinned core and of the PC; milliseconds at most, never an error.

        Where the system cannot pin, the first core stands for all.
        """
        name = f"cpu{self.core or 0}"
        cpufreq = self._sys / "devices/system/cpu" / name / "cpufreq"
        zones = sorted(self._sys.glob("class/thermal/thermal_zone*"))
        battery = next(iter(sorted(self._sys.glob("class/power_supply/BAT*"))), Path(os.devnull))
        state = _read(battery / "status")
        return Telemetry(
            frequency_mhz={name: _number(cpufreq / "scaling_cur_freq", 1e-3)},
            governor={name: _read(cpufreq / "scaling_governor")},
            temperature_c={
                f"{zone.name} {_read(zone / 'type')}": _number(zone / "temp", 1e-3)
                for zone in zones
            },
            battery_percent=_number(battery / "capacity", 1),
            charging=state if state == UNREADABLE else state in ("Charging", "Full"),
            load_average=os.getloadavg()[0] if hasattr(os, "getloadavg") else UNREADABLE,
        )

    def clock(self) -> ClockReading:
        """Of the pinned core, now."""
        cpufreq = self._sys / f"devices/system/cpu/cpu{self.core or 0}/cpufreq"
        return read_clock(_read(cpufreq / TIME_IN_STATE).splitlines(), _read(cpufreq / CURRENT))

    def clocks_since(self, before: ClockReading) -> tuple[CoreClock, ...]:
        """The pinned core's mean clock since then; a single reading says less than the probe."""
        found = mean_mhz(before, self.clock())
        if self.core is None or found is None or found[1] != "time_in_state":
            return ()
        return (CoreClock((self.core,), *found),)

    def run_round(
        self, jobs: Sequence[Job], settings: RunSettings, round_number: int
    ) -> Generator[tuple[Job, Run], None, None]:
        """Visit the jobs in order in one new process; see :class:`~..device.Device`.

        A model that crashes the runtime or hangs it costs its own run only: the process is
        replaced and the round goes on. A process killed by someone else is a
        ``TransientDeviceError``: nothing is known against the model.
        """
        if settings.op_profile:
            yield from self._profiled_round(jobs, settings, round_number)
            return
        worker: _Worker | None = None
        try:
            for position, job in enumerate(jobs):
                worker = worker or _Worker(self.core)
                before, clock = self.telemetry(), self.clock()
                try:
                    answer = worker.visit(job, settings)
                except _ModelStoppedWorker as stopped:
                    worker.close()
                    worker, answer = None, {"error": str(stopped)}
                if "error" not in answer:
                    answer["samples_us"] = tuple(answer["samples_us"])
                    answer["clocks"] = self.clocks_since(clock)
                yield (
                    job,
                    Run(round_number, position, before=before, after=self.telemetry(), **answer),
                )
        finally:
            if worker is not None:
                worker.close()

    def _profiled_round(
        self, jobs: Sequence[Job], settings: RunSettings, round_number: int
    ) -> Generator[tuple[Job, Run], None, None]:
        """With the operator profile, which the native runner has; one process per job."""
        for position, job in enumerate(jobs):
            before, clock = self.telemetry(), self.clock()
            values: dict[str, Any]
            try:
                found = profile_model(job.model, settings, self.core)
                values = {
                    "stats_us": found.stats_us,
                    "init_us": found.init_us,
                    "op_profile": found.timings,
                    "clocks": self.clocks_since(clock),
                }
            except (BenchmarkOutputError, ProfilingTooSlow) as error:
                values = {"error": str(error)}
            yield job, Run(round_number, position, before=before, after=self.telemetry(), **values)

    def _default_core(self, allowed: set[int]) -> int | None:
        """The last of the biggest cores, by capacity, then by maximum frequency, as on phones.

        None where the system does not pin.
        """
        cpus = self._sys / "devices/system/cpu"
        files = ("cpu_capacity", "cpufreq/cpuinfo_max_freq")
        sizes = {
            core: [_number(cpus / f"cpu{core}" / name, 1) for name in files] for core in allowed
        }
        # One that not every core has compares none of them.
        common = [
            at for at in range(len(files)) if all(isinstance(s[at], float) for s in sizes.values())
        ]
        return max(
            allowed, key=lambda core: [*(sizes[core][at] for at in common), core], default=None
        )


class _ModelStoppedWorker(DeviceError):
    """The model in hand crashed the runtime or never came back."""


class _Worker:
    """One worker process, in a session of its own so that Ctrl-C reaches only the parent."""

    def __init__(self, core: int | None) -> None:
        # The owner closes it; a context manager here would close it too early.
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.worker", "" if core is None else str(core)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            start_new_session=True,
        )
        self._answers: queue.Queue[bytes] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        try:
            hello = self._answer(START_TIMEOUT_S)
        except BaseException:  # also Ctrl-C: no process is left behind
            self.close()
            raise
        if hello is None:
            status, said = self._process.wait(), self._said()
            self.close()
            raise StableDeviceError(
                f"the measuring process ended with status {status} before its first job: {said}; "
                f"check that `{sys.executable} -m pip check` is clean"
            )

    def visit(self, job: Job, settings: RunSettings) -> dict[str, Any]:
        """The worker's answer to one job.

        Raises:
            _ModelStoppedWorker: the model crashed the process, or ``timeout_s`` passed.
            TransientDeviceError: someone else ended the process.
        """
        request = {"model": str(job.model), **asdict(settings)}
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended: the missing answer says how
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        try:
            answer = self._answer(settings.timeout_s)
        except TransientDeviceError as error:
            raise _ModelStoppedWorker(
                f"{error} while measuring {job.model.name}; its process was stopped: raise "
                "timeout_s if the model is that slow"
            ) from None
        if answer is not None:
            return answer
        status = self._process.wait()
        raise_if_killed(status, job.key)
        how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        raise _ModelStoppedWorker(f"{job.model.name} crashed the runtime ({how}): {self._said()}")

    def close(self) -> None:
        """End the process; it holds nothing worth a farewell."""
        self._process.kill()
        self._process.wait()
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()  # type: ignore[union-attr]
        self._stderr.close()

    def _answer(self, timeout_s: float) -> dict[str, Any] | None:
        """The next answer, or None when the process has ended."""
        try:
            line = self._answers.get(timeout=timeout_s)
        except queue.Empty:
            raise TransientDeviceError(
                f"no answer from the measuring process within {timeout_s:g} s"
            ) from None
        if not line.endswith(b"\n"):
            return None
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _read(self) -> None:
        with self._process.stdout as lines:  # type: ignore[union-attr]
            for line in lines:
                self._answers.put(line)
        self._answers.put(b"")

    def _said(self) -> str:
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        telling = [line for line in lines if not line.startswith("INFO:")]
        return telling[-1] if telling else "it said nothing"


def _allowed_cores() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


def _cpu_name() -> str:
    for line in _read(Path("/proc/cpuinfo")).splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.processor() or UNREADABLE


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip() or UNREADABLE
    except OSError:
        return UNREADABLE


def _number(path: Path, factor: float) -> float | str:
    try:
        return float(_read(path)) * factor
    except ValueError:
        return UNREADABLE
