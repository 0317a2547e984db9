"""Boxes for the tests of this folder."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays


def boxes_strategy(least: int, most: int, smallest_side: float = 1e-3):
    """[M, 4] boxes with positive sides, some beyond the image."""

    def corners(values):
        low, sides = values[:, :2], np.abs(values[:, 2:]) + smallest_side
        return np.concatenate([low, low + sides], axis=1)

    return (
        st.integers(least, most)
        .flatmap(lambda count: arrays(np.float64, (count, 4), elements=st.floats(-1, 1)))
        .map(corners)
    )


def random_boxes(count: int, seed: int) -> np.ndarray:
    corners = np.sort(np.random.default_rng(seed).uniform(0, 1, (count, 2, 2)), axis=1)
    return corners.reshape(count, 4).astype(np.float32)
