from __future__ import annotations

import math

import numpy as np
import pytest

from mnasfpn.errors import InvalidGraph
from mnasfpn.models.detection.anchors import anchors_for, multiscale_grid, ssd_anchors


def test_grid_has_the_papers_19125_anchors_at_320():
    assert multiscale_grid(320).shape == (19125, 4)


def test_first_location_of_the_grid_by_hand():
    # stride 8, base 24 pixels; aspects 1, 2, 1/2 outer, scales 1, 2^(1/3), 2^(2/3) inner
    first = multiscale_grid(320)[:9] * 320
    np.testing.assert_allclose(first[:, :2], 4.0)
    side, root = 24.0, math.sqrt(2)
    expected = [
        (side * step * high, side * step * wide)
        for high, wide in ((1, 1), (1 / root, root), (root, 1 / root))
        for step in (1, 2 ** (1 / 3), 2 ** (2 / 3))
    ]
    np.testing.assert_allclose(first[:, 2:], expected, rtol=1e-6)


def test_locations_go_row_by_row():
    grid = multiscale_grid(320) * 320
    np.testing.assert_allclose(grid[9, :2], (4, 12))  # one to the right
    np.testing.assert_allclose(grid[9 * 40, :2], (12, 4))  # the next row


@pytest.mark.parametrize(("level", "base"), [(3, 24), (4, 48), (5, 96), (6, 192)])
def test_base_size_of_each_level(level, base):
    grid = multiscale_grid(320, [level]) * 320
    np.testing.assert_allclose(grid[0, 2:], base, rtol=1e-6)
    np.testing.assert_allclose(grid[-1, :2], 320 - 2**level / 2, rtol=1e-6)


def test_anchors_are_not_clipped():
    assert (multiscale_grid(320)[:, 2:] > 0.6).any()


def test_ssd_has_2034_anchors_at_320():
    assert ssd_anchors().shape == (2034, 4)


def test_ssd_by_hand():
    anchors = ssd_anchors()
    np.testing.assert_allclose(anchors[0], (0.025, 0.025, 0.1, 0.1), rtol=1e-6)
    np.testing.assert_allclose(anchors[1, 2:], (0.2 / math.sqrt(2), 0.2 * math.sqrt(2)), rtol=1e-6)
    second_map = anchors[1200:1206]
    np.testing.assert_allclose(second_map[:, :2], 0.05, rtol=1e-6)
    np.testing.assert_allclose(second_map[0, 2:], 0.35, rtol=1e-6)
    np.testing.assert_allclose(
        second_map[3, 2:], (0.35 / math.sqrt(3), 0.35 * math.sqrt(3)), rtol=1e-6
    )
    np.testing.assert_allclose(second_map[5, 2:], math.sqrt(0.35 * 0.5), rtol=1e-6)
    np.testing.assert_allclose(anchors[-1], (0.5, 0.5, math.sqrt(0.95), math.sqrt(0.95)), rtol=1e-6)


def test_ssd_refuses_another_number_of_maps():
    with pytest.raises(InvalidGraph, match="6 maps"):
        ssd_anchors([20, 10])


@pytest.mark.parametrize("size", [64, 128, 320, 640])
def test_anchors_are_known_by_their_number(size):
    grid = multiscale_grid(size)
    np.testing.assert_array_equal(anchors_for(size, len(grid)), grid)


def test_ssd_anchors_are_known_by_their_number():
    np.testing.assert_array_equal(anchors_for(320, 2034), ssd_anchors())


def test_a_number_no_scheme_has_is_refused():
    with pytest.raises(InvalidGraph, match=r"1917 boxes.*19125.*2034"):
        anchors_for(320, 1917)
