"""What a measurement is: every raw sample, the device's state around it, and a verdict."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from ..errors import InvalidInput

Provenance = Literal["measured", "published", "simulated"]
ClockSource = Literal["time_in_state", "scaling_cur_freq"]
UNREADABLE = "unreadable"
HOST = "host"  # serial of this PC


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """Everything that must agree between two measurements before they may be compared.

    Args:
        serial: a phone's ``ro.serialno``, however it is connected; ``HOST`` for this PC.
        model, soc, os, abi: as the device names them, or ``unreadable``.
        runtime: name and version of what executed the model, e.g. ``ai-edge-litert 2.3.0 XNNPACK``.
        cores: CPU numbers the process was pinned to; empty where pinning is not possible.
        provenance: ``measured`` on real hardware or ``simulated``.
        unit: tells phones apart that have one serial; a digest, empty where nothing does.
    """

    serial: str
    model: str
    soc: str
    os: str
    abi: str
    runtime: str
    cores: tuple[int, ...] = ()
    threads: int = 1
    provenance: Provenance = "measured"
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Telemetry:
    """State of a device at one moment; every probe gives a value or ``unreadable``."""

    frequency_mhz: dict[str, float | str] = field(default_factory=dict)
    governor: dict[str, str] = field(default_factory=dict)
    temperature_c: dict[str, float | str] = field(default_factory=dict)
    thermal_status: int | str = UNREADABLE
    battery_percent: float | str = UNREADABLE
    charging: bool | str = UNREADABLE
    load_average: float | str = UNREADABLE


@dataclass(frozen=True, slots=True)
class CoreClock:
    """How fast cores that share a clock were while a run lasted.

    Args:
        cores: of those that the run was pinned to.
        mhz: by ``time_in_state`` the mean over the run; by ``scaling_cur_freq``, where the kernel
            keeps no such table, the clock right after it.
        source: which of the two.
    """

    cores: tuple[int, ...]
    mhz: float
    source: ClockSource


@dataclass(frozen=True, slots=True)
class OpTiming:
    """One row of a runtime's operator profile, in execution order."""

    op: str
    name: str
    mean_us: float
    times_called: int = 1


@dataclass(frozen=True, slots=True)
class Run:
    """One model, one visit: warm-up, then repeated inference, with all that was seen.

    ``samples_us`` holds every single inference where the runtime gives them (this PC). A benchmark
    tool on a phone prints only statistics; then ``samples_us`` is empty and ``stats_us`` has its
    keys (min, avg, max, std, count, and median, p5, p95 where printed).

    Args:
        clocks: of the cores it was pinned to; empty where they cannot be read.
        unpinned: why the process was not held to its cores; empty when it was. Never VALID.
        core_doubts: why the cores it was pinned to may not be the device's biggest.
    """

    round: int
    position: int  # in the round's random order
    samples_us: tuple[float, ...] = ()
    stats_us: dict[str, float] = field(default_factory=dict)
    init_us: float | None = None
    cpu_per_wall: float | None = None  # CPU time / wall time; 1.0 proves a single thread
    before: Telemetry = field(default_factory=Telemetry)
    after: Telemetry = field(default_factory=Telemetry)
    op_profile: tuple[OpTiming, ...] = ()
    error: str = ""  # why there are no samples
    clock_us: float | None = None  # fixed arithmetic beside the samples: the core's speed (PC)
    afresh: bool = False  # the model is measured anew from here on: what was before does not count
    clocks: tuple[CoreClock, ...] = ()
    unpinned: str = ""
    core_doubts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not (self.samples_us or self.stats_us or self.error):
            raise InvalidInput("a run needs samples, statistics or the error that prevented them")
        if any(not sample > 0 for sample in self.samples_us):
            raise InvalidInput(f"a sample must be positive, got {min(self.samples_us)} us")
        if self.clock_us is not None and not self.clock_us > 0:
            raise InvalidInput(f"clock_us must be positive, got {self.clock_us}")


def effective_mhz(run: Run) -> float | None:
    """The clock of the run, as the mean over the cores it was pinned to; None if unreadable."""
    cores = sum(len(clock.cores) for clock in run.clocks)
    return sum(len(clock.cores) * clock.mhz for clock in run.clocks) / cores if cores else None


def clock_in_words(run: Run) -> str:
    """``effective_mhz`` of a run that has one, and what it is."""
    means = all(clock.source == "time_in_state" for clock in run.clocks)
    return f"{effective_mhz(run):.0f} MHz {'on average' if means else 'right after it'}"


def core_doubts(runs: Iterable[Run]) -> tuple[str, ...]:
    """What the reader of these runs must know of the cores they ran on, each thing once."""
    return tuple(
        dict.fromkeys(text for run in runs for text in (run.unpinned, *run.core_doubts) if text)
    )


class Status(enum.Enum):
    """VALID: use it. UNSTABLE: use with its reasons. FAILED: there is no number."""

    VALID = "VALID"
    UNSTABLE = "UNSTABLE"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Verdict:
    status: Status
    reasons: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if (self.status is Status.VALID) == bool(self.reasons):
            raise InvalidInput(f"{self.status.value} needs reasons exactly when it is not VALID")


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a model costs on a device, together with every raw run it was derived from.

    Built by ``verdict.measurement``; the derived numbers are never kept without their runs.

    Args:
        key: the job's key.
        centre_us: the protocol's statistic over the runs it stands on; None when FAILED.
        spread: (slowest - fastest) / fastest of those runs; None when FAILED.
        count: single inferences in all runs, disturbed ones included.
        half_width: how far off ``centre_us`` may be, as a ratio; None when FAILED, infinite where
            too few runs say nothing about it.
    """

    key: str
    device: DeviceInfo
    runs: tuple[Run, ...]
    centre_us: float | None
    spread: float | None
    count: int
    verdict: Verdict
    half_width: float | None = None

    def __post_init__(self) -> None:
        failed = self.verdict.status is Status.FAILED
        if failed != (self.centre_us is None) or failed != (self.spread is None):
            raise InvalidInput(
                f"measurement of {self.key!r} is {self.verdict.status.value} with centre "
                f"{self.centre_us} us; it has a centre and a spread exactly when it did not fail"
            )

    @property
    def interval_us(self) -> tuple[float, float] | None:
        """Between which the centre of many more runs would lie; None where it is not known."""
        if self.centre_us is None or self.half_width is None:
            return None
        return self.centre_us / (1 + self.half_width), self.centre_us * (1 + self.half_width)
