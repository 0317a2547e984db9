"""Which models to measure on a new phone: those that will have told most about it.

Before anything is measured it is known how uncertain each prediction would be after measuring some
of the models. Chosen are those that leave the least mean variance over what will be asked for
(I-optimal design of a linear model, here that of :mod:`.transfer`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...errors import InvalidInput
from .transfer import COMMON_DEVIATION, Parts, difference_units, part_shares

#: As phones differ from each other, and measurements from their law; between half and twice as much
#: the choice is about as good.
TYPICAL_DIFFERENCE, TYPICAL_NOISE = 0.2, 0.04
EXCHANGES = 2  # rounds in which every chosen model may be given up for a better one


def most_informative(
    old: Sequence[float], parts: Sequence[Parts], count: int, asked: Sequence[float]
) -> list[int]:
    """Indices of the models to measure.

    One is chosen after the other, then each exchanged for what is best beside the rest.

    Args:
        old, parts: of every model that could be measured; see :func:`.transfer.fit_transfer`.
        count: how many to choose.
        asked: how often each model, or one like it, will be asked for.

    Raises:
        InvalidInput: there are fewer models than are to be chosen.
    """
    if not 1 <= count <= len(old):
        raise InvalidInput(f"cannot choose {count} of {len(old)} models")
    shares = part_shares(old, parts, sorted({name for model in parts for name in model}))
    varying = (shares - shares.mean(axis=0)) * difference_units(shares)
    terms = np.column_stack([np.ones(len(varying)), varying])
    weight = np.asarray(asked, float) / np.sum(asked)
    sought = (terms * weight[:, None]).T @ terms
    deviation = np.asarray([COMMON_DEVIATION, *[TYPICAL_DIFFERENCE] * varying.shape[1]])

    def best_beside(chosen: list[int]) -> int:
        """Of the others, the one that lowers the mean variance most."""
        known = terms[chosen]
        information = np.diag(deviation**-2) + known.T @ known / TYPICAL_NOISE**2
        told = terms @ np.linalg.inv(information)
        lowered = ((told @ sought) * told).sum(axis=1)
        lowered /= TYPICAL_NOISE**2 + (told * terms).sum(axis=1)
        lowered[chosen] = -np.inf
        return int(lowered.argmax())

    chosen: list[int] = []
    while len(chosen) < count:
        chosen.append(best_beside(chosen))
    for position in [*range(count)] * EXCHANGES:
        others = [*chosen[:position], *chosen[position + 1 :]]
        chosen[position] = best_beside(others)
    return chosen
