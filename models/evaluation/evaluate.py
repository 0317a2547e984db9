"""Average precision of a detector on a dataset."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...errors import InvalidInput
from ...progress import Progress, silent
from ..data.coco import CocoSplit, Example
from ..data.images import load_image, normalise
from ..detection.suppression import Detections, NmsSettings
from .coco_metrics import Backend, MeanPrecision, mean_precision
from .predictors import Finder, Predictor, finder


def evaluate(
    model: Predictor | Finder,
    data: CocoSplit,
    settings: NmsSettings | None = None,
    progress: Progress = silent,
    metrics: Backend = "pycocotools",
) -> MeanPrecision:
    """COCO's average precision: decode, class-wise NMS, COCO's metrics.

    Args:
        model: of raw predictions; or of detections, whose suppression is its own.
        data: as many classes as the detector has.
        settings: of the suppression of raw predictions.
        progress: called after every batch of images.
        metrics: who computes them.

    Raises:
        InvalidInput: the classes differ.
    """
    finds = model if isinstance(model, Finder) else finder(model, settings)
    if finds.classes != len(data.classes):
        raise InvalidInput(
            f"the detector has {finds.classes} classes and the data {len(data.classes)}; "
            "evaluate it on the data that it was trained for"
        )
    found: dict[int, Detections] = {}
    for examples in _chunks(data.examples, finds.batch_size):
        images = np.stack([normalise(load_image(e, finds.input_size)) for e in examples])
        for example, detections in zip(examples, finds.find(images), strict=True):
            found[example.image_id] = detections
        progress(len(found), len(data), "")
    return mean_precision(data, found, metrics)


def _chunks(examples: tuple[Example, ...], size: int) -> Iterator[tuple[Example, ...]]:
    for first in range(0, len(examples), size):
        yield examples[first : first + size]
