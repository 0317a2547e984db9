"""Predictions of models by fits that have not seen them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from ..kernels.features import Matrix

FOLDS = 5

Chosen = npt.NDArray[np.int64]


def held_out(
    splits: Iterable[tuple[Chosen, Chosen]], predict: Callable[[Chosen, Chosen], Matrix]
) -> Matrix:
    """[n, ...], each model as predicted where it was left out.

    Args:
        splits: (fitted on, left out), as scikit-learn's splitters yield them, of indices; each of n
            models is left out once.
        predict: (fitted on, left out) -> [left out, ...].
    """
    left_out, predicted = [], []
    for fitted_on, others in splits:
        left_out.append(others)
        predicted.append(predict(fitted_on, others))
    ordered: Matrix = np.concatenate(predicted)[np.argsort(np.concatenate(left_out))]
    return ordered


def every_fifth(count: int) -> Iterable[tuple[Chosen, Chosen]]:
    """Splits of that many models that leave the first, sixth, ... out, the second, seventh, ..."""
    from sklearn.model_selection import LeaveOneGroupOut

    splits: Iterable[tuple[Chosen, Chosen]] = LeaveOneGroupOut().split(
        np.empty(count), groups=np.arange(count) % FOLDS
    )
    return splits
