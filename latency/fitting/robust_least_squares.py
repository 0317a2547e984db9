"""Non-negative least squares in which outliers count less (Huber), by reweighting."""

from __future__ import annotations

import numpy as np

from ..kernels.features import Matrix

HUBER = 1.345  # standard deviations within which a residual counts in full
REWEIGHTINGS = 5
MEDIAN_OF_NORMAL = 0.6745  # median absolute residual of a standard normal distribution
LEAST_SCALE = 1e-12  # of residuals: more than half of them may be nothing


def robust_least_squares(
    terms: Matrix,
    wanted: Matrix,
    tolerance: Matrix,
    strength: Matrix | None = None,
    target: Matrix | None = None,
) -> Matrix:
    """Coefficients [p], none negative, with which ``terms @ coefficients`` is close to ``wanted``.

    Args:
        terms, wanted: [m, p] and [m].
        tolerance: [m], in units of which an error counts; ``wanted`` itself for relative errors.
        strength, target: [p], how much a coefficient is drawn to what; not at all without.
    """
    from scipy.optimize import nnls

    if strength is None or target is None:
        strength = target = np.zeros(terms.shape[1])
    drawn = strength > 0
    rows, right = terms / tolerance[:, None], wanted / tolerance
    weights = np.ones(len(wanted))
    for _ in range(REWEIGHTINGS):
        root = np.sqrt(weights)
        stacked = np.vstack([rows * root[:, None], np.diag(strength)[drawn]])
        sums = np.concatenate([right * root, (strength * target)[drawn]])
        coefficients: Matrix = nnls(stacked, sums, maxiter=10_000)[0]
        residual = np.abs(terms @ coefficients / tolerance - right)
        scale = max(float(np.median(residual)) / MEDIAN_OF_NORMAL, LEAST_SCALE)
        weights = 1 / np.maximum(1, residual / (HUBER * scale))
    return coefficients
