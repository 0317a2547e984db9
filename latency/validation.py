"""Validation: how good predictions are, on models that were used for nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InvalidInput
from .features import Matrix

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
class Point:
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
        noise_floor: of a second measurement of the same models: no predictor can be better.
        interval_coverage: share of models inside their stated interval.
        largest_error: name of the model that is furthest off.
        points: every model, for plots and for checking.
    """

    accuracy: Agreement
    noise_floor: Agreement | None
    interval_coverage: float
    largest_error: str
    points: tuple[Point, ...]

    def __str__(self) -> str:
        """One line for people."""
        accuracy, noise = self.accuracy, self.noise_floor
        line = (
            f"R2 {accuracy.r2.value:.4f}, RMSPE {accuracy.rmspe.value:.1%}, "
            f"within 10 % {accuracy.within_10.value:.0%} on {accuracy.models} held-out models"
        )
        return line + (f" (noise floor: RMSPE {noise.rmspe.value:.1%})" if noise else "")


def validate(points: Sequence[Point], seed: int = 0) -> Validation:
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
    repeats = [point.repeat_ms for point in points]
    repeated = np.asarray([repeat for repeat in repeats if repeat is not None])
    worst = int(np.argmax(np.abs(predicted / measured - 1)))
    return Validation(
        accuracy=agreement(measured, predicted, seed),
        noise_floor=agreement(measured, repeated, seed) if len(repeated) == len(points) else None,
        interval_coverage=float(
            np.mean([point.low_ms <= point.measured_ms <= point.high_ms for point in points])
        ),
        largest_error=points[worst].name,
        points=tuple(points),
    )


def agreement(reference_ms: Matrix, other_ms: Matrix, seed: int = 0) -> Agreement:
    """All figures, each with its bootstrap interval."""
    rng = np.random.default_rng(seed)
    resamples = rng.integers(len(reference_ms), size=(RESAMPLES, len(reference_ms)))
    figures = {}
    for name, measure in _MEASURES.items():
        drawn = [measure(reference_ms[rows], other_ms[rows]) for rows in resamples]
        tail = (1 - CONFIDENCE) / 2 * 100
        # A resample in which all models are one model has no variance and no rank.
        low, high = np.nanpercentile(drawn, (tail, 100 - tail))
        figures[name] = Figure(measure(reference_ms, other_ms), float(low), float(high))
    return Agreement(models=len(reference_ms), **figures)


def _r2(y: Matrix, p: Matrix) -> float:
    total = ((y - y.mean()) ** 2).sum()
    return float(1 - ((y - p) ** 2).sum() / total) if total > 0 else float("nan")


def _within(limit: float) -> Callable[[Matrix, Matrix], float]:
    return lambda y, p: float((np.abs(p / y - 1) <= limit).mean())


def _kendall_tau(y: Matrix, p: Matrix) -> float:
    """Tau-b: concordant minus discordant pairs, ties accounted for."""
    upper = np.triu_indices(len(y), 1)
    dy, dp = np.sign(y[upper[0]] - y[upper[1]]), np.sign(p[upper[0]] - p[upper[1]])
    pairs = np.sqrt(float((dy != 0).sum()) * float((dp != 0).sum()))
    return float((dy * dp).sum() / pairs) if pairs else float("nan")


def _spearman(y: Matrix, p: Matrix) -> float:
    ranks = [_ranks(values) for values in (y, p)]
    spread = ranks[0].std() * ranks[1].std()
    if spread == 0:
        return float("nan")
    return float(((ranks[0] - ranks[0].mean()) * (ranks[1] - ranks[1].mean())).mean() / spread)


def _ranks(values: Matrix) -> Matrix:
    """Ranks from 0, ties sharing their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    shared: Matrix = (ends - (counts + 1) / 2)[inverse]
    return shared


_MEASURES: dict[str, Callable[[Matrix, Matrix], float]] = {
    "r2": _r2,
    "rmse_ms": lambda y, p: float(np.sqrt(((y - p) ** 2).mean())),
    "rmspe": lambda y, p: float(np.sqrt(((p / y - 1) ** 2).mean())),
    "mape": lambda y, p: float(np.abs(p / y - 1).mean()),
    "within_5": _within(0.05),
    "within_10": _within(0.10),
    "within_15": _within(0.15),
    "kendall_tau": _kendall_tau,
    "spearman": _spearman,
}
