from __future__ import annotations

import numpy as np

from mnasfpn.latency.fitting.held_out import every_fifth, held_out


def test_each_is_predicted_by_a_fit_that_has_not_seen_it() -> None:
    from sklearn.model_selection import LeaveOneOut

    values = np.array([1.0, 2.0, 6.0])
    found = held_out(LeaveOneOut().split(values), lambda kept, left: values[kept].mean() + 0 * left)
    assert found.tolist() == [4, 3.5, 1.5]


def test_predictions_are_in_the_order_of_the_models_whatever_that_of_the_splits() -> None:
    splits = [(np.array([0, 2]), np.array([3, 1])), (np.array([1, 3]), np.array([2, 0]))]
    found = held_out(splits, lambda kept, left: np.column_stack([left, left * 10]))
    assert found.tolist() == [[0, 0], [1, 10], [2, 20], [3, 30]]


def test_every_fifth_is_left_out_in_turn() -> None:
    splits = [(kept.tolist(), left.tolist()) for kept, left in every_fifth(7)]
    assert splits[0] == ([1, 2, 3, 4, 6], [0, 5])
    assert splits[1] == ([0, 2, 3, 4, 5], [1, 6])
    assert [left for _, left in splits[2:]] == [[2], [3], [4]]
