"""Boxes: corner and centre form, overlap, and the code in which a network predicts them.

Boxes are ``(ymin, xmin, ymax, xmax)`` [..., 4] normalised to the image; anchors are centre-size
``(yc, xc, h, w)``. Everything here is NumPy: it runs outside the network.
"""

from __future__ import annotations

import numpy as np

from ..arrays import AnyFloats

# Faster R-CNN's box code (Ren et al. 2015, equation 2) times these: (ty, tx, th, tw).
CODE_SCALES = np.array([10.0, 10.0, 5.0, 5.0], np.float32)
SMALLEST_SIDE = 1e-8  # keeps the logarithm of an empty box finite
LARGEST_LOG_SIZE = 20.0  # of a decoded side relative to its anchor: exp() stays finite


def to_centres(boxes: AnyFloats) -> AnyFloats:
    """(ymin, xmin, ymax, xmax) to (yc, xc, h, w)."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return np.concatenate([(low + high) / 2, high - low], axis=-1)


def to_corners(boxes: AnyFloats) -> AnyFloats:
    """(yc, xc, h, w) to (ymin, xmin, ymax, xmax)."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return np.concatenate([centre - half, centre + half], axis=-1)


def areas(boxes: AnyFloats) -> AnyFloats:
    """Area of each box; 0 for one whose corners are swapped."""
    sides = np.maximum(boxes[..., 2:] - boxes[..., :2], 0)
    return np.asarray(sides[..., 0] * sides[..., 1])


def clip(boxes: AnyFloats) -> AnyFloats:
    """The part of each box inside the image; empty (zero area) if there is none."""
    return np.clip(boxes, 0, 1)


def iou(first: AnyFloats, second: AnyFloats) -> AnyFloats:
    """Intersection over union of every pair: [M, 4] and [N, 4] to [M, N].

    A box of no area overlaps nothing: its row or column is 0, not undefined.
    """
    # Column by column: four times as fast as pairs of corners for an image's boxes and anchors.
    columns = np.ascontiguousarray(second.T)
    shared = np.ones((len(first), len(second)), np.result_type(first, second))
    for low, high in ((0, 2), (1, 3)):
        side = np.minimum(first[:, high, None], columns[high])
        side -= np.maximum(first[:, low, None], columns[low])
        shared *= np.maximum(side, 0, out=side)
    union = areas(first)[:, None] + areas(second)[None, :] - shared
    shared /= np.maximum(union, np.finfo(shared.dtype).tiny, out=union)
    return shared


def encode(boxes: AnyFloats, anchors: AnyFloats) -> AnyFloats:
    """Boxes [..., 4] relative to anchors [..., 4] (centre-size), as the network predicts them."""
    target = to_centres(boxes)
    offsets = (target[..., :2] - anchors[..., :2]) / anchors[..., 2:]
    sizes = np.log(np.maximum(target[..., 2:], SMALLEST_SIDE) / anchors[..., 2:])
    return np.concatenate([offsets, sizes], axis=-1) * CODE_SCALES


def decode(codes: AnyFloats, anchors: AnyFloats) -> AnyFloats:
    """Inverse of :func:`encode`: boxes (ymin, xmin, ymax, xmax), not clipped to the image."""
    codes = codes / CODE_SCALES
    centres = codes[..., :2] * anchors[..., 2:] + anchors[..., :2]
    sizes = np.exp(np.minimum(codes[..., 2:], LARGEST_LOG_SIZE)) * anchors[..., 2:]
    return to_corners(np.concatenate([centres, sizes], axis=-1))
