"""From raw predictions to detections: decoding and class-wise non-maximum suppression."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...errors import InvalidInput
from ..arrays import AnyFloats, Indices
from .box_coding import areas, clip, decode, iou


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

    boxes: AnyFloats
    scores: AnyFloats
    labels: Indices


def detect(
    codes: AnyFloats, scores: AnyFloats, anchors: AnyFloats, settings: NmsSettings | None = None
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


def nms(boxes: AnyFloats, scores: AnyFloats, iou_threshold: float, most: int) -> Indices:
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
