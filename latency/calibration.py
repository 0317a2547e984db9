"""Calibration: from a sum over kernels measured alone to the latency of a whole model.

A kernel measured alone finds its weights and inputs in the cache, and pays for one call of the
interpreter; in a model it does neither. The difference is learned from a few whole models::

    latency = intercept
            + sum over kernels of  factor[kind] * (value - dispatch) + weights_us_per_mb * cold
            + sum over delegate partitions of  partition_us + crossing_us_per_mb * bytes crossing
            + far_weights_us_per_mb * far weights * share of them that is gone

``cold`` are the weights that a kernel alone keeps in the nearest cache, and a model does not: all
of kernels that have up to ``near_bytes``, less and less of larger ones, which wait for their
weights alone as well. The last line is for the caches that are shared with others: whatever is not
used again within milliseconds, others displace. None is gone from a model of up to 2 ms, all from
one of 8 ms or more. On a PC with 2 MB of near cache, chains of equal layers cost 25 us more for
each megabyte as soon as they are longer than that; and whatever their size, another 70 us where
they took more than 8 to 10 ms, and none where they took up to 4 ms.

But for that share it is a sum, so that it can be evaluated for whole arrays of models at once. All
coefficients are non-negative, factors are drawn towards 1 and the rest towards 0, and relative
errors are minimised.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import InvalidInput, InvalidProfile
from .execution import ExecutionPlan
from .features import VECTOR_WIDTH, Matrix, padded
from .intervals import conformal_error, coverage_from
from .kernels import Kernel

MEGABYTE = 1e6
SHARED = (
    *("intercept_us", "partition_us", "crossing_us_per_mb"),
    *("weights_us_per_mb", "far_weights_us_per_mb"),
)
MEBIBYTE = 2**20
NEAR_BYTES = (MEBIBYTE, 2 * MEBIBYTE, 4 * MEBIBYTE, 8 * MEBIBYTE)  # of the caches that are tried
FAR_FROM_US, FAR_UNTIL_US = 2_000.0, 8_000.0  # how long a model takes, for none and all to be gone
ONE_ROW = 0.5  # share of a one-row product's weights that it does not wait for alone as well


@dataclass(frozen=True, slots=True)
class Calibration:
    """The coefficients above.

    Args:
        factors: kind of kernel -> factor; 1 for a kind that no calibration model has.
        intercept_us: of every model.
        partition_us: of entering a delegate partition.
        crossing_us_per_mb: of tensors that enter or leave a delegate partition.
        weights_us_per_mb: of weights that are no longer in the nearest cache when their turn comes.
        models: fitted on.
        shrinkage: strength of the ridge, chosen by leave-one-out error.
        error: half width of the interval as a ratio, from leave-one-out residuals: the latency
            lies within a factor ``1 + error`` with probability ``coverage``.
        far_weights_us_per_mb: of weights that are in no cache at all then, in long models.
        near_bytes: of the nearest cache, as far as it can be told.
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
    far_weights_us_per_mb: float = 0.0
    near_bytes: int = 2 * MEBIBYTE

    def __post_init__(self) -> None:
        if self.near_bytes < 1:
            raise InvalidProfile(f"'near_bytes' must be positive, got {self.near_bytes}")
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
        cold = cold_weights(kernel, self.near_bytes)
        return factor * net_us + self.weights_us_per_mb * cold / MEGABYTE

    def overhead_us(self, plan: ExecutionPlan) -> float:
        """What a model costs beside its kernels and its far weights."""
        return self.intercept_us + sum(
            self.partition_us
            + self.crossing_us_per_mb * (partition.bytes_in + partition.bytes_out) / MEGABYTE
            for partition in plan.delegate_partitions
        )

    def far_us(self, plan: ExecutionPlan, others_us: float) -> float:
        """Of weights that are in no cache when their turn comes.

        Args:
            others_us: everything else that the model costs.
        """
        weights = sum(map(far_weights, plan.kernels))
        share = float(far_share(others_us))
        return self.far_weights_us_per_mb * weights * share / MEGABYTE


MOST_TAPS = 25  # of a depthwise convolution that XNNPACK does not compute as a grouped one


def packed_weights(kernel: Kernel) -> float:
    """Bytes of weights as vector kernels read them: every group's filters fill whole vectors."""
    if kernel.op == "conv" and kernel.groups > 1:
        filters = kernel.output[3] // kernel.groups
        return kernel.bytes_weights * padded(filters) / filters
    if kernel.op == "depthwise_conv" and kernel.window[0] * kernel.window[1] > MOST_TAPS:
        return kernel.bytes_weights * VECTOR_WIDTH
    return kernel.bytes_weights


def cold_weights(kernel: Kernel, near_bytes: int) -> float:
    """Bytes of weights that a kernel alone reads from the nearest cache, again and again."""
    weights = packed_weights(kernel)
    return max(0.0, min(weights, 2 * near_bytes - weights))


def far_weights(kernel: Kernel) -> float:
    """Bytes of weights that a kernel reads from some cache alone, and from memory in a model."""
    return packed_weights(kernel) * (ONE_ROW if kernel.rows == 1 else 1.0)


def far_share(others_us: npt.ArrayLike) -> Matrix:
    """Share of the weights that others displace while a model takes that long."""
    past = np.asarray(others_us) - FAR_FROM_US
    share: Matrix = np.clip(past / (FAR_UNTIL_US - FAR_FROM_US), 0.0, 1.0)
    return share


KernelCost = Callable[[Kernel], float]  # net microseconds of a kernel measured alone

SHRINKAGES = (0.03, 0.1, 0.3, 1.0)
SHARED_SHRINKAGE = 0.01  # relative to the same, in units of the terms' typical share
HUBER = 1.345
REWEIGHTINGS = 5
ROUNDS = 4
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
    measured_us = np.asarray(latencies_ms) * 1e3
    tried = {
        near_bytes: np.asarray([_terms(plan, kinds, net_us, near_bytes) for plan in plans])
        for near_bytes in NEAR_BYTES
    }
    near_bytes = min(tried, key=lambda size: _misfit(tried[size], measured_us))
    fits = {s: _solve_far(tried[near_bytes], measured_us, s) for s in SHRINKAGES}
    left_out = {s: _leave_one_out(terms, measured_us, s) for s, (_, terms) in fits.items()}
    shrinkage = min(SHRINKAGES, key=lambda s: np.abs(left_out[s] / measured_us - 1).mean())
    coefficients, _ = fits[shrinkage]
    shared = dict(zip(SHARED, map(float, coefficients[len(kinds) :]), strict=True))
    return Calibration(
        factors=dict(zip(kinds, map(float, coefficients), strict=False)),
        models=len(plans),
        shrinkage=shrinkage,
        error=conformal_error(left_out[shrinkage], measured_us),
        coverage=coverage_from(len(plans)),
        near_bytes=near_bytes,
        **shared,
    )


def _terms(
    plan: ExecutionPlan, kinds: Sequence[str], net_us: KernelCost, near_bytes: int
) -> list[float]:
    """What each coefficient is multiplied with: sums by kind, then the shared terms."""
    sums = dict.fromkeys(kinds, 0.0)
    for kernel in plan.kernels:
        sums[kernel.kind] += net_us(kernel)
    partitions = plan.delegate_partitions
    crossing = sum(partition.bytes_in + partition.bytes_out for partition in partitions)
    cold = sum(cold_weights(kernel, near_bytes) for kernel in plan.kernels)
    bytes_moved = (crossing, cold, sum(map(far_weights, plan.kernels)))
    return [*sums.values(), 1.0, len(partitions), *(size / MEGABYTE for size in bytes_moved)]


def _misfit(terms: Matrix, measured_us: Matrix) -> float:
    """Mean relative error on what was fitted, to compare terms of the same number."""
    coefficients, terms = _solve_far(terms, measured_us, SHRINKAGES[1])
    return float(np.abs(terms @ coefficients / measured_us - 1).mean())


def _solve_far(terms: Matrix, measured_us: Matrix, shrinkage: float) -> tuple[Matrix, Matrix]:
    """Coefficients, and the terms with only that share of the far weights that is gone.

    It follows from what the other terms come to, and these from it: a few rounds agree.
    """
    others_us = measured_us
    for _ in range(ROUNDS):
        shared = np.column_stack([terms[:, :-1], terms[:, -1] * far_share(others_us)])
        coefficients = _solve(shared, measured_us, shrinkage)
        others_us = shared[:, :-1] @ coefficients[:-1]
    return coefficients, shared


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
