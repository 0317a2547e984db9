"""Calibration: from kernels measured alone to the latency of a whole model.

A kernel measured alone, again and again, finds what it reads in the caches. In a model other
kernels have had their turn since, and on the same machine other programs: the longer ago a kernel
ran, the less of what it needs is left, and how long that is, is the model's own latency. So with ::

    warm = intercept
         + sum over delegate partitions of  partition_us + crossing_us_per_mb * MB crossing
         + sum over kernels of  factor * (value - dispatch)
    cold = sum over kernels of  tensors_us_per_mb * MB of tensors
                              + weights_us_per_mb * MB of weights
                              + windows_us_per_mb * MB of windows

a model's latency is the solution of ::

    latency = warm + cold * latency / (latency + settling)

The factor and the three prices per megabyte are of each family of kernels. On a PC, chains of equal
layers cost the price of their weights where an inference takes 8 to 10 ms, and nothing where it
takes up to 2 ms, whatever their size: the caches that are shared with others forget by time. The
law above is smoother than that, and predicted whole heads better than sharper ones did.

Warm and cold are sums over kernels and partitions, so that they can be evaluated for whole arrays
of models at once.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from ...errors import InvalidProfile
from ..kernels.cache_traffic import MEGABYTE, cold_megabytes, family, kind_of
from ..kernels.execution import ExecutionPlan
from ..kernels.features import Matrix
from ..kernels.kernel import Kernel, kind_dtype

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
        for field in fields(self):
            if not getattr(self, field.name) >= 0:
                raise InvalidProfile(
                    f"{field.name!r} must not be negative, got {getattr(self, field.name)}"
                )

    def scaled(self, by: float) -> FamilyCalibration:
        """All of it by the same factor."""
        return FamilyCalibration(*(by * getattr(self, field.name) for field in fields(self)))


AS_ALONE = FamilyCalibration()


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
        shrinkage: strength of the ridge, chosen by leave-one-out error.
        half_width: of the interval as a ratio, from leave-one-out residuals: the latency lies
            within a factor ``1 + half_width`` with probability ``coverage``.
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
