"""How good predictions are: figures of merit, each with its 95 % interval.

Of errors and of Spearman's correlation the percentile bootstrap over the models. It has no width
where every resample is alike, so shares have Wilson's interval: all of five models are between 57 %
and 100 % of those to come. Kendall's tau has an interval that assumes no distribution; the usual
one, by Fisher's transformation, is far too narrow where models are ordered nearly perfectly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ...errors import InvalidInput
from ..kernels.features import Matrix
from ..profile.validation import HELD_OUT, Agreement, Figure, HeldOutModel, Validation

RESAMPLES = 1000
CONFIDENCE = 0.95
LEAST_TO_VALIDATE = 5
RESAMPLED = ("r2", "rmse_ms", "rmspe", "mape", "spearman")
WITHIN = {"within_5": 0.05, "within_10": 0.10, "within_15": 0.15}


def validate(points: Sequence[HeldOutModel], seed: int = 0, models: str = HELD_OUT) -> Validation:
    """Figures of predictions that were not fitted on these models.

    Args:
        models: what they are, if not used for nothing else.

    Raises:
        InvalidInput: fewer than five models.
    """
    if len(points) < LEAST_TO_VALIDATE:
        raise InvalidInput(
            f"validation needs at least {LEAST_TO_VALIDATE} held-out models, got {len(points)}; "
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
            agreement(twice[:, 0], twice[:, 1], seed) if len(twice) >= LEAST_TO_VALIDATE else None
        ),
        interval_coverage=float(np.mean([point.inside for point in points])),
        largest_error=points[worst].name,
        points=tuple(points),
        models=models,
    )


def agreement(reference_ms: Matrix, other_ms: Matrix, seed: int = 0) -> Agreement:
    """All figures of two latencies [n] of the same models, each with its interval.

    Args:
        seed: of the resamples.

    Raises:
        InvalidInput: fewer than two models.
    """
    from scipy.stats import bootstrap

    count = len(reference_ms)
    if count < 2:
        raise InvalidInput(f"figures of accuracy need two models or more, got {count}; test more")
    pair = reference_ms, other_ms
    interval = bootstrap(
        pair,
        _errors_and_order,
        n_resamples=RESAMPLES,
        vectorized=True,
        paired=True,
        axis=-1,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=seed,
    ).confidence_interval
    found = zip(_errors_and_order(*pair), interval.low, interval.high, strict=True)
    off_ms = np.abs(other_ms - reference_ms)
    return Agreement(
        models=count,
        kendall_tau=kendall_tau(*pair),
        **{
            name: share(int((off_ms <= limit * reference_ms).sum()), count)
            for name, limit in WITHIN.items()
        },
        **{name: Figure(*map(float, each)) for name, each in zip(RESAMPLED, found, strict=True)},
    )


def _errors_and_order(y: Matrix, p: Matrix, axis: int = -1) -> Matrix:
    """[RESAMPLED, ...], each along the axis."""
    from scipy.stats import rankdata

    squared, relative = ((y - p) ** 2).mean(axis=axis), p / y - 1
    variance = np.where(np.ptp(y, axis=axis) > 0, y.var(axis=axis), 0.0)
    ranks = (rankdata(values, axis=axis) for values in (y, p))
    a, b = (rank - rank.mean(axis=axis, keepdims=True) for rank in ranks)
    return np.stack(
        [
            _over(variance - squared, variance),
            np.sqrt(squared),
            np.sqrt((relative**2).mean(axis=axis)),
            np.abs(relative).mean(axis=axis),
            _over((a * b).sum(axis=axis), np.sqrt((a * a).sum(axis=axis) * (b * b).sum(axis=axis))),
        ]
    )


def _over(part: Matrix, whole: Matrix) -> Matrix:
    """The ratio, or 0 where all models are alike, so that there is no variance."""
    ratio: Matrix = np.divide(part, whole, out=np.zeros(np.shape(whole)), where=whole > 0)
    return ratio


def share(hits: int, count: int) -> Figure:
    """How many of all, with Wilson's interval."""
    from scipy.stats import binomtest

    low, high = binomtest(hits, count).proportion_ci(CONFIDENCE, method="wilson")
    return Figure(hits / count, float(low), float(high))


def kendall_tau(y: Matrix, p: Matrix) -> Figure:
    """Tau-b, with the interval of Hollander, Wolfe and Chicken, Nonparametric Statistical Methods.

    Its variance (third edition, section 8.3) follows from how much of the order of all others each
    model agrees with.
    """
    from scipy.stats import kendalltau, norm

    n = len(y)
    tau = round(float(np.nan_to_num(kendalltau(y, p).statistic)), 15)  # what is 1 is not 1 - 1e-16
    concordant = np.sign(np.subtract.outer(y, y) * np.subtract.outer(p, p)).sum(axis=1)
    between = 2 * (n - 2) * concordant.var() / (n - 1) ** 2
    deviation = math.sqrt(2 / (n * (n - 1)) * (between + 1 - tau**2))
    half_width = float(norm.ppf((1 + CONFIDENCE) / 2)) * deviation
    return Figure(tau, max(-1.0, tau - half_width), min(1.0, tau + half_width))
