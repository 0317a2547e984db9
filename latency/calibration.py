"""Calibration: from a sum over kernels measured alone to the latency of a whole model.

A kernel measured alone finds its weights and inputs in the cache, and pays for one call of the
interpreter; in a model it does neither. The difference is learned from a few whole models::

    latency = intercept
            + sum over kernels of  factor[kind] * (value - dispatch) + weights_us_per_mb * cold
            + sum over delegate partitions of  partition_us + crossing_us_per_mb * bytes crossing

``cold`` are the weights of products of many rows. A product of one row (a dense layer, a gate)
reads each weight once and does little else, alone as in a model, so its factor says it all.

It stays a sum, so that it can be evaluated for whole arrays of models at once. All coefficients are
non-negative, factors are drawn towards 1 and the rest towards 0, and relative errors are minimised.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InvalidInput, InvalidProfile
from .execution import ExecutionPlan
from .features import Matrix
from .intervals import conformal_error, coverage_from
from .kernels import Kernel

MEGABYTE = 1e6
SHARED = ("intercept_us", "partition_us", "crossing_us_per_mb", "weights_us_per_mb")


@dataclass(frozen=True, slots=True)
class Calibration:
    """The coefficients above.

    Args:
        factors: kind of kernel -> factor; 1 for a kind that no calibration model has.
        intercept_us: of every model.
        partition_us: of entering a delegate partition.
        crossing_us_per_mb: of tensors that enter or leave a delegate partition.
        weights_us_per_mb: of weights that are no longer in the cache when their turn comes.
        models: fitted on.
        shrinkage: strength of the ridge, chosen by leave-one-out error.
        error: half width of the interval as a ratio, from leave-one-out residuals: the latency
            lies within a factor ``1 + error`` with probability ``coverage``.
    """

    factors: dict[str, float]
    intercept_us: float
    partition_us: float
    crossing_us_per_mb: float
    weights_us_per_mb: float
    models: int
    shrinkage: float
    error: float
    coverage: float

    def __post_init__(self) -> None:
        for name in SHARED:
            if not getattr(self, name) >= 0:
                raise InvalidProfile(f"{name!r} must not be negative, got {getattr(self, name)}")
        if not self.error >= 0:
            raise InvalidProfile(f"'error' must not be negative, got {self.error}")
        if not 0 < self.coverage <= 1:
            raise InvalidProfile(f"'coverage' is a probability, got {self.coverage}")
        for kind, factor in self.factors.items():
            if not factor >= 0:
                raise InvalidProfile(f"the factor of {kind!r} must not be negative, got {factor}")

    def kernel_us(self, kernel: Kernel, net_us: float) -> float:
        """What a kernel adds to a model.

        Args:
            net_us: measured alone, without the call of the interpreter.
        """
        factor = self.factors.get(kernel.kind, 1.0)
        return factor * net_us + self.weights_us_per_mb * cold_weights(kernel) / MEGABYTE

    def overhead_us(self, plan: ExecutionPlan) -> float:
        """What a model costs beside its kernels."""
        return self.intercept_us + sum(
            self.partition_us
            + self.crossing_us_per_mb * (partition.bytes_in + partition.bytes_out) / MEGABYTE
            for partition in plan.delegate_partitions
        )


def cold_weights(kernel: Kernel) -> int:
    """Bytes of weights that a kernel alone reads from the cache, again and again."""
    return kernel.bytes_weights if kernel.rows > 1 else 0


KernelCost = Callable[[Kernel], float]  # net microseconds of a kernel measured alone

SHRINKAGES = (0.03, 0.1, 0.3, 1.0)
SHARED_SHRINKAGE = 0.01  # relative to the same, in units of the terms' typical share
HUBER = 1.345
REWEIGHTINGS = 5
LEAST_MODELS = 5


def fit_calibration(
    plans: Sequence[ExecutionPlan], latencies_ms: Sequence[float], net_us: KernelCost
) -> Calibration:
    """The calibration of measured models.

    Args:
        plans, latencies_ms: models measured for nothing but this.
        net_us: of every kernel in them.

    Raises:
        InvalidInput: fewer than five models, or not one latency for each.
    """
    if len(plans) < LEAST_MODELS or len(plans) != len(latencies_ms):
        raise InvalidInput(
            f"calibration needs at least {LEAST_MODELS} measured models and as many latencies, "
            f"got {len(plans)} and {len(latencies_ms)}; measure more heads"
        )
    kinds = sorted({kernel.kind for plan in plans for kernel in plan.kernels})
    terms = np.asarray([_terms(plan, kinds, net_us) for plan in plans])
    measured_us = np.asarray(latencies_ms) * 1e3
    left_out = {s: _leave_one_out(terms, measured_us, s) for s in SHRINKAGES}
    shrinkage = min(SHRINKAGES, key=lambda s: np.abs(left_out[s] / measured_us - 1).mean())
    coefficients = _solve(terms, measured_us, shrinkage)
    shared = dict(zip(SHARED, map(float, coefficients[len(kinds) :]), strict=True))
    return Calibration(
        factors=dict(zip(kinds, map(float, coefficients), strict=False)),
        models=len(plans),
        shrinkage=shrinkage,
        error=conformal_error(left_out[shrinkage], measured_us),
        coverage=coverage_from(len(plans)),
        **shared,
    )


def _terms(plan: ExecutionPlan, kinds: Sequence[str], net_us: KernelCost) -> list[float]:
    """What each coefficient is multiplied with: sums by kind, then the shared terms."""
    sums = dict.fromkeys(kinds, 0.0)
    for kernel in plan.kernels:
        sums[kernel.kind] += net_us(kernel)
    partitions = plan.delegate_partitions
    crossing = sum(partition.bytes_in + partition.bytes_out for partition in partitions)
    weights = sum(map(cold_weights, plan.kernels))
    return [*sums.values(), 1.0, len(partitions), crossing / MEGABYTE, weights / MEGABYTE]


def _leave_one_out(terms: Matrix, measured_us: Matrix, shrinkage: float) -> Matrix:
    predicted = np.empty(len(measured_us))
    for i in range(len(measured_us)):
        kept = np.arange(len(measured_us)) != i
        predicted[i] = terms[i] @ _solve(terms[kept], measured_us[kept], shrinkage)
    return predicted


def _solve(terms: Matrix, measured_us: Matrix, shrinkage: float) -> Matrix:
    """Bounded ridge on relative errors, outliers reweighted (Huber)."""
    from scipy.optimize import lsq_linear

    relative = terms / measured_us[:, None]
    prior = np.ones(terms.shape[1])
    prior[-len(SHARED) :] = 0.0
    ridge = np.full(terms.shape[1], shrinkage)
    ridge[-len(SHARED) :] = SHARED_SHRINKAGE * relative[:, -len(SHARED) :].mean(axis=0)
    weights = np.ones(len(measured_us))
    coefficients = prior
    for _ in range(REWEIGHTINGS):
        root = np.sqrt(weights)
        solved = lsq_linear(
            np.vstack([relative * root[:, None], np.diag(ridge)]),
            np.concatenate([root, ridge * prior]),
            bounds=(0, np.inf),
        )
        coefficients = np.maximum(solved.x, 0)
        residual = np.abs(relative @ coefficients - 1)
        spread = max(float(np.median(residual)) / 0.6745, 1e-12)
        weights = 1 / np.maximum(1, residual / (HUBER * spread))
    result: Matrix = coefficients
    return result
