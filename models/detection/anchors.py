"""Anchor boxes: the multiscale grid of pyramid detectors and the boxes of SSD.

Anchors are centre-size, ``(yc, xc, h, w)``, normalised by the input size and never clipped, float32
[N, 4], in the order of a detector's predictions: maps from fine to coarse, locations row by row,
anchors innermost.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from ...errors import InvalidGraph
from ..arrays import Floats

# (scale, aspect ratio w / h) of one anchor.
Variant = tuple[float, float]

# Multiscale grid (RetinaNet, Lin et al. 2017, section 4), from a base of 3 strides.
GRID_SCALE = 3.0
GRID_STEPS = (2.0**0, 2.0 ** (1 / 3), 2.0 ** (2 / 3))
GRID_ASPECTS = (1.0, 2.0, 0.5)

# SSD (Liu et al. 2016, section 2.2) with the lowest map's three boxes reduced, as in SSDLite.
SSD_SCALES = (0.2, 0.35, 0.5, 0.65, 0.8, 0.95)
SSD_FIRST: tuple[Variant, ...] = ((0.1, 1.0), (0.2, 2.0), (0.2, 0.5))
SSD_ASPECTS = (1.0, 2.0, 0.5, 3.0, 1 / 3)


def multiscale_grid(input_size: int, levels: Iterable[int] = (3, 4, 5, 6)) -> Floats:
    """Nine anchors per location at strides 2^level: three aspects (outer), three scales (inner).

    At 320 pixels the bases are 24, 48, 96 and 192 pixels and there are 19,125 anchors.

    Args:
        input_size: pixels of the square image.
    """
    variants = [(step, aspect) for aspect in GRID_ASPECTS for step in GRID_STEPS]
    maps = []
    for level in levels:
        stride = 2**level
        base = GRID_SCALE * stride / input_size
        cells = math.ceil(input_size / stride)
        centres = (np.arange(cells) + 0.5) * stride / input_size
        maps.append(_tile(centres, [(base * step, aspect) for step, aspect in variants]))
    return np.concatenate(maps)


def ssd_anchors(map_sizes: Sequence[int] = (20, 10, 5, 3, 2, 1)) -> Floats:
    """SSD's boxes for six square maps: 3 per location on the first, 6 on the others.

    With the default sizes (320 pixels) there are 2,034.
    """
    if len(map_sizes) != len(SSD_SCALES):
        raise InvalidGraph(f"SSD has {len(SSD_SCALES)} maps, got sizes {list(map_sizes)}")
    maps = []
    for index, cells in enumerate(map_sizes):
        centres = (np.arange(cells) + 0.5) / cells
        maps.append(_tile(centres, _ssd_variants(index)))
    return np.concatenate(maps)


def _ssd_variants(index: int) -> Sequence[Variant]:
    if index == 0:
        return SSD_FIRST
    scale, following = (*SSD_SCALES, 1.0)[index : index + 2]
    return [*((scale, aspect) for aspect in SSD_ASPECTS), (math.sqrt(scale * following), 1.0)]


def _tile(centres: NDArray[np.float64], variants: Sequence[Variant]) -> Floats:
    """Every variant at every centre of a square map; [cells^2 * variants, 4]."""
    sizes = np.array([(s / math.sqrt(aspect), s * math.sqrt(aspect)) for s, aspect in variants])
    cells = len(centres)
    anchors = np.empty((cells, cells, len(variants), 4))
    anchors[..., 0] = centres[:, None, None]
    anchors[..., 1] = centres[None, :, None]
    anchors[..., 2:] = sizes
    return anchors.reshape(-1, 4).astype(np.float32)


def anchors_for(input_size: int, count: int) -> Floats:
    """The anchors of a detector, known by its input size and how many boxes it predicts.

    A graph, a Keras model and a .tflite file all state these two numbers.

    Raises:
        InvalidGraph: neither the multiscale grid nor SSD has so many anchors at this size.
    """
    grid = multiscale_grid(input_size)
    if len(grid) == count:
        return grid
    ssd = ssd_anchors([math.ceil(input_size / 2**step) for step in range(4, 10)])
    if len(ssd) == count:
        return ssd
    raise InvalidGraph(
        f"no anchors are known for {count} boxes of a {input_size} x {input_size} image; the "
        f"multiscale grid has {len(grid)} there and SSD {len(ssd)}"
    )
