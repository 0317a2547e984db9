"""One ``mnasfpn`` command with a stand-in for this PC, and what the stages of its work took.

    python stand_in_host.py RESULT.json ARGUMENTS_OF_MNASFPN...

A program of its own, which runs the version of mnasfpn that comes first on the path, this one or
0.1.0: what has moved is named for both. The stand-in answers at once, by a law of the kernels in
the model files it is given, with as many samples as a PC would take. Simulated, and says so.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any

TICK_S = 0.004  # of processor time
#: Stage of the work -> how the names of its files end.
STAGES: dict[str, tuple[str, ...]] = {
    "imports": ("importlib._bootstrap>",),
    "planning": (
        *("profiling/plan.py", "profiling/profile_options.py", "profiling/space_kernels.py"),
        *("profiling/sampled_heads.py", "profiling/head_graph.py"),
        *("profiling/packing.py", "profiling/sampled_kernels.py", "profiling/sampled_networks.py"),
        *("latency/profiling_plan.py", "mnasfpn/jobs.py", "latency/selection.py"),
        *("latency/packing.py", "latency/general.py", "latency/networks.py"),
    ),
    "writing model files": ("tflite/writer.py", "models/tflite_writer.py"),
    "the store": ("profiling/store.py", "latency/store.py"),
    "verdicts": ("android_harness/verdict.py",),
    "the profile": ("measured_profile.py", "device_profile.py", "latency/profile.py"),
    "fitting": ("latency/fitting/fit.py", "latency/fit.py"),
}
REST = "everything else"
#: What has moved since 0.1.0: the module and the name of each.
MAIN = ("cli.main:main", "cli:main")
HOST_DEVICE = ("android_harness.host.host:HostDevice", "android_harness.host:HostDevice")
READ = ("models.tflite.reader:read_tflite", "models.tflite_reader:read_tflite")
PLAN = ("latency.kernels.execution:execution_plan", "latency.execution:execution_plan")
OF_A_PC = ("android_harness.protocol:HOST_PROTOCOL", "android_harness.protocol:HOST")
OF_SIMULATIONS = (
    *("android_harness.protocol:SIMULATED_PROTOCOL", "android_harness.protocol:SIMULATED"),
)


def place(places: Sequence[str]) -> tuple[Any, str]:
    """The first that this version has, as a module and a name in it."""
    for where in places:
        module, name = where.split(":")
        with contextlib.suppress(ImportError):
            found = import_module(f"mnasfpn.{module}")
            # What one version lacks, an editable installation of another may hand out.
            if hasattr(found, name) and home() in Path(str(found.__file__)).parents:
                return found, name
    raise SystemExit(f"this version of mnasfpn has none of {', '.join(places)}")


def home() -> Path:
    """Folder of the version that comes first on the path."""
    return Path(str(import_module("mnasfpn").__file__)).parent


def value(places: Sequence[str]) -> Any:
    return getattr(*place(places))


class StandIn:
    """A PC that has done its work before it is asked; its own time is nobody's."""

    def __init__(self) -> None:
        self.busy, self.cpu_s, self.visits = False, 0.0, 0
        self.known: dict[bytes, float] = {}  # by the content of the file

    def describe(self) -> Any:
        info = value(("android_harness.measurement:DeviceInfo",))
        return info("host", "Stand-in", "law", "none", "none", "law", provenance="simulated")

    def telemetry(self) -> Any:
        unreadable = {"cpu0": "unreadable"}
        return value(("android_harness.measurement:Telemetry",))(unreadable, unreadable)

    def run_round(
        self, jobs: Sequence[Any], settings: Any, round_number: int
    ) -> Iterator[tuple[Any, Any]]:
        for position, job in enumerate(jobs):
            self.busy, begun = True, time.process_time()
            run = self._visit(job, settings, round_number, position)
            self.busy, self.cpu_s = False, self.cpu_s + time.process_time() - begun
            self.visits += 1
            yield job, run

    def _visit(self, job: Any, settings: Any, round_number: int, position: int) -> Any:
        """One percent of noise, and samples for as long as a PC is asked to go on."""
        import numpy as np

        content = hashlib.sha256(job.model.read_bytes()).digest()
        if content not in self.known:
            self.known[content] = self._latency_us(job.model)
        middle_us = self.known[content]
        samples = max(settings.runs, int(settings.min_s * 1e6 / middle_us))
        noise = np.random.default_rng((round_number, position)).standard_normal(samples)
        return value(("android_harness.measurement:Run",))(
            round_number,
            position,
            tuple(np.round(middle_us * np.exp(0.01 * noise), 3).tolist()),
            init_us=300.0,
            cpu_per_wall=1.0,
            before=self.telemetry(),
            after=self.telemetry(),
            clock_us=85.0,
        )

    @staticmethod
    def _latency_us(path: Path) -> float:
        latency_us = 2.0
        for kernel in value(PLAN)(value(READ)(path)).kernels:
            traffic = kernel.bytes_in + kernel.bytes_out + kernel.bytes_weights
            latency_us += float(0.2 + kernel.madds / 2e4 + traffic / 1e4)
        return latency_us


def stage(frame: FrameType | None) -> str:
    """Of the innermost call that has one."""
    while frame is not None:
        for name, endings in STAGES.items():
            if frame.f_code.co_filename.endswith(endings):
                return name
        frame = frame.f_back
    return REST


def run(arguments: list[str]) -> dict[str, Any]:
    """Seconds of processor time, the stand-in's own left out."""
    ticks: Counter[str] = Counter()
    device = StandIn()

    def tick(_: int, frame: FrameType | None) -> None:
        if not device.busy:
            ticks[stage(frame)] += 1

    signal.signal(signal.SIGPROF, tick)
    signal.setitimer(signal.ITIMER_PROF, TICK_S, TICK_S)
    setattr(*place(HOST_DEVICE), lambda: device)
    setattr(*place(OF_SIMULATIONS), value(OF_A_PC))
    with contextlib.suppress(SystemExit):
        value(MAIN)(arguments, standalone_mode=False)
    signal.setitimer(signal.ITIMER_PROF, 0)
    cpu_s = time.process_time() - device.cpu_s
    stages = {name: cpu_s * ticks[name] / ticks.total() for name in (*STAGES, REST)}
    return {"cpu_s": cpu_s, "stages": stages, "visits": device.visits}


if __name__ == "__main__":
    out, *words = sys.argv[1:]
    Path(out).write_text(json.dumps(run(words)))
