"""COCO's average precision of detections, computed by pycocotools or by faster-coco-eval."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..data.coco import CocoSplit
from ..detection.suppression import Detections

Backend = Literal["pycocotools", "faster-coco-eval"]
OVERALL = ("map", "map50", "map75", "small", "medium", "large")  # in the order of COCO's summary


@dataclass(frozen=True, slots=True)
class MeanPrecision:
    """COCO's figures, from 0 to 1; NaN where a split has no boxes of that kind.

    Args:
        map: average precision over IoU 0.5 to 0.95, all classes, all sizes.
        map50, map75: at IoU 0.5 and 0.75.
        small, medium, large: of boxes below 32^2, 96^2 and above, in pixels of the original image.
        per_class: name of a class -> its average precision over IoU 0.5 to 0.95.
        per_class50: the same at IoU 0.5.
    """

    map: float
    map50: float
    map75: float
    small: float
    medium: float
    large: float
    per_class: dict[str, float]
    per_class50: dict[str, float]


def mean_precision(
    split: CocoSplit, found: Mapping[int, Detections], backend: Backend = "pycocotools"
) -> MeanPrecision:
    """Compare detections with a split's annotations.

    Boxes that training skips (crowds, boxes without area) count as COCO's own evaluation has it.
    Its annotations are those that :func:`..data.coco.read_coco` has checked.

    Args:
        found: image id -> its detections; images that are not a key are left out.
        backend: faster-coco-eval computes the same figures, sooner; an extra of that name.
    """
    with contextlib.redirect_stdout(io.StringIO()):  # both print every step
        evaluation = _evaluation(backend, _truth(split), _results(split, found))
        evaluation.params.imgIds = sorted(found)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    overall = [float(value) if value >= 0 else float("nan") for value in evaluation.stats[:6]]
    # [IoU, recall, class, area, detections]: all areas, 100 detections
    precision = np.asarray(evaluation.eval["precision"])[:, :, :, 0, -1]
    names = _distinct(split.classes)
    return MeanPrecision(
        **dict(zip(OVERALL, overall, strict=True)),
        per_class=dict(zip(names, map(_mean, np.moveaxis(precision, 2, 0)), strict=True)),
        per_class50=dict(zip(names, map(_mean, np.moveaxis(precision[0], 1, 0)), strict=True)),
    )


def _mean(precision: NDArray[np.float64]) -> float:
    known = precision[precision > -1]
    return float(known.mean()) if known.size else float("nan")


def _distinct(classes: tuple[str, ...]) -> list[str]:
    """Names as keys: the second class of one name has its label behind it."""
    return [
        name if classes.index(name) == position else f"{name} (class {position + 1})"
        for position, name in enumerate(classes)
    ]


def _evaluation(backend: Backend, truth: dict[str, Any], results: dict[str, Any]) -> Any:
    if backend == "faster-coco-eval":
        from faster_coco_eval import COCO, COCOeval_faster

        return COCOeval_faster(COCO(truth), COCO(results), "bbox")
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    indexed = []
    for dataset in (truth, results):
        api = COCO()
        api.dataset = dataset
        api.createIndex()
        indexed.append(api)
    return COCOeval(*indexed, "bbox")


def _dataset(split: CocoSplit, annotations: list[dict[str, Any]]) -> dict[str, Any]:
    """Annotations under their labels, with ids from 1 as both libraries want them."""
    return {
        "info": {},
        "images": [
            {"id": example.image_id, "height": example.size[0], "width": example.size[1]}
            for example in split.examples
        ],
        "categories": [
            {"id": label, "name": name} for label, name in enumerate(split.classes, start=1)
        ],
        "annotations": [{"id": number, **each} for number, each in enumerate(annotations, start=1)],
    }


def _truth(split: CocoSplit) -> dict[str, Any]:
    annotations = []
    for example in split.examples:
        truth = example.truth
        for box, label, area, crowd in zip(
            truth.boxes.tolist(),
            truth.labels.tolist(),
            truth.areas.tolist(),
            truth.crowd.tolist(),
            strict=True,
        ):
            annotations.append(
                {
                    "image_id": example.image_id,
                    "category_id": label,
                    "bbox": box,
                    "area": area,
                    "iscrowd": int(crowd),
                }
            )
    return _dataset(split, annotations)


def _results(split: CocoSplit, found: Mapping[int, Detections]) -> dict[str, Any]:
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
                    "image_id": image_id,
                    "category_id": label,
                    "bbox": [left, top, right - left, bottom - top],
                    "area": (right - left) * (bottom - top),
                    "iscrowd": 0,
                    "score": score,
                }
            )
    return _dataset(split, results)
