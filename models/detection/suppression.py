"""From raw predictions to detections: decoding and class-wise non-maximum suppression."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from ...errors import InvalidInput
from ..arrays import AnyFloats, Indices
from .box_coding import areas, clip, decode, iou

#: Scores looked at before more, for each detection that is wanted.
LOOKED_AT_FIRST = 8


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

    Whether a box is kept depends on boxes of higher scores alone. So the best of all scores are
    looked at first, whatever their class, and more only where too few of them are kept.

    Args:
        codes: [N, 4] encoded boxes.
        scores: [N, classes + 1] after the sigmoid; slot 0 is the background and is ignored.
        anchors: [N, 4] centre-size.
    """
    settings = settings or NmsSettings()
    best = scores[:, 1:].max(axis=1, initial=0.0)
    looked_at = LOOKED_AT_FIRST * settings.total
    while True:
        everything = looked_at >= len(best)
        least = 0.0 if everything else np.partition(best, -looked_at)[-looked_at]
        index, labels = _candidates(scores, best, least, settings)
        boxes = clip(decode(codes[index], anchors[index]))
        seen = areas(boxes) > 0
        index, labels, boxes = index[seen], labels[seen], boxes[seen]
        considered = _among_best_of_class(labels, settings.candidates)
        index, labels, boxes = index[considered], labels[considered], boxes[considered]
        kept = greedy(boxes, labels, settings.iou, settings.per_class, settings.total)
        if everything or least <= settings.score or len(kept) == settings.total:
            index, labels = index[kept], labels[kept]
            return Detections(boxes[kept], scores[index, labels], labels)
        looked_at *= LOOKED_AT_FIRST


def _candidates(
    scores: AnyFloats, best: AnyFloats, least: float, settings: NmsSettings
) -> tuple[Indices, Indices]:
    """Rows and labels of all scores from ``least`` on, by falling score (ties: label, row)."""
    rows = np.flatnonzero((best >= least) & (best > settings.score))
    of_rows = scores[rows, 1:]
    row, column = np.nonzero((of_rows >= least) & (of_rows > settings.score))
    order = np.lexsort((row, column, -of_rows[row, column]))
    return rows[row[order]], column[order] + 1


def _among_best_of_class(labels: Indices, most: int) -> Indices:
    """Positions of labels of which fewer than ``most`` came before."""
    if len(labels) <= most:
        return np.arange(len(labels))
    by_label = np.argsort(labels, kind="stable")
    counts = np.bincount(labels)
    begins = np.concatenate([[0], np.cumsum(counts)[:-1]])
    rank = np.empty(len(labels), np.int64)
    rank[by_label] = np.arange(len(labels)) - np.repeat(begins, counts)
    return np.flatnonzero(rank < most)


def greedy(
    boxes: AnyFloats, labels: Indices, iou_threshold: float, per_class: int, total: int
) -> Indices:
    """Positions kept of boxes that are sorted by falling score."""
    waiting = np.arange(len(boxes))
    kept: list[int] = []
    count: Counter[int] = Counter()
    while len(waiting) and len(kept) < total:
        best, waiting = waiting[0], waiting[1:]
        label = int(labels[best])
        kept.append(int(best))
        count[label] += 1
        rivals = np.flatnonzero(labels[waiting] == label)
        if count[label] < per_class:
            overlaps = iou(boxes[best : best + 1], boxes[waiting[rivals]])[0]
            rivals = rivals[~(overlaps <= iou_threshold)]
        if len(rivals):
            waiting = np.delete(waiting, rivals)
    return np.array(kept, np.int64)


def nms(boxes: AnyFloats, scores: AnyFloats, iou_threshold: float, most: int) -> Indices:
    """Greedy non-maximum suppression: indices kept, by falling score (ties: lower index first).

    A box goes if it overlaps a kept one by more than ``iou_threshold``; at most ``most`` stay.
    """
    order = np.argsort(-scores, kind="stable")
    one_class = np.zeros(len(order), np.int64)
    return np.asarray(order[greedy(boxes[order], one_class, iou_threshold, most, most)])
