"""Fits a calibration to whole models that were measured, and intervals to what it then leaves over.

Kernels of one arithmetic share a factor and prices per megabyte; all models share what they cost
beside their kernels, and how soon caches forget. More does not pay: ``python -m
mnasfpn.benchmarks.ablation`` compares this law with plainer and with richer ones. Coefficients are
non-negative, relative errors are minimised, and a model that is left out has no say in any of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np

from ...errors import InvalidInput
from ..kernels.cache_traffic import MEGABYTE, cold_megabytes
from ..kernels.execution import ExecutionPlan
from ..kernels.features import Matrix
from ..kernels.kernel import Kernel
from ..profile.calibration import (
    SHARED,
    Calibration,
    FamilyCalibration,
    Interval,
    cold_share,
    settled_us,
)
from .held_out import Chosen, held_out
from .intervals import residual_interval, wider_half_width
from .robust_least_squares import robust_least_squares

#: Net microseconds of a kernel, measured alone or predicted, and the half width of a prediction.
KernelCost = Callable[[Kernel], tuple[float, float]]

LEAST_TO_CALIBRATE = 5
SETTLING_US = (0.0, 1e3, 2e3, 4e3, 8e3, 16e3, 32e3)  # that are tried
#: Weight of a coefficient's distance from what it is without evidence, in units of its term's
#: typical share of a latency, against one model's relative error: decides between terms that the
#: models do not tell apart.
RIDGE = 0.01
OF_ARITHMETIC = 3  # terms: latency alone, megabytes of tensors and of weights


@dataclass(frozen=True)
class WholeModel:
    """A model that was measured whole.

    Args:
        population: of models that are drawn as it was; see :mod:`..profile.calibration`.
        cost: of its kernels as an estimate of such a model would have them, if it would not know
            them as well as the calibration does.
    """

    plan: ExecutionPlan
    latency_ms: float
    population: str
    cost: KernelCost | None = None


@dataclass(frozen=True)
class Law:
    """What is fitted; A arithmetics.

    Args:
        settling_us: see :mod:`..profile.calibration`.
        coefficients: [A * OF_ARITHMETIC + len(SHARED)] of the terms of :func:`model_terms`.
    """

    settling_us: float
    coefficients: Matrix

    def predict_us(self, terms: Matrix) -> Matrix:
        """[n], of models' terms [n, ...]."""
        parts = terms * self.coefficients
        cold = _is_cold(terms)
        return settled_us(parts[:, ~cold].sum(axis=1), parts[:, cold].sum(axis=1), self.settling_us)


def fit_calibration(models: Sequence[WholeModel], cost: KernelCost) -> Calibration:
    """The calibration of measured models.

    Args:
        models: measured for nothing but this.
        cost: of every kernel in them.

    Raises:
        InvalidInput: fewer than five models.
    """
    if len(models) < LEAST_TO_CALIBRATE:
        raise InvalidInput(
            f"calibration needs at least {LEAST_TO_CALIBRATE} measured models, got {len(models)}; "
            "measure more heads"
        )
    arithmetics = sorted({kernel.dtype for model in models for kernel in model.plan.kernels})
    latency_us = np.asarray([1e3 * model.latency_ms for model in models])
    terms = np.asarray([model_terms(model.plan, cost, arithmetics) for model in models])
    as_used = np.asarray([model_terms(m.plan, m.cost or cost, arithmetics) for m in models])
    left_out_us = predict_left_out(terms, latency_us, as_used)
    everything = residual_interval(left_out_us, latency_us)
    law = fit_law(terms, latency_us)
    own, shared = np.split(law.coefficients, [-len(SHARED)])
    return Calibration(
        families={
            name: FamilyCalibration(*map(float, each))
            for name, each in zip(arithmetics, own.reshape(-1, OF_ARITHMETIC), strict=True)
        },
        models=len(models),
        shrinkage=RIDGE,
        half_width=wider_half_width(everything),
        coverage=everything.coverage,
        settling_ms=law.settling_us / 1e3,
        intervals=_intervals(models, left_out_us, latency_us),
        **dict(zip(SHARED, map(float, shared), strict=True)),
    )


def model_terms(plan: ExecutionPlan, cost: KernelCost, arithmetics: Sequence[str]) -> list[float]:
    """What the coefficients are multiplied with: of each arithmetic, then of the model."""
    own = {arithmetic: np.zeros(OF_ARITHMETIC) for arithmetic in arithmetics}
    for kernel in plan.kernels:
        tensors, weights, _ = cold_megabytes(kernel)
        own[kernel.dtype] += (cost(kernel)[0], tensors, weights)
    partitions = plan.delegate_partitions
    crossing = sum(partition.bytes_in + partition.bytes_out for partition in partitions)
    return [*chain.from_iterable(own.values()), 1.0, len(partitions), crossing / MEGABYTE]


def _is_cold(terms: Matrix) -> Chosen:
    """Which terms have a price per megabyte that settles."""
    column = np.arange(terms.shape[1])
    cold: Chosen = (column % OF_ARITHMETIC > 0) & (column < terms.shape[1] - len(SHARED))
    return cold


def fit_law(terms: Matrix, latency_us: Matrix) -> Law:
    """The law of least relative error.

    Args:
        terms: [n, ...], see :func:`model_terms`.
        latency_us: [n].
    """
    laws = [_solved(terms, latency_us, settling_us) for settling_us in SETTLING_US]
    errors = [np.abs(law.predict_us(terms) / latency_us - 1).mean() for law in laws]
    return laws[int(np.argmin(np.round(errors, 9)))]  # rounding is no reason to choose


def _solved(terms: Matrix, latency_us: Matrix, settling_us: float) -> Law:
    """Bounded least squares on relative errors, outliers reweighted."""
    cold = _is_cold(terms)
    paid = np.where(cold, cold_share(latency_us, settling_us)[:, None], 1.0) * terms
    target = np.zeros(terms.shape[1])
    target[: -len(SHARED) : OF_ARITHMETIC] = 1.0  # factors: as alone
    pull = RIDGE * (paid / latency_us[:, None]).mean(axis=0)
    return Law(settling_us, robust_least_squares(paid, latency_us, latency_us, pull, target))


def predict_left_out(terms: Matrix, latency_us: Matrix, as_used: Matrix) -> Matrix:
    """[n], each model as predicted from the others.

    Args:
        terms: [n, ...] that laws are fitted to.
        as_used: the same as they are predicted from.
    """
    from sklearn.model_selection import LeaveOneOut

    return held_out(
        LeaveOneOut().split(latency_us),
        lambda kept, left: fit_law(terms[kept], latency_us[kept]).predict_us(as_used[left]),
    )


def _intervals(
    models: Sequence[WholeModel], predicted_us: Matrix, latency_us: Matrix
) -> dict[str, Interval]:
    """Of each population of which there are models enough to say anything."""
    of = np.asarray([model.population for model in models])
    intervals = {}
    for population in sorted(set(of)):
        its = np.flatnonzero(of == population)
        if len(its) >= LEAST_TO_CALIBRATE:
            errors = [_regression_error(models[int(i)]) for i in its]
            intervals[str(population)] = replace(
                residual_interval(predicted_us[its], latency_us[its]),
                regression_error=float(np.mean(errors)),
            )
    return intervals


def _regression_error(model: WholeModel) -> float:
    """Half widths of the predictions among its kernels, by their share of the latency."""
    if model.cost is None:
        return 0.0
    costs = [model.cost(kernel) for kernel in model.plan.kernels]
    return sum(us * half_width for us, half_width in costs) / sum(us for us, _ in costs)
