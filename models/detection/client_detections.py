"""What an application gets to see: the detections that each client makes of a file's outputs.

Our own evaluation (:func:`.suppression.detect`) is COCO's usual one. Clients suppress otherwise, so
a file's average precision depends on who runs it. None of them cuts boxes to the image.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..arrays import AnyFloats
from .box_coding import decode
from .suppression import Detections, NmsSettings, greedy

#: Of the operator TFLite_Detection_PostProcess in files that have it.
IN_FILE = NmsSettings(score=0.01, iou=0.6)
#: mediapipe.tasks ObjectDetector on a file without it: all classes together. Its own threshold of
#: scores is none at all; lower ones than this are never worth a box, and would take seconds.
MEDIAPIPE = NmsSettings(score=0.01, iou=0.3)


def post_processed(
    codes: AnyFloats, scores: AnyFloats, anchors: AnyFloats, settings: NmsSettings = IN_FILE
) -> Detections:
    """TFLite_Detection_PostProcess with ``use_regular_nms``: each class by itself.

    Args:
        codes, scores, anchors: as in :func:`.suppression.detect`.

    Source: tensorflow/lite/kernels/detection_postprocess.cc.
    """
    rows, columns = np.nonzero(scores[:, 1:] >= np.float32(settings.score))
    of_pairs = scores[rows, columns + 1]
    order = np.lexsort((rows, columns, -of_pairs))
    rows, labels, of_pairs = rows[order], columns[order] + 1, of_pairs[order]
    boxes = decode(codes[rows], anchors[rows])
    kept = greedy(boxes, labels, settings.iou, settings.per_class, settings.total)
    return Detections(boxes[kept], of_pairs[kept], labels[kept])


def by_mediapipe(
    codes: AnyFloats, scores: AnyFloats, anchors: AnyFloats, settings: NmsSettings = MEDIAPIPE
) -> Detections:
    """MediaPipe's ObjectDetector on raw outputs: each anchor has its best class, and any box
    suppresses any other.

    Source: mediapipe/calculators/tensor/tensors_to_detections_calculator.cc and
    mediapipe/calculators/util/non_max_suppression_calculator.cc.
    """
    best = scores[:, 1:].max(axis=1)
    rows = np.flatnonzero(best >= np.float32(settings.score))
    rows = rows[np.argsort(-best[rows], kind="stable")]
    boxes = decode(codes[rows], anchors[rows])
    one_class = np.zeros(len(rows), np.int64)
    kept = greedy(boxes, one_class, settings.iou, settings.total, settings.total)
    labels = scores[rows[kept], 1:].argmax(axis=1) + 1
    return Detections(boxes[kept], best[rows[kept]], labels)


def in_pixels(detections: Detections, size: tuple[int, int]) -> Detections:
    """What MediaPipe's applications are given: whole pixels of an image of (height, width).

    A box that begins outside the image is moved into it, and not made smaller.

    Source: mediapipe/calculators/util/detection_transformation_calculator.cc.
    """
    image = np.array(size, np.float32)
    low, high = detections.boxes[:, :2], detections.boxes[:, 2:]
    start, extent = (
        np.clip(np.trunc(sides * image), 0, image) / image for sides in (low, high - low)
    )
    return replace(detections, boxes=np.concatenate([start, start + extent], axis=1))


def counterparts_missing(
    found: Detections, expected: Detections, box: float, score: float
) -> tuple[int, ...]:
    """Positions of found detections that are not among the expected ones.

    Which of several detections of one score are the last that are kept is nobody's promise; so
    those of the lowest score are not looked at where both lists are full.

    Args:
        box, score: largest differences of a corner and of a score.
    """
    full = len(found.scores) == len(expected.scores)
    least = expected.scores.min(initial=np.inf) + score if full else -np.inf
    missing = []
    for position, (corners, value, label) in enumerate(
        zip(found.boxes, found.scores, found.labels, strict=True)
    ):
        same = (expected.labels == label) & (np.abs(expected.scores - value) <= score)
        near = np.abs(expected.boxes[same] - corners).max(axis=1, initial=0) <= box
        if value > least and not near.any():
            missing.append(position)
    return tuple(missing)


def cut(detections: Detections, least: float, most: int) -> Detections:
    """Those of at least a score, and no more than so many."""
    kept = np.flatnonzero(detections.scores >= least)[:most]
    return replace(
        detections,
        boxes=detections.boxes[kept],
        scores=detections.scores[kept],
        labels=detections.labels[kept],
    )
