"""Validation: how good predictions are, on models that were used for nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ...errors import InvalidInput
from ..kernels.features import Matrix

RESAMPLES = 1000
CONFIDENCE = 0.95
LEAST_MODELS = 5


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of merit and its 95 % bootstrap interval over the models."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"


@dataclass(frozen=True, slots=True)
class Agreement:
    """How well two latencies of the same models agree; errors are shares of the first.

    Args:
        r2: 1 - residual / total sum of squares, no line fitted.
        within_5, within_10, within_15: share of models within that many percent.
    """

    models: int
    r2: Figure
    rmse_ms: Figure
    rmspe: Figure
    mape: Figure
    within_5: Figure
    within_10: Figure
    within_15: Figure
    kendall_tau: Figure
    spearman: Figure


@dataclass(frozen=True, slots=True)
class HeldOutModel:
    """One held-out model.

    Args:
        repeat_ms: the same model measured a second time.
    """

    name: str
    measured_ms: float
    predicted_ms: float
    low_ms: float
    high_ms: float
    repeat_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Validation:
    """Predictions against measurements of models used for nothing else.

    Args:
        accuracy: of the predictions.
        noise_floor: of a second measurement of the same models, of those that have one; no
            predictor can be better. None where fewer than five do.
        interval_coverage: share of models inside their stated interval.
        largest_error: name of the model that is furthest off.
        points: every model, for plots and for checking.
    """

    accuracy: Agreement
    noise_floor: Agreement | None
    interval_coverage: float
    largest_error: str
    points: tuple[HeldOutModel, ...]

    def __str__(self) -> str:
        """One line for people."""
        accuracy, noise = self.accuracy, self.noise_floor
        line = (
            f"R2 {accuracy.r2.value:.4f}, RMSPE {accuracy.rmspe.value:.1%}, "
            f"within 10 % {accuracy.within_10.value:.0%} on {accuracy.models} held-out models"
        )
        return line + (f" (noise floor: RMSPE {noise.rmspe.value:.1%})" if noise else "")


def validate(points: Sequence[HeldOutModel], seed: int = 0) -> Validation:
    """Figures of predictions that were not fitted on these models.

    Raises:
        InvalidInput: fewer than five models.
    """
    if len(points) < LEAST_MODELS:
        raise InvalidInput(
            f"validation needs at least {LEAST_MODELS} held-out models, got {len(points)}; "
            "measure more heads"
        )
    measured = np.asarray([point.measured_ms for point in points])
    predicted = np.asarray([point.predicted_ms for point in points])
    twice = np.asarray(
        [(point.measured_ms, point.repeat_ms) for point in points if point.repeat_ms is not None]
    )
    worst = int(np.argmax(np.abs(predicted / measured - 1)))
    return Validation(
        accuracy=agreement(measured, predicted, seed),
        noise_floor=(
            agreement(twice[:, 0], twice[:, 1], seed) if len(twice) >= LEAST_MODELS else None
        ),
        interval_coverage=float(
            np.mean([point.low_ms <= point.measured_ms <= point.high_ms for point in points])
        ),
        largest_error=points[worst].name,
        points=tuple(points),
    )


def agreement(reference_ms: Matrix, other_ms: Matrix, seed: int = 0) -> Agreement:
    """All figures, each with its bootstrap interval."""
    count = len(reference_ms)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    weights = np.vstack([np.ones(count), drawn])  # how often each model is in; first row: all once
    tail = (1 - CONFIDENCE) / 2 * 100
    figures = {}
    for name, measure in _MEASURES.items():
        with np.errstate(invalid="ignore", divide="ignore"):
            value, *resampled = measure(reference_ms, other_ms, weights)
        # A resample in which all models are one model has no variance and no rank: NaN.
        low, high = np.nanpercentile(resampled, (tail, 100 - tail))
        figures[name] = Figure(float(value), float(low), float(high))
    return Agreement(models=count, **figures)


# Measures of y against p [models], once for each row of weights [rows, models] -> [rows].
Measure = Callable[[Matrix, Matrix, Matrix], Matrix]


def _mean(values: Matrix, weights: Matrix) -> Matrix:
    mean: Matrix = weights @ values / weights.sum(axis=1)
    return mean


def _r2(y: Matrix, p: Matrix, weights: Matrix) -> Matrix:
    variance = _mean(y**2, weights) - _mean(y, weights) ** 2
    return 1 - _mean((y - p) ** 2, weights) / np.where(variance > 0, variance, np.nan)


def _within(limit: float) -> Measure:
    return lambda y, p, weights: _mean((np.abs(p - y) <= limit * y).astype(float), weights)


def _kendall_tau(y: Matrix, p: Matrix, weights: Matrix) -> Matrix:
    """Tau-b: concordant minus discordant pairs, ties accounted for."""
    order_y, order_p = np.sign(np.subtract.outer(y, y)), np.sign(np.subtract.outer(p, p))

    def pairs(values: Matrix) -> Matrix:
        total: Matrix = ((weights @ values) * weights).sum(axis=1)
        return total

    tau: Matrix = pairs(order_y * order_p) / np.sqrt(pairs(order_y**2) * pairs(order_p**2))
    return tau


def _spearman(y: Matrix, p: Matrix, weights: Matrix) -> Matrix:
    """Correlation of ranks; ties, and a model that is in several times, share their mean rank."""
    ranks = [
        weights @ (np.less.outer(values, values) + np.equal.outer(values, values) / 2)
        for values in (y, p)
    ]
    total = weights.sum(axis=1, keepdims=True)
    a, b = (rank - (weights * rank).sum(axis=1, keepdims=True) / total for rank in ranks)

    def product(left: Matrix, right: Matrix) -> Matrix:
        summed: Matrix = (weights * left * right).sum(axis=1)
        return summed

    return product(a, b) / np.sqrt(product(a, a) * product(b, b))


_MEASURES: dict[str, Measure] = {
    "r2": _r2,
    "rmse_ms": lambda y, p, weights: np.sqrt(_mean((y - p) ** 2, weights)),
    "rmspe": lambda y, p, weights: np.sqrt(_mean((p / y - 1) ** 2, weights)),
    "mape": lambda y, p, weights: _mean(np.abs(p / y - 1), weights),
    "within_5": _within(0.05),
    "within_10": _within(0.10),
    "within_15": _within(0.15),
    "kendall_tau": _kendall_tau,
    "spearman": _spearman,
}
