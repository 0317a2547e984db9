"""Calibration: from kernels measured alone to the latency of a whole model, with its interval.

A kernel measured alone, again and again, finds what it reads in the caches. In a model other
kernels have had their turn since, and on the same machine other programs: the longer ago a kernel
ran, the less of what it needs is left, and how long that is, is the model's own latency. So with ::

    warm = intercept
         + sum over delegate partitions of  partition_us + crossing_us_per_mb * MB crossing
         + sum over kernels of  factor * (value - dispatch)
    cold = sum over kernels of  tensors_us_per_mb * MB of tensors
                              + weights_us_per_mb * MB of weights

a model's latency is the solution of ::

    latency = warm + cold * latency / (latency + settling)

The factor and the prices are of each family of kernels: as fitted today, of each arithmetic. In
profiles fitted by version 0.1.0 families are kinds, and windows have a price too.

Warm and cold are sums over kernels and partitions, so that they can be evaluated for whole arrays
of models at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, fields

import numpy as np

from ...errors import InvalidProfile
from ..kernels.cache_traffic import MEGABYTE, cold_megabytes, family, kind_of
from ..kernels.execution import ExecutionPlan
from ..kernels.features import Matrix
from ..kernels.kernel import Kernel, kind_dtype

HEADS = "heads"  # models all of whose kernels stand in the table
SHARED = ("intercept_us", "partition_us", "crossing_us_per_mb")


@dataclass(frozen=True, slots=True)
class FamilyCalibration:
    """How kernels of one family differ in a model from the same kernels alone.

    Args:
        factor: on the latency alone.
        tensors_us_per_mb, weights_us_per_mb, windows_us_per_mb: of what is no longer in the caches
            when a kernel's turn comes; see :func:`..kernels.cache_traffic.cold_megabytes`.
    """

    factor: float = 1.0
    tensors_us_per_mb: float = 0.0
    weights_us_per_mb: float = 0.0
    windows_us_per_mb: float = 0.0

    def __post_init__(self) -> None:
        for each in fields(self):
            if not getattr(self, each.name) >= 0:
                raise InvalidProfile(
                    f"{each.name!r} must not be negative, got {getattr(self, each.name)}"
                )

    def scaled(self, by: float) -> FamilyCalibration:
        """All of it by the same factor."""
        return FamilyCalibration(*(by * getattr(self, each.name) for each in fields(self)))


AS_ALONE = FamilyCalibration()


def population(kernels_us: Iterable[tuple[str, float]], in_table: bool) -> str:
    """Which population a model is one of: heads, or files of the arithmetic that takes most of it.

    Args:
        kernels_us: type and microseconds of each kernel.
        in_table: whether all of them stand in the table.
    """
    by_type: dict[str, float] = {}
    for dtype, us in kernels_us:
        by_type[dtype] = by_type.get(dtype, 0.0) + us
    most = max(by_type, key=lambda dtype: by_type[dtype], default="float32")
    return HEADS if in_table and most == "float32" else f"{most} files"


@dataclass(frozen=True, slots=True)
class Interval:
    """Where measurements of a population's models lie.

    Args:
        low, high: as ratios of the prediction.
        coverage: the probability it is meant for, half of the rest on either side.
        count: residuals it was made from, of models left out of the fit.
        regression_error: what their kernels' regressions stated as their own error, as a ratio, on
            average: so much of it is in the residuals already.
    """

    low: float
    high: float
    coverage: float
    count: int
    regression_error: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.high < math.inf:
            raise InvalidProfile(f"an interval from {self.low} to {self.high} is none")
        if not 0 < self.coverage <= 1:
            raise InvalidProfile(f"'coverage' is a probability, got {self.coverage}")
        if not self.regression_error >= 0:
            raise InvalidProfile(
                f"'regression_error' must not be negative, got {self.regression_error}"
            )

    def ratios(self, regression_error: float) -> tuple[float, float]:
        """Low and high of a model whose kernels' regressions state that error."""
        middle, half_width = math.sqrt(self.low * self.high), math.sqrt(self.high / self.low) - 1
        # A regression may err alike on all its kernels, but not as the calibration does.
        beyond = math.sqrt(max(0.0, regression_error**2 - self.regression_error**2))
        wider = 1 + math.hypot(half_width, beyond)
        return middle / wider, middle * wider


@dataclass(frozen=True, slots=True)
class Calibration:
    """The coefficients above.

    Args:
        families: arithmetic, kind or :func:`..kernels.cache_traffic.family` of kernels -> what
            they cost in a model; as alone for those that no calibration model has.
        intercept_us: of every model.
        partition_us: of entering a delegate partition.
        crossing_us_per_mb: of tensors that enter or leave a delegate partition.
        settling_ms: after which half of what a kernel needs has left the caches.
        models: fitted on.
        shrinkage: strength of the ridge.
        half_width, coverage: of the interval of models whose population has none below, as a
            ratio: the latency lies within a factor ``1 + half_width``.
        intervals: population -> from its own residuals.
    """

    families: dict[str, FamilyCalibration]
    models: int
    shrinkage: float
    half_width: float
    coverage: float
    intercept_us: float = 0.0
    partition_us: float = 0.0
    crossing_us_per_mb: float = 0.0
    settling_ms: float = 0.0
    intervals: dict[str, Interval] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in (*SHARED, "settling_ms", "half_width"):
            if not getattr(self, name) >= 0:
                raise InvalidProfile(f"{name!r} must not be negative, got {getattr(self, name)}")
        if not 0 < self.coverage <= 1:
            raise InvalidProfile(f"'coverage' is a probability, got {self.coverage}")

    def family(self, name: str) -> FamilyCalibration:
        """What is known of a family, or else of its kind, or else of its arithmetic."""
        names = (name, kind_of(name), kind_dtype(kind_of(name)))
        return next((self.families[each] for each in names if each in self.families), AS_ALONE)

    def interval(self, population: str) -> tuple[Interval, str]:
        """That of a population's models, and what it stands on."""
        if population in self.intervals:
            found = self.intervals[population]
            return found, f"{found.count} {population} left out of the fit"
        widest = 1 + self.half_width
        found = Interval(1 / widest, widest, self.coverage, self.models)
        if not self.intervals:
            return found, f"{self.models} models left out of the fit"
        known = " and ".join(self.intervals)
        return found, f"no {population} were measured whole: twice as wide as of {known}"

    def kernel_us(self, kernel: Kernel, net_us: float) -> tuple[float, float]:
        """(warm, cold) microseconds that a kernel adds to a model.

        Args:
            net_us: measured alone, without the call of the interpreter.
        """
        found = self.family(family(kernel))
        tensors, weights, windows = cold_megabytes(kernel)
        cold_us = (
            found.tensors_us_per_mb * tensors
            + found.weights_us_per_mb * weights
            + found.windows_us_per_mb * windows
        )
        return found.factor * net_us, cold_us

    def overhead_us(self, plan: ExecutionPlan) -> float:
        """What a model costs beside its kernels."""
        return self.intercept_us + sum(
            self.partition_us
            + self.crossing_us_per_mb * (partition.bytes_in + partition.bytes_out) / MEGABYTE
            for partition in plan.delegate_partitions
        )

    def settled_us(self, warm_us: Matrix, cold_us: Matrix) -> Matrix:
        """Latencies of models, from the sums of warm and cold of each."""
        return settled_us(warm_us, cold_us, 1e3 * self.settling_ms)

    def cold_share(self, warm_us: float, cold_us: float) -> float:
        """How much of a model's cold is paid, from its sums of warm and cold."""
        latency_us = self.settled_us(np.asarray(warm_us), np.asarray(cold_us))
        return float(cold_share(latency_us, 1e3 * self.settling_ms)) if cold_us else 0.0


def settled_us(warm_us: Matrix, cold_us: Matrix, settling_us: float) -> Matrix:
    """The positive solution of ``latency = warm + cold * latency / (latency + settling)``."""
    half = (warm_us + cold_us - settling_us) / 2
    latency_us: Matrix = half + np.sqrt(half * half + warm_us * settling_us)
    return latency_us


def cold_share(latency_us: Matrix, settling_us: float) -> Matrix:
    """How much of what a kernel needs has left the caches since the inference before."""
    share: Matrix = latency_us / (latency_us + settling_us)
    return share
