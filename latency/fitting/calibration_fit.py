"""Fits a calibration to whole models that were measured, some of them operator by operator.

All coefficients are non-negative, and relative errors are minimised. What families of kernels cost
in a model is drawn towards what their operators say, where operators were measured. Of other
families the latency alone has a factor, drawn towards 1, and weights one price for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ...errors import InvalidInput
from ..kernels.cache_traffic import MEGABYTE, cold_megabytes, family
from ..kernels.execution import ExecutionPlan
from ..kernels.features import Matrix
from ..kernels.kernel import Kernel
from ..profile.calibration import SHARED, Calibration, FamilyCalibration, cold_share, settled_us
from .held_out import Chosen, held_out
from .intervals import conformal_half_width, coverage_from
from .robust_least_squares import robust_least_squares

KernelCost = Callable[[Kernel], float]  # net microseconds of a kernel measured alone

LEAST_TO_CALIBRATE = 5
SETTLING_US = (0.0, 1e3, 2e3, 4e3, 6e3, 10e3)  # that are tried
SHRINKAGES = (0.03, 0.1, 0.3, 1.0, 3.0)
COLD_SHRINKAGE = 3.0  # relative to the same, in units of the terms' typical share of a latency
SHARED_SHRINKAGE = 0.01  # in the same units, whatever the other is
STEP_NOISE_US = 2.0  # of an operator profile, in whole microseconds with an event around each
TERMS = 4  # of a family: latency alone, and megabytes of tensors, weights and windows
WEIGHTS_TERM = 2  # among them


@dataclass(frozen=True)
class _Models:
    """Measured models as arrays; n models, K families.

    Args:
        latency_us: [n].
        families: [n, K, TERMS], sums over each model's kernels.
        shared: [n, len(SHARED)].
        steps: of each model, (index of the family, terms, measured microseconds) of its steps:
            [m], [m, TERMS] and [m]; none where operators were not measured.
    """

    latency_us: Matrix
    families: Matrix
    shared: Matrix
    steps: tuple[tuple[Matrix, Matrix, Matrix], ...]

    def only(self, chosen: Chosen) -> _Models:
        steps = tuple(self.steps[i] for i in chosen)
        return _Models(self.latency_us[chosen], self.families[chosen], self.shared[chosen], steps)

    def predict_us(self, coefficients: Matrix, settling_us: float) -> Matrix:
        """[n], what coefficients say of these models."""
        of_family, shared = _split(coefficients)
        parts = self.families * of_family
        warm_us = parts[..., 0].sum(axis=1) + self.shared @ shared
        return settled_us(warm_us, parts[..., 1:].sum(axis=(1, 2)), settling_us)


def _split(coefficients: Matrix) -> tuple[Matrix, Matrix]:
    """[K, TERMS] and [len(SHARED)] of coefficients in a row."""
    shared = coefficients[-len(SHARED) :]
    return coefficients[: -len(SHARED)].reshape(-1, TERMS), shared


def fit_calibration(
    plans: Sequence[ExecutionPlan],
    latencies_ms: Sequence[float],
    net_us: KernelCost,
    steps_us: Sequence[Sequence[float]] = (),
) -> Calibration:
    """The calibration of measured models.

    Args:
        plans, latencies_ms: models measured for nothing but this.
        net_us: of every kernel in them.
        steps_us: of the steps of each plan inside its model, where they were measured: nothing, or
            one sequence for each plan, empty or as long as the plan.

    Raises:
        InvalidInput: fewer than five models, or not one latency for each; steps of another plan.
    """
    if len(plans) < LEAST_TO_CALIBRATE or len(plans) != len(latencies_ms):
        raise InvalidInput(
            f"calibration needs at least {LEAST_TO_CALIBRATE} measured models and as many "
            f"latencies, got {len(plans)} and {len(latencies_ms)}; measure more heads"
        )
    names = sorted({family(kernel) for plan in plans for kernel in plan.kernels})
    models = _arrays(plans, latencies_ms, net_us, steps_us or ((),) * len(plans), names)
    settling_us, shrinkage, left_out = _chosen(models)
    prior = _prior(models, settling_us)
    of_family, shared = _split(_solve(models, settling_us, shrinkage, prior))
    return Calibration(
        families={
            name: FamilyCalibration(*map(float, row))
            for name, row in zip(names, of_family, strict=True)
        },
        models=len(plans),
        shrinkage=shrinkage,
        half_width=conformal_half_width(left_out, models.latency_us),
        coverage=coverage_from(len(plans)),
        settling_ms=settling_us / 1e3,
        **dict(zip(SHARED, map(float, shared), strict=True)),
    )


def _arrays(
    plans: Sequence[ExecutionPlan],
    latencies_ms: Sequence[float],
    net_us: KernelCost,
    steps_us: Sequence[Sequence[float]],
    names: Sequence[str],
) -> _Models:
    index = {name: i for i, name in enumerate(names)}
    families = np.zeros((len(plans), len(names), TERMS))
    steps = []
    for i, (plan, measured_us) in enumerate(zip(plans, steps_us, strict=True)):
        if measured_us and len(measured_us) != len(plan.kernels):
            raise InvalidInput(
                f"a model has {len(plan.kernels)} kernels and {len(measured_us)} measured steps; "
                "another version planned it otherwise: measure its operators again"
            )
        of_step = np.asarray([index[family(kernel)] for kernel in plan.kernels])
        terms = np.asarray([(net_us(kernel), *cold_megabytes(kernel)) for kernel in plan.kernels])
        np.add.at(families[i], of_step, terms)
        if measured_us:
            steps.append((of_step, terms, np.asarray(measured_us)))
        else:
            steps.append((of_step[:0], terms[:0], np.zeros(0)))
    shared = np.asarray([_shared(plan) for plan in plans])
    return _Models(np.asarray(latencies_ms) * 1e3, families, shared, tuple(steps))


def _shared(plan: ExecutionPlan) -> list[float]:
    partitions = plan.delegate_partitions
    crossing = sum(partition.bytes_in + partition.bytes_out for partition in partitions)
    return [1.0, len(partitions), crossing / MEGABYTE]


def _chosen(models: _Models) -> tuple[float, float, Matrix]:
    """Settling and shrinkage of the least leave-one-out error, and what was predicted with them."""
    left_out = {
        (settling_us, shrinkage): found
        for settling_us in SETTLING_US
        for shrinkage, found in zip(SHRINKAGES, _left_out(models, settling_us).T, strict=True)
    }
    errors = {
        key: float(np.abs(found / models.latency_us - 1).mean()) for key, found in left_out.items()
    }
    best = min(errors, key=lambda key: round(errors[key], 9))  # rounding is no reason to choose
    return *best, left_out[best]


def _left_out(models: _Models, settling_us: float) -> Matrix:
    """[n, SHRINKAGES], each model as predicted from the others and their steps."""
    from sklearn.model_selection import LeaveOneOut

    def predict(kept: Chosen, left: Chosen) -> Matrix:
        others, tested = models.only(kept), models.only(left)
        prior = _prior(others, settling_us)
        solved = [_solve(others, settling_us, shrinkage, prior) for shrinkage in SHRINKAGES]
        return np.column_stack([tested.predict_us(each, settling_us) for each in solved])

    return held_out(LeaveOneOut().split(models.latency_us), predict)


def _prior(models: _Models, settling_us: float) -> dict[int, Matrix]:
    """Family -> [TERMS] as its steps have it; without those of which no step was measured."""
    index, terms, measured_us = (np.concatenate(each) for each in zip(*models.steps, strict=True))
    latency_us = np.repeat(models.latency_us, [len(each[0]) for each in models.steps])
    terms = terms * _paid(latency_us, settling_us)
    prior = {}
    for k in np.unique(index):
        of_family = index == k
        wanted_us = measured_us[of_family]
        noise_us = np.sqrt(wanted_us + STEP_NOISE_US)
        prior[int(k)] = robust_least_squares(terms[of_family], wanted_us, noise_us)
    return prior


def _paid(latency_us: Matrix, settling_us: float) -> Matrix:
    """[n, TERMS], how much of each term a model of that latency pays."""
    share = cold_share(latency_us, settling_us)
    return np.column_stack([np.ones(len(share)), *[share] * (TERMS - 1)])


def _solve(
    models: _Models, settling_us: float, shrinkage: float, prior: dict[int, Matrix]
) -> Matrix:
    """Bounded ridge on relative errors, outliers reweighted.

    Families of which steps were measured have prices of their own. Sums over whole models do not
    tell the prices of many families apart: all others share one, of weights.
    """
    count = models.families.shape[1]
    parts = models.families * _paid(models.latency_us, settling_us)[:, None]
    others = [k for k in range(count) if k not in prior]
    terms = np.hstack(
        [
            parts[..., 0],
            *(parts[:, k, 1:] for k in prior),
            parts[:, others, WEIGHTS_TERM].sum(axis=1, keepdims=True),
            models.shared,
        ]
    )
    typical = (terms / models.latency_us[:, None]).mean(axis=0)
    strength, target = SHARED_SHRINKAGE * typical, np.zeros_like(typical)
    strength[:count], target[:count] = shrinkage, 1.0
    for i, (k, steps) in enumerate(prior.items()):
        own = slice(count + i * (TERMS - 1), count + (i + 1) * (TERMS - 1))
        strength[own], target[own] = COLD_SHRINKAGE * shrinkage * typical[own], steps[1:]
        target[k] = steps[0]
    solved = robust_least_squares(terms, models.latency_us, models.latency_us, strength, target)
    shared = solved[-len(SHARED) :]
    of_family = np.zeros((count, TERMS))
    of_family[:, 0] = solved[:count]
    of_family[list(prior), 1:] = solved[count : -len(SHARED) - 1].reshape(-1, TERMS - 1)
    of_family[others, WEIGHTS_TERM] = solved[-len(SHARED) - 1]
    return np.concatenate([of_family.ravel(), shared])
