"""Single images."""

from __future__ import annotations

import numpy as np

from mnasfpn.models.data.images import normalise


def test_pixels_become_minus_one_to_one():
    np.testing.assert_array_equal(normalise(np.array([0, 255], np.uint8)), [-1, 1])
