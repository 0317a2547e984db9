"""Validation: how good predictions were on models that were used for nothing else."""

from __future__ import annotations

from dataclasses import dataclass

HELD_OUT = "held-out models"  # used for nothing but validation


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of merit and its 95 % interval; how that is made: :mod:`..fitting.accuracy`."""

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

    @property
    def inside(self) -> bool:
        """Whether the measurement lies in the interval of the prediction."""
        return self.low_ms <= self.measured_ms <= self.high_ms


@dataclass(frozen=True, slots=True)
class Validation:
    """Predictions against measurements of models used for nothing else.

    Args:
        accuracy: of the predictions.
        noise_floor: how well a second measurement of the same models agrees with the first, of
            those that have one. Both are noisy, so a repeat is sqrt(2) times as far off as a
            predictor without error would be. None where fewer than five do.
        interval_coverage: share of models inside their stated interval.
        largest_error: name of the model that is furthest off.
        points: every model, for plots and for checking.
        models: what they are, after their number.
    """

    accuracy: Agreement
    noise_floor: Agreement | None
    interval_coverage: float
    largest_error: str
    points: tuple[HeldOutModel, ...]
    models: str = HELD_OUT

    def __str__(self) -> str:
        """One line for people."""
        accuracy, noise = self.accuracy, self.noise_floor
        line = (
            f"R2 {accuracy.r2.value:.4f}, RMSPE {accuracy.rmspe.value:.1%}, "
            f"within 10 % {accuracy.within_10.value:.0%} on {accuracy.models} {self.models}"
        )
        return line + (f" (measured again: RMSPE {noise.rmspe.value:.1%})" if noise else "")
