"""TFLite_Detection_PostProcess: the custom operator in which detectors of TensorFlow end.

It decodes boxes by their anchors and suppresses all but the best of those that overlap. How long
that takes depends on the numbers: on how many scores pass the threshold, and how many boxes
overlap. The converter's own threshold, 1e-8, lets all pass, and so do the files written here.
Source: tflite/kernels/detection_postprocess.cc.
"""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
from flatbuffers import flexbuffers

from ..arrays import Floats
from ..graph.layer import Layer
from .flatbuffer import DamagedBuffer, Table
from .schema import DETECTION_NAME

CUSTOM_OPTIONS = 5  # field of an operator's table
ALL_PASS = -1e9
ANCHOR_SIZE = 0.1  # of the image, to either side


def detection_options(layer: Layer, classes: int) -> dict[str, Any]:
    """What the operator is told."""
    return {
        "max_detections": layer.shape[1],
        "max_classes_per_detection": 1,
        "detections_per_class": layer.shape[1],
        "use_regular_nms": layer.op == "detections_regular",
        "nms_score_threshold": ALL_PASS,
        "nms_iou_threshold": 0.6,
        "num_classes": max(classes, 1),
        "y_scale": 10.0,
        "x_scale": 10.0,
        "h_scale": 5.0,
        "w_scale": 5.0,
    }


def spread_anchors(count: int) -> Floats:
    """[count, 4]: centres (y, x) on a grid over the image, and one size."""
    side = math.ceil(math.sqrt(count))
    places = (np.arange(side, dtype=np.float32) + 0.5) / side
    grid = np.stack(np.meshgrid(places, places, indexing="ij"), -1).reshape(-1, 2)[:count]
    sizes = np.full((count, 2), ANCHOR_SIZE, np.float32)
    return np.concatenate([grid, sizes], 1)


def read_detection_options(operator: Table) -> tuple[int, bool]:
    """(most detections, whether classes are suppressed one by one) of an operator of a file.

    Raises:
        DamagedBuffer: its options are missing or no flexbuffer that says so.
    """
    packed = operator.array(CUSTOM_OPTIONS, "u1")
    try:
        options = flexbuffers.GetRoot(bytes(packed if packed is not None else b"")).AsMap
        regular = _regular(options)
        per_box = 1 if regular else options["max_classes_per_detection"].AsInt
        most = options["max_detections"].AsInt * per_box
    except (ValueError, IndexError, KeyError, TypeError, struct.error, OverflowError) as error:
        raise DamagedBuffer(f"options of a {DETECTION_NAME} are damaged: {error}") from error
    if most < 1:
        raise DamagedBuffer(f"a {DETECTION_NAME} that keeps {most} detections")
    return most, regular


def _regular(options: flexbuffers.Map) -> bool:
    """Whether classes are suppressed one by one; files from before 2019 do not say."""
    try:
        return bool(options["use_regular_nms"].AsBool)
    except KeyError:
        return False
