"""Average precision of a detector on a dataset."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...errors import InvalidInput
from ...progress import Progress, silent
from ..data.coco import CocoSplit, Example
from ..data.images import load_image, normalise
from ..detection.anchors import anchors_for
from ..detection.suppression import NmsSettings, detect
from .coco_metrics import Backend, MeanPrecision, mean_precision
from .predictors import Predictor


def evaluate(
    predictor: Predictor,
    data: CocoSplit,
    settings: NmsSettings | None = None,
    progress: Progress = silent,
    metrics: Backend = "pycocotools",
) -> MeanPrecision:
    """COCO's average precision: decode, class-wise NMS, COCO's metrics.

    Args:
        data: as many classes as the detector has.
        progress: called after every batch of images.
        metrics: who computes them.

    Raises:
        InvalidInput: the classes differ.
    """
    if predictor.slots != len(data.classes) + 1:
        raise InvalidInput(
            f"the detector has {predictor.slots - 1} classes and the data {len(data.classes)}; "
            "evaluate it on the data that it was trained for"
        )
    anchors = anchors_for(predictor.input_size, predictor.boxes)
    found = {}
    for examples in _chunks(data.examples, predictor.batch_size):
        images = np.stack([normalise(load_image(e, predictor.input_size)) for e in examples])
        for example, codes, scores in zip(examples, *predictor.predict(images), strict=True):
            found[example.image_id] = detect(codes, scores, anchors, settings)
        progress(len(found), len(data), "")
    return mean_precision(data, found, metrics)


def _chunks(examples: tuple[Example, ...], size: int) -> Iterator[tuple[Example, ...]]:
    for first in range(0, len(examples), size):
        yield examples[first : first + size]
