"""What each anchor should predict: the ground truth box it answers for, or background.

Boxes are ``(ymin, xmin, ymax, xmax)``, normalised to the image; anchors are centre-size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..arrays import AnyFloats, Floats, Indices
from .box_coding import encode, iou, to_corners

if TYPE_CHECKING:
    from numpy.typing import NDArray

POSITIVE_IOU = 0.5
UNMATCHED = -1


@dataclass(frozen=True, slots=True)
class Targets:
    """What a batch should predict.

    Args:
        codes: [B, N, 4] encoded boxes; 0 where nothing is matched.
        labels: [B, N] 1 .. number of classes, or ``UNMATCHED`` (-1) for background.
    """

    codes: Floats
    labels: NDArray[np.int32]


class Assigner:
    """What each of a detector's anchors should predict of an image.

    Args:
        anchors: [N, 4] centre-size.
    """

    def __init__(self, anchors: Floats) -> None:
        self.anchors = anchors
        self._corners = to_corners(anchors)  # once, not for every image

    def __call__(self, boxes: AnyFloats, labels: Indices) -> Targets:
        """Targets of one image, without the batch dimension.

        Args:
            boxes: [M, 4] (ymin, xmin, ymax, xmax) normalised; M may be 0.
            labels: [M] 1 .. number of classes.
        """
        matches = match(boxes, self._corners)
        positive = np.flatnonzero(matches != UNMATCHED)
        codes = np.zeros((len(self.anchors), 4), np.float32)
        wanted = np.full(len(self.anchors), UNMATCHED, np.int32)
        codes[positive] = encode(boxes[matches[positive]], self.anchors[positive])
        wanted[positive] = labels[matches[positive]]
        return Targets(codes, wanted)


def stack(targets: list[Targets]) -> Targets:
    """Targets of single images as those of a batch, [B, N, ...]."""
    return Targets(
        np.stack([each.codes for each in targets]), np.stack([each.labels for each in targets])
    )


def match(boxes: AnyFloats, corners: AnyFloats, positive_iou: float = POSITIVE_IOU) -> Indices:
    """Which ground truth box each anchor answers for; [N], ``UNMATCHED`` (-1) for background.

    An anchor takes the box it overlaps most if that is at least ``positive_iou``. Then each box is
    forced onto its best anchor, so that none goes unseen; if two boxes have the same best anchor
    the first one gets it. Ties go to the lower index. A box that overlaps no anchor at all (no
    area, or outside the image) is matched to none.

    Args:
        boxes: [M, 4] ground truth, M may be 0.
        corners: [N, 4] of the anchors, (ymin, xmin, ymax, xmax).
    """
    if not len(boxes):
        return np.full(len(corners), UNMATCHED, np.int64)
    overlap = iou(boxes, corners)
    best_box = overlap.argmax(axis=0)
    best_overlap = overlap[best_box, np.arange(len(corners))]
    matches = np.where(best_overlap >= positive_iou, best_box, UNMATCHED)
    best_anchor = overlap.argmax(axis=1)
    for index in range(len(boxes) - 1, -1, -1):  # backwards: the first box has the last word
        if overlap[index, best_anchor[index]] > 0:
            matches[best_anchor[index]] = index
    return matches.astype(np.int64)
