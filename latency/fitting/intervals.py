"""How wide an interval must be, from residuals of what was held out."""

from __future__ import annotations

import math

import numpy as np

from ..kernels.features import Matrix

COVERAGE = 0.9


def conformal_half_width(predicted: Matrix, measured: Matrix, coverage: float = COVERAGE) -> float:
    """w such that a new measurement lies within a factor ``1 + w`` with probability ``coverage``.

    Split conformal: no assumption about the residuals' distribution beyond that the new model is
    drawn like these. With too few residuals for that the largest, which holds less often: see
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
