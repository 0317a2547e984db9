from __future__ import annotations

import numpy as np
import pytest

from mnasfpn.latency.fitting.robust_least_squares import HUBER, robust_least_squares

ONES = np.ones(10)


def test_one_outlier_of_ten_hardly_counts() -> None:
    """The plain means of these are 19 and 109."""
    wanted = 10 + 0.1 * np.tile((-1.0, 1.0), 5)
    for wild in (100.0, 1000.0):
        found = robust_least_squares(ONES[:, None], np.append(wanted[1:], wild), ONES)
        assert found == pytest.approx([10], abs=0.5)


def test_what_lies_within_huber_s_bound_counts_in_full() -> None:
    """Residuals of 1 and a scale of 1 / 0.6745: all weigh the same, and this is their mean."""
    assert HUBER / 0.6745 > 1
    found = robust_least_squares(ONES[:, None], 5 + np.tile((-1.0, 1.0), 5), ONES)
    assert found == pytest.approx([5], rel=1e-12)


def test_errors_are_relative_to_the_tolerance() -> None:
    """(c - 1)^2 + ((c - 4) / 4)^2 is least where 17 c = 20."""
    found = robust_least_squares(np.ones((2, 1)), np.array([1.0, 4.0]), np.array([1.0, 4.0]))
    assert found == pytest.approx([20 / 17], rel=1e-9)


def test_no_coefficient_is_negative() -> None:
    terms = np.array([[1.0, 0.0], [0.0, 1.0]])
    found = robust_least_squares(terms, np.array([-3.0, 2.0]), np.ones(2))
    assert found == pytest.approx([0, 2])


def test_coefficients_are_drawn_to_their_targets() -> None:
    """(c - 2)^2 + (c - 4)^2 is least at 3; what no row has is its target, or 0 where not drawn."""
    found = robust_least_squares(
        np.array([[1.0, 0.0, 0.0]]),
        np.array([2.0]),
        np.ones(1),
        strength=np.array([1.0, 0.1, 0.0]),
        target=np.array([4.0, 7.0, 7.0]),
    )
    assert found == pytest.approx([3, 7, 0])
