"""Pareto sets of (cost to keep low, value to make high) in two dimensions, as pure functions.

Infinities are ordinary worst or best values. A point with a NaN is unknown: it dominates nothing
and is never part of a result.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ..errors import InvalidInput
from ..models.arrays import Indices


def dominates(first: tuple[float, float], second: tuple[float, float]) -> bool:
    """Whether the first (cost, value) is no worse in both and better in one."""
    (cost, value), (other_cost, other_value) = first, second
    return cost <= other_cost and value >= other_value and first != second


def non_dominated(cost: npt.ArrayLike, value: npt.ArrayLike) -> Indices:
    """Points that no other point dominates, in n log n.

    Equal points do not dominate each other, so all of them are kept.

    Args:
        cost, value: [n].

    Returns:
        Indices in ascending order of cost (and so of value); equal points in the given order.
    """
    costs, values = _points(cost, value)
    order: Indices = np.lexsort((-values, costs))  # by cost, of equal costs the best value first
    order = order[~(np.isnan(costs) | np.isnan(values))[order]]
    if not order.size:
        return order
    c, v = costs[order], values[order]
    # A point stays if its value beats that of every cheaper point; of one cost, only the best stay.
    first_of_cost = np.concatenate([[True], c[1:] != c[:-1]])
    group = np.cumsum(first_of_cost) - 1
    best_of_cost = v[first_of_cost]
    cheaper_best = np.concatenate([[-np.inf], np.maximum.accumulate(best_of_cost)[:-1]])
    beats_cheaper = (v > cheaper_best[group]) | (group == 0)
    kept: Indices = order[beats_cheaper & (v == best_of_cost[group])]
    return kept


def hypervolume(cost: npt.ArrayLike, value: npt.ArrayLike, reference: tuple[float, float]) -> float:
    """Area dominated by the points and bounded by a reference (cost, value).

    Args:
        reference: finite, worse than the points of interest; points that do not dominate it add
            nothing.
    """
    costs, values = _points(cost, value)
    worst_cost, worst_value = reference
    if not np.isfinite(reference).all():
        raise InvalidInput(f"the reference of a hypervolume must be finite, got {reference}")
    inside = (costs < worst_cost) & (values > worst_value)
    costs, values = costs[inside], values[inside]
    kept = non_dominated(costs, values)
    corner_costs, first = np.unique(costs[kept], return_index=True)  # equal points count once
    widths = np.diff(np.append(corner_costs, worst_cost))
    return float(np.sum(widths * (values[kept][first] - worst_value)))


def _points(
    cost: npt.ArrayLike, value: npt.ArrayLike
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    costs = np.asarray(cost, dtype=np.float64)
    values = np.asarray(value, dtype=np.float64)
    if costs.ndim != 1 or costs.shape != values.shape:
        raise InvalidInput(
            f"costs and values must be two lists of one length, got shapes {costs.shape} "
            f"and {values.shape}"
        )
    return costs, values
