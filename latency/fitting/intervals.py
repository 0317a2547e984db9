"""How wide an interval must be, from residuals of what was held out.

Split conformal: no assumption about the residuals' distribution beyond that what comes is drawn
like these. A new measurement is as noisy as those that the residuals are of, so its noise is in the
interval.
"""

from __future__ import annotations

import math

import numpy as np

from ..kernels.features import Matrix
from ..profile.calibration import Interval

COVERAGE = 0.9


def residual_interval(predicted: Matrix, measured: Matrix, coverage: float = COVERAGE) -> Interval:
    """Between which ratios of a prediction the measurement lies, as often outside on either side.

    A new residual lies below the k-th smallest of n with probability k / (n + 1). Where the
    wanted share falls between two of them, so does the limit: with the smaller alone intervals
    from 38 residuals would hold 95 %. With fewer than 19 the outermost, which holds less often.

    Args:
        predicted, measured: of models the predictor was not fitted on, positive.
    """
    outside, count = (1 - coverage) / 2, len(measured)
    ratios = np.log(measured / predicted)
    low, high = np.exp(np.quantile(ratios, (outside, 1 - outside), method="weibull"))
    return Interval(float(low), float(high), min(coverage, 1 - 2 / (count + 1)), count)


def wider_half_width(interval: Interval) -> float:
    """For models of a population without residuals: as a ratio, twice as far on either side."""
    return max(interval.high, 1 / interval.low) ** 2 - 1


def conformal_half_width(predicted: Matrix, measured: Matrix, coverage: float = COVERAGE) -> float:
    """w such that a new measurement lies within a factor ``1 + w`` with probability ``coverage``.

    With too few residuals for that the largest, which holds less often: see
    :func:`coverage_from`.

    Args:
        predicted, measured: of models the predictor was not fitted on, positive.
    """
    ratios = np.sort(np.exp(np.abs(np.log(predicted / measured))))
    rank = math.ceil((len(ratios) + 1) * coverage)
    return float(ratios[min(rank, len(ratios)) - 1]) - 1


def coverage_from(count: int, coverage: float = COVERAGE) -> float:
    """What :func:`conformal_half_width` of so many holds: the largest of n, n / (n + 1)."""
    return min(coverage, count / (count + 1))
