"""Pareto sets against the definition, tried on every pair of points."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnasfpn.errors import InvalidInput
from mnasfpn.search.pareto import dominates, hypervolume, non_dominated

NAN, INF = math.nan, math.inf
COORDINATES = st.sampled_from([-INF, -1.0, 0.0, 0.5, 1.0, 2.0, 3.0, INF, NAN])
POINTS = st.lists(st.tuples(COORDINATES, COORDINATES), max_size=12)


def by_definition(points: list[tuple[float, float]]) -> list[int]:
    known = [i for i, point in enumerate(points) if not any(map(math.isnan, point))]
    return [i for i in known if not any(dominates(points[j], points[i]) for j in known)]


def columns(points: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [cost for cost, _ in points], [value for _, value in points]


@given(POINTS)
def test_non_dominated_is_the_definition(points: list[tuple[float, float]]) -> None:
    found = non_dominated(*columns(points))
    assert sorted(found.tolist()) == by_definition(points)
    assert [points[i] for i in found] == sorted(points[i] for i in found)


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 1)), max_size=60))
def test_non_dominated_of_many_points(points: list[tuple[float, float]]) -> None:
    assert sorted(non_dominated(*columns(points)).tolist()) == by_definition(points)


@pytest.mark.parametrize(
    ("points", "kept"),
    [
        ([], []),
        ([(NAN, 1.0)], []),
        ([(NAN, 9.0), (1.0, 1.0), (1.0, NAN)], [1]),
        ([(2.0, 1.0), (2.0, 1.0)], [0, 1]),  # ties: neither dominates
        ([(2.0, 1.0), (2.0, 0.9), (3.0, 1.0)], [0]),
        ([(INF, 2.0), (1.0, 1.0)], [1, 0]),  # slowest, but the best
        ([(INF, 1.0), (1.0, 1.0)], [1]),
        ([(1.0, -INF), (2.0, -INF)], [0]),
        ([(183.0, 26.1), (168.0, 25.5), (121.0, 23.8), (202.0, 25.1)], [2, 1, 0]),  # Table 1
    ],
)
def test_edges(points: list[tuple[float, float]], kept: list[int]) -> None:
    assert non_dominated(*columns(points)).tolist() == kept


def test_hypervolume_by_hand() -> None:
    # Two steps under a reference of 10 ms and 0 mAP: 2..6 at 1, 6..10 at 3.
    assert hypervolume([2.0, 6.0, 7.0], [1.0, 3.0, 2.0], (10.0, 0.0)) == 4 * 1 + 4 * 3


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([], 0.0),
        ([(10.0, 5.0), (1.0, 0.0), (11.0, 9.0)], 0.0),  # none better than the reference in both
        ([(4.0, 2.0), (4.0, 2.0)], 12.0),
        ([(NAN, 2.0), (4.0, NAN), (4.0, 2.0)], 12.0),
        ([(4.0, INF)], INF),
        ([(-INF, 1.0), (-INF, 1.0)], INF),
    ],
)
def test_hypervolume_edges(points: list[tuple[float, float]], expected: float) -> None:
    assert hypervolume(*columns(points), (10.0, 0.0)) == expected


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), max_size=12))
def test_hypervolume_counts_the_dominated_unit_squares(points: list[tuple[int, int]]) -> None:
    squares = sum(
        any(cost <= x and value >= y + 1 for cost, value in points)
        for x in range(10)
        for y in range(9)
    )
    assert hypervolume(*columns(points), (10.0, 0.0)) == squares


@pytest.mark.parametrize("reference", [(INF, 0.0), (1.0, NAN)])
def test_a_reference_must_be_finite(reference: tuple[float, float]) -> None:
    with pytest.raises(InvalidInput, match="must be finite"):
        hypervolume([1.0], [1.0], reference)


def test_lists_of_two_lengths_are_refused() -> None:
    with pytest.raises(InvalidInput, match=r"shapes \(2,\) and \(1,\)"):
        non_dominated([1.0, 2.0], [1.0])


def test_many_points_take_no_quadratic_time_or_memory() -> None:
    rng = np.random.default_rng(0)
    cost = rng.uniform(size=300_000)  # all pairs would be 90 thousand million
    assert non_dominated(cost, cost).size == cost.size
