"""COCO's average precision of detections, computed by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from ..data.coco import CocoSplit
from ..detection.suppression import Detections


@dataclass(frozen=True, slots=True)
class MeanPrecision:
    """COCO's figures, from 0 to 1; NaN where a split has no boxes of that kind.

    Args:
        map: average precision over IoU 0.5 to 0.95, all classes, all sizes.
        map50, map75: at IoU 0.5 and 0.75.
        small, medium, large: of boxes below 32^2, 96^2 and above, in pixels of the original image.
    """

    map: float
    map50: float
    map75: float
    small: float
    medium: float
    large: float


def mean_precision(split: CocoSplit, found: Mapping[int, Detections]) -> MeanPrecision:
    """Compare detections with a split's annotations.

    Boxes that training skips (crowds, boxes without area) count as COCO's own evaluation has it.

    Args:
        found: image id -> its detections; images that are not a key are left out.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):  # it prints every step
        truth = COCO()
        truth.dataset = _dataset(split)
        truth.createIndex()
        results = COCO()
        results.dataset = {**truth.dataset, "annotations": _results(split, found)}
        results.createIndex()
        evaluation = COCOeval(truth, results, "bbox")
        evaluation.params.imgIds = sorted(found)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    figures = [float(value) if value >= 0 else float("nan") for value in evaluation.stats[:6]]
    return MeanPrecision(*figures)


def _dataset(split: CocoSplit) -> dict[str, Any]:
    """The instances as pycocotools wants them: ids, areas and crowd marks are filled in."""
    dataset: dict[str, Any] = msgspec.json.decode(split.annotations.read_bytes())
    annotations = []
    for index, annotation in enumerate(dataset["annotations"], start=1):
        _, _, width, height = annotation["bbox"]
        annotations.append({"area": width * height, "iscrowd": 0, **annotation, "id": index})
    return {**dataset, "annotations": annotations}


def _results(split: CocoSplit, found: Mapping[int, Detections]) -> list[dict[str, Any]]:
    sizes = {example.image_id: example.size for example in split.examples}
    results: list[dict[str, Any]] = []
    for image_id, detections in found.items():
        height, width = sizes[image_id]
        corners = detections.boxes.astype(np.float64) * [height, width, height, width]
        for (top, left, bottom, right), score, label in zip(
            corners.tolist(), detections.scores.tolist(), detections.labels.tolist(), strict=True
        ):
            results.append(
                {
                    "id": len(results) + 1,
                    "image_id": image_id,
                    "category_id": split.category_ids[label - 1],
                    "bbox": [left, top, right - left, bottom - top],
                    "area": (right - left) * (bottom - top),
                    "iscrowd": 0,
                    "score": score,
                }
            )
    return results
