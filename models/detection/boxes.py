"""Boxes: corner and centre form, overlap, the box coder, the matcher and class-wise NMS.

Boxes are ``(ymin, xmin, ymax, xmax)`` [..., 4] normalised to the image; anchors are centre-size
``(yc, xc, h, w)``. Everything here is NumPy: it runs outside the network.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...errors import InvalidInput

Floats = NDArray[np.floating]
Indices = NDArray[np.int64]

# Faster R-CNN's box code (Ren et al. 2015, equation 2) times these: (ty, tx, th, tw).
CODE_SCALES = np.array([10.0, 10.0, 5.0, 5.0], np.float32)
SMALLEST_SIDE = 1e-8  # keeps the logarithm of an empty box finite
LARGEST_LOG_SIZE = 20.0  # of a decoded side relative to its anchor: exp() stays finite
POSITIVE_IOU = 0.5
UNMATCHED = -1


def to_centres(boxes: Floats) -> Floats:
    """(ymin, xmin, ymax, xmax) to (yc, xc, h, w)."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return np.concatenate([(low + high) / 2, high - low], axis=-1)


def to_corners(boxes: Floats) -> Floats:
    """(yc, xc, h, w) to (ymin, xmin, ymax, xmax)."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return np.concatenate([centre - half, centre + half], axis=-1)


def areas(boxes: Floats) -> Floats:
    """Area of each box; 0 for one whose corners are swapped."""
    sides = np.maximum(boxes[..., 2:] - boxes[..., :2], 0)
    return np.asarray(sides[..., 0] * sides[..., 1])


def clip(boxes: Floats) -> Floats:
    """The part of each box inside the image; empty (zero area) if there is none."""
    return np.clip(boxes, 0, 1)


def iou(first: Floats, second: Floats) -> Floats:
    """Intersection over union of every pair: [M, 4] and [N, 4] to [M, N].

    A box of no area overlaps nothing: its row or column is 0, not undefined.
    """
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    sides = np.maximum(high - low, 0)
    shared = sides[..., 0] * sides[..., 1]
    union = areas(first)[:, None] + areas(second)[None, :] - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=shared > 0))


def encode(boxes: Floats, anchors: Floats) -> Floats:
    """Boxes [..., 4] relative to anchors [..., 4] (centre-size), as the network predicts them."""
    target = to_centres(boxes)
    offsets = (target[..., :2] - anchors[..., :2]) / anchors[..., 2:]
    sizes = np.log(np.maximum(target[..., 2:], SMALLEST_SIDE) / anchors[..., 2:])
    return np.concatenate([offsets, sizes], axis=-1) * CODE_SCALES


def decode(codes: Floats, anchors: Floats) -> Floats:
    """Inverse of :func:`encode`: boxes (ymin, xmin, ymax, xmax), not clipped to the image."""
    codes = codes / CODE_SCALES
    centres = codes[..., :2] * anchors[..., 2:] + anchors[..., :2]
    sizes = np.exp(np.minimum(codes[..., 2:], LARGEST_LOG_SIZE)) * anchors[..., 2:]
    return to_corners(np.concatenate([centres, sizes], axis=-1))


def match(boxes: Floats, anchors: Floats, positive_iou: float = POSITIVE_IOU) -> Indices:
    """Which ground truth box each anchor answers for; [N], ``UNMATCHED`` (-1) for background.

    An anchor takes the box it overlaps most if that is at least ``positive_iou``. Then each box is
    forced onto its best anchor, so that none goes unseen; if two boxes have the same best anchor
    the first one gets it. Ties go to the lower index. A box that overlaps no anchor at all (no
    area, or outside the image) is matched to none.

    Args:
        boxes: [M, 4] ground truth, M may be 0.
        anchors: [N, 4] centre-size.
    """
    if not len(boxes):
        return np.full(len(anchors), UNMATCHED, np.int64)
    overlap = iou(boxes, to_corners(anchors))
    best_box = overlap.argmax(axis=0)
    matches = np.where(overlap.max(axis=0) >= positive_iou, best_box, UNMATCHED)
    best_anchor = overlap.argmax(axis=1)
    for index in range(len(boxes) - 1, -1, -1):  # backwards: the first box has the last word
        if overlap[index, best_anchor[index]] > 0:
            matches[best_anchor[index]] = index
    return matches.astype(np.int64)


def nms(boxes: Floats, scores: Floats, iou_threshold: float, most: int) -> Indices:
    """Greedy non-maximum suppression: indices kept, by falling score (ties: lower index first).

    A box goes if it overlaps a kept one by more than ``iou_threshold``; at most ``most`` stay.
    """
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    while len(order) and len(kept) < most:
        best, order = order[0], order[1:]
        kept.append(int(best))
        order = order[iou(boxes[best : best + 1], boxes[order])[0] <= iou_threshold]
    return np.array(kept, np.int64)


@dataclass(frozen=True, slots=True)
class NmsSettings:
    """How raw predictions become detections.

    Args:
        score: scores at or below this are no detections.
        iou: overlap above which the lower score of one class goes.
        per_class, total: most detections of an image.
        candidates: consider only this many best scores of each class before suppressing; bounds
            the time at no loss as long as ``per_class`` boxes survive among them.
    """

    score: float = 1e-8
    iou: float = 0.6
    per_class: int = 100
    total: int = 100
    candidates: int = 1000

    def __post_init__(self) -> None:
        if not 0 <= self.score < 1 or not 0 <= self.iou <= 1:
            raise InvalidInput(
                "NMS score and IoU thresholds must lie in [0, 1), [0, 1], "
                f"got {self.score}, {self.iou}"
            )
        if min(self.per_class, self.total, self.candidates) < 1:
            raise InvalidInput(
                "NMS must keep at least 1 box, got "
                f"{self.per_class}, {self.total}, {self.candidates}"
            )


@dataclass(frozen=True, slots=True)
class Detections:
    """Of one image, by falling score: boxes [K, 4] in the image, scores [K], labels [K] >= 1."""

    boxes: Floats
    scores: Floats
    labels: Indices


def detect(
    codes: Floats, scores: Floats, anchors: Floats, settings: NmsSettings | None = None
) -> Detections:
    """Decode one image's raw predictions and suppress duplicates within each class.

    Args:
        codes: [N, 4] encoded boxes.
        scores: [N, classes + 1] after the sigmoid; slot 0 is the background and is ignored.
        anchors: [N, 4] centre-size.
    """
    settings = settings or NmsSettings()
    boxes = clip(decode(codes, anchors))
    usable = areas(boxes) > 0
    found: list[tuple[Indices, int]] = []
    for label in range(1, scores.shape[1]):
        column = scores[:, label]
        above = np.flatnonzero((column > settings.score) & usable)
        if len(above) > settings.candidates:
            best = np.argsort(-column[above], kind="stable")[: settings.candidates]
            above = above[np.sort(best)]
        kept = nms(boxes[above], column[above], settings.iou, settings.per_class)
        found.append((above[kept], label))
    index = np.concatenate([kept for kept, _ in found])
    labels = np.concatenate([np.full(len(kept), label, np.int64) for kept, label in found])
    order = np.argsort(-scores[index, labels], kind="stable")[: settings.total]
    index, labels = index[order], labels[order]
    return Detections(boxes[index], scores[index, labels], labels)
