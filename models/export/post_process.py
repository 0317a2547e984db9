"""The form with suppression inside: TFLite_Detection_PostProcess behind boxes and scores.

Source: tensorflow/lite/kernels/detection_postprocess.cc. MediaPipe reads
``max_classes_per_detection`` out of the operator's options.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers

from ..arrays import Floats
from ..detection.box_coding import CODE_SCALES
from ..detection.suppression import NmsSettings
from ..tflite.model_object import add_buffer, add_code, add_tensor, name_of
from ..tflite.schema import DETECTION_NAME

#: In this order, which is also that in which applications expect them.
DETECTION_OUTPUTS = ("locations", "classes", "scores", "count")


def add_post_process(model: Any, anchors: Floats, classes: int, settings: NmsSettings) -> None:
    """Decode and suppress within a ``ModelT`` whose outputs are codes and scores.

    Args:
        anchors: [N, 4] (yc, xc, h, w).
        classes: columns of the scores.
        settings: ``candidates`` has no counterpart in the operator and is not used.
    """
    (graph,) = model.subgraphs
    codes, scores = graph.outputs
    shapes = ((1, settings.total, 4), (1, settings.total), (1, settings.total), (1,))
    # The last operator's output may have the name already.
    for index in (codes, scores):
        graph.tensors[index].name = f"raw/{name_of(graph.tensors[index])}"
    anchor_tensor = add_tensor(
        graph, "anchors", anchors.shape, "float32", add_buffer(model, anchors.astype(np.float32))
    )
    outputs = [
        add_tensor(graph, name, shape, "float32")
        for name, shape in zip(DETECTION_OUTPUTS, shapes, strict=True)
    ]
    y_scale, x_scale, h_scale, w_scale = CODE_SCALES.tolist()
    options = {
        "max_detections": settings.total,
        "max_classes_per_detection": 1,
        "detections_per_class": settings.per_class,
        "use_regular_nms": True,  # each class by itself
        "nms_score_threshold": settings.score,
        "nms_iou_threshold": settings.iou,
        "num_classes": classes,
        "y_scale": y_scale,
        "x_scale": x_scale,
        "h_scale": h_scale,
        "w_scale": w_scale,
    }
    graph.operators.append(
        schema.OperatorT(
            opcodeIndex=add_code(model, schema.BuiltinOperator.CUSTOM, 1, DETECTION_NAME),
            inputs=np.array([codes, scores, anchor_tensor], np.int32),
            outputs=np.array(outputs, np.int32),
            customOptions=np.frombuffer(bytes(flexbuffers.Dumps(options)), np.uint8),
        )
    )
    graph.outputs = np.array(outputs, np.int32)
