"""Features of kernels, counted by hand."""

from __future__ import annotations

import pytest

from mnasfpn.latency.kernels.features import FEATURE_NAMES, KERNEL_FEATURES, feature_matrix
from mnasfpn.latency.kernels.kernel import Kernel


def feature(name: str, signature: str) -> float:
    return KERNEL_FEATURES[name][0](Kernel.parse(signature))


@pytest.mark.parametrize(
    ("signature", "madds", "tiles"),
    [
        # Four groups of 6 to 5 channels on 9 pixels: 8 and 16 of them are computed.
        ("conv 1x3x3x24 -> 1x3x3x20 k1x1 s1x1 g4", 9 * 4 * 8 * 16, 4 * 2),
        # Whole vectors of whole quads need no padding.
        ("conv 1x4x4x32 -> 1x4x4x64 k3x3 s1x1 g4", 16 * 9 * 8 * 64, 4 * 2),
        ("conv 1x4x4x32 -> 1x4x4x64 k3x3 s1x1", 0, 0),
    ],
)
def test_groups_are_products_of_their_own(signature: str, madds: int, tiles: int) -> None:
    assert feature("group_madds", signature) == madds
    assert feature("group_tiles", signature) == tiles


@pytest.mark.parametrize(
    ("signature", "pieces", "blocks"),
    [
        ("transpose 1x7x7x3x8 -> 1x7x7x8x3 a0x1x2x4x3", 1176, 49),
        ("transpose 1x49x3x8 -> 1x3x49x8 a0x2x1x3", 147, 1),
        ("transpose 1x5x8 -> 1x5x8 a0x1x2", 1, 0),
        ("mean 1x5x6x8 -> 1x5x6x1 a3", 240, 0),
        ("mean 1x49x16 -> 1x16 a1", 49, 0),
        ("slice 1x9x9x16 -> 1x5x5x16 s2x2", 25, 0),
        ("slice 1x9x9x16 -> 1x9x9x8", 81, 0),
        ("slice 1x9x9x16 -> 1x7x7x16", 7, 0),
        ("slice 1x49x16 -> 1x16 a1", 1, 0),
        ("relu 1x9x9x16 -> 1x9x9x16", 0, 0),
    ],
)
def test_what_moves_goes_in_pieces(signature: str, pieces: int, blocks: int) -> None:
    assert feature("pieces", signature) == pieces
    assert feature("blocks", signature) == blocks


def test_regular_suppression_looks_at_each_class() -> None:
    shapes = "1x40x4, 1x40x5 -> 1x10x4"
    assert feature("boxes", f"detections {shapes}") == 40
    assert feature("box_pairs", f"detections {shapes}") == 400
    assert feature("boxes", f"detections_regular {shapes}") == 200
    assert feature("box_pairs", f"detections_regular {shapes}") == 2000


def test_features_of_stored_trees_keep_their_places() -> None:
    """A profile of version 0.1.0 calls them by number."""
    assert FEATURE_NAMES.index("vector_madds") == 0
    assert FEATURE_NAMES.index("inputs") == 18
    assert feature_matrix(()).shape == (0, len(FEATURE_NAMES))
