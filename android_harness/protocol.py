"""The measuring protocol: named limits and statistics; what follows from them is in
:mod:`.verdict`.

Every limit is in ``docs/protocol.md`` with its source and with the experiment behind it.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..errors import InvalidInput
from .device import RunSettings
from .measurement import HOST, DeviceInfo

#: Statistics of raw samples, under the names that benchmark tools print.
STATISTICS: dict[str, Callable[[Sequence[float]], float]] = {
    "min": min,
    "p5": lambda samples: float(np.percentile(samples, 5)),
    "median": statistics.median,
    "p95": lambda samples: float(np.percentile(samples, 95)),
    "avg": statistics.fmean,
}


@dataclass(frozen=True, slots=True)
class MeasuringProtocol:
    """Every limit of a campaign. Only ``max_half_width`` and ``cooldown_timeout_s`` are published.

    Args:
        statistics: what is read off a run, by preference; tools of different age print different
            ones.
        rounds: processes in which each model must have been measured.
        quantile: of the undisturbed runs, is the centre.
        extra_rounds: more rounds for models that are not VALID after ``rounds``; runs beyond both
            never count.
        warmup_runs, warmup_min_s: before the repeats of one visit; see ``RunSettings``.
        runs, min_s, max_s: its repeats fill ``min_s``, but are ``runs`` at least, which a slow
            model gets as long as they end before ``max_s``.
        timeout_s: a visit that takes longer is ended.
        sentinel_every: the sentinel is visited once per this many models, and at both ends.
        max_half_width: of the centre's interval. Source: 5 % between processes,
            microsoft/nn-Meter issue 119.
        max_sentinel_drift: of the sentinel beside a run, from its median over the campaign.
        min_clock_share: effective frequency of a run, as a share of the usual one.
        min_probe_share: speed of the core by the clock probe (PC), as a share of the usual one.
        max_thermal_status: Android's scale; 0 is none, 1 is light throttling.
        max_cpu_per_wall: more CPU time than this per wall time means a second thread.
        min_cpu_per_wall: less means that something else had the core meanwhile.
        cooldown_c: a device this much warmer than at rest waits before the next visit ...
        cooldown_timeout_s: ... at most this long. Source: 5 min, the MLPerf mobile application.
        retries: reconnects in a row without a finished run before a transient error is final.
        retry_wait_s: before the first of them; doubled each time.
        error_runs: a model that failed this often in a row is left alone, in later campaigns too.

    Raises:
        InvalidInput: a limit outside its range; the message names it.
    """

    name: str
    statistics: tuple[str, ...]
    rounds: int
    quantile: float = 0.5
    extra_rounds: int = 3
    warmup_runs: int = 3
    warmup_min_s: float = 0.0
    runs: int = 5
    min_s: float = 0.0
    max_s: float = 30.0
    timeout_s: float = 120.0
    sentinel_every: int = 25
    max_half_width: float = 0.05
    max_sentinel_drift: float = 0.03
    min_clock_share: float = 0.95
    min_probe_share: float = 0.0
    max_thermal_status: int = 0
    max_cpu_per_wall: float = 1.1
    min_cpu_per_wall: float = 0.0
    cooldown_c: float = 5.0
    cooldown_timeout_s: float = 300.0
    retries: int = 3
    retry_wait_s: float = 1.0
    error_runs: int = 2

    def __post_init__(self) -> None:
        unknown = [name for name in self.statistics if name not in STATISTICS]
        if unknown or not self.statistics:
            raise InvalidInput(
                f"protocol {self.name!r} reads statistics {self.statistics}; expected one or more "
                f"of {', '.join(STATISTICS)}"
            )
        for name in ("rounds", "runs", "sentinel_every", "error_runs"):
            self._at_least(name, 1)
        for name in _NOT_NEGATIVE:
            self._at_least(name, 0)
        if not 0 <= self.quantile <= 1:
            raise InvalidInput(
                f"protocol {self.name!r}: quantile is {self.quantile}; expected 0 to 1"
            )
        if not 0 < 2 * self.max_s <= self.timeout_s:  # warm-up and repeats, each up to max_s
            raise InvalidInput(
                f"protocol {self.name!r}: max_s is {self.max_s}; expected above 0 and at most "
                f"half of timeout_s, {self.timeout_s / 2}"
            )

    @property
    def most_rounds(self) -> int:
        """Runs of a model that may count, however often a campaign is started again."""
        return self.rounds + self.extra_rounds

    def run_settings(self, *, xnnpack: bool = True, op_profile: bool = False) -> RunSettings:
        return RunSettings(
            warmup_runs=self.warmup_runs,
            warmup_min_s=self.warmup_min_s,
            runs=self.runs,
            min_s=self.min_s,
            max_s=self.max_s,
            xnnpack=xnnpack,
            op_profile=op_profile,
            timeout_s=self.timeout_s,
        )

    def _at_least(self, name: str, least: float) -> None:
        value = getattr(self, name)
        if not value >= least:
            raise InvalidInput(
                f"protocol {self.name!r}: {name} is {value}; expected {least} or more"
            )


_NOT_NEGATIVE = (
    "extra_rounds",
    "warmup_runs",
    "warmup_min_s",
    "min_s",
    "max_half_width",
    "max_sentinel_drift",
    "min_clock_share",
    "min_probe_share",
    "max_thermal_status",
    "max_cpu_per_wall",
    "min_cpu_per_wall",
    "cooldown_c",
    "cooldown_timeout_s",
    "retries",
    "retry_wait_s",
)

#: A PC: noisy, so more processes of fewer repeats. It does not rest: a fan keeps it at a
#: temperature of its own under load, and the clock probe sees what heat does to it.
HOST_PROTOCOL = MeasuringProtocol(
    "host",
    statistics=("p5",),
    rounds=5,
    quantile=0.25,
    warmup_runs=2,
    min_s=0.01,
    min_probe_share=0.9,
    min_cpu_per_wall=0.25,
    cooldown_timeout_s=0.0,
)
#: A phone with one pinned big core: quiet, but it heats up and every process costs a second.
PHONE_PROTOCOL = MeasuringProtocol(
    "phone",
    statistics=("median", "avg"),
    rounds=3,
    extra_rounds=5,
    warmup_min_s=0.1,
    min_s=0.5,
)


#: A virtual phone, whose clock counts instructions: the second run would say what the first did.
SIMULATED_PROTOCOL = MeasuringProtocol(
    "simulated",
    statistics=("median", "avg"),
    rounds=1,
    extra_rounds=0,
    warmup_runs=1,
    runs=1,
    max_s=300.0,
    timeout_s=900.0,
    sentinel_every=100,
    cooldown_timeout_s=0.0,
)


def protocol_for(device: DeviceInfo) -> MeasuringProtocol:
    if device.provenance == "simulated":
        return SIMULATED_PROTOCOL
    return HOST_PROTOCOL if device.serial == HOST else PHONE_PROTOCOL


def quick(protocol: MeasuringProtocol) -> MeasuringProtocol:
    """The same protocol in less than half the time, for a first profile.

    On a PC, 4 rounds of 3 repeats gave heads an error of 3.2 % (RMSPE) where 5 rounds of 5 gave
    2.8 % and a second measurement 2.1 %.
    """
    return replace(
        protocol,
        name=f"{protocol.name}-quick",
        rounds=min(protocol.rounds, 4),
        extra_rounds=min(protocol.extra_rounds, 2),
        warmup_runs=min(protocol.warmup_runs, 1),
        runs=min(protocol.runs, 3),
    )
