"""Proof of an export: the file, run on real images beside the Keras model it came from."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import msgspec
import numpy as np

from ...errors import JobFailed
from ..arrays import Floats
from ..detection.anchors import anchors_for
from ..detection.box_coding import clip, decode
from ..detector import Detector
from ..evaluation.predictors import keras_predictor, tflite_predictor
from ..graph.weights import Weights
from ..networks.keras_network import build_keras
from .convert import OUTPUTS, Precision

REPORT_SCHEMA = "mnasfpn-export-1"
CONFIDENT = 0.3  # score from which an application would show a box


@dataclass(frozen=True, slots=True)
class OutputQuantisation:
    """Of one output: real value = (stored - zero_point) * scale; scale 0 means float."""

    output: str
    scale: float
    zero_point: int


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was exported and how far it is from Keras.

    Args:
        file: name of the .tflite file.
        precision: float32, float16 or int8.
        size_bytes: of the file.
        operators: builtin operator -> how often it occurs.
        outputs: names in their order in the file.
        quantisation: of the last tensors that hold each output before it becomes float.
        images: compared.
        max_code_difference: of the encoded boxes, all anchors.
        max_score_difference: of the sigmoid scores, all anchors and slots.
        max_box_difference: of decoded boxes, as a share of the image, where Keras is confident
            (score at least 0.3); None if it never is.
        confident_boxes: how many those are.
    """

    file: str
    precision: Precision
    size_bytes: int
    operators: dict[str, int]
    outputs: tuple[str, ...]
    quantisation: tuple[OutputQuantisation, ...]
    images: int
    max_code_difference: float
    max_score_difference: float
    max_box_difference: float | None
    confident_boxes: int
    schema: str = REPORT_SCHEMA

    def to_json(self) -> str:
        return msgspec.json.format(msgspec.json.encode(self)).decode()


def verify(
    content: bytes,
    detector: Detector,
    weights: Weights,
    images: Floats,
    precision: Precision,
    name: str = "model.tflite",
) -> ExportReport:
    """Compare a .tflite file with the Keras build of its detector, image by image."""
    operators, custom = list_operators(content)
    if custom:
        raise JobFailed(f"{name}: needs operators that are not builtin: {', '.join(custom)}")
    exported = tflite_predictor(content)
    original = keras_predictor(build_keras(detector.graph(), weights))
    anchors = anchors_for(exported.input_size, exported.boxes)
    codes, scores, boxes = [0.0], [0.0], []
    for image in images:
        (expected_codes,), (expected_scores,) = original.predict(image[None])
        (found_codes,), (found_scores,) = exported.predict(image[None])
        codes.append(float(np.abs(found_codes - expected_codes).max()))
        scores.append(float(np.abs(found_scores - expected_scores).max()))
        sure = expected_scores[:, 1:].max(axis=1) >= CONFIDENT
        moved = clip(decode(found_codes, anchors)) - clip(decode(expected_codes, anchors))
        boxes.extend(np.abs(moved[sure]).max(axis=1).tolist())
    return ExportReport(
        file=name,
        precision=precision,
        size_bytes=len(content),
        operators=operators,
        outputs=OUTPUTS,
        quantisation=_quantisation(content),
        images=len(images),
        max_code_difference=max(codes),
        max_score_difference=max(scores),
        max_box_difference=max(boxes) if boxes else None,
        confident_boxes=len(boxes),
    )


def list_operators(content: bytes) -> tuple[dict[str, int], tuple[str, ...]]:
    """Builtin operators of a .tflite file with their number, and the names of all others."""
    from ai_edge_litert import schema_py_generated as schema

    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if name[0] != "_"}
    model = schema.Model.GetRootAs(content)
    builtin: Counter[str] = Counter()
    custom: list[str] = []
    graph = model.Subgraphs(0)
    for index in range(graph.OperatorsLength()):
        code = model.OperatorCodes(graph.Operators(index).OpcodeIndex())
        if (name := code.CustomCode()) is not None:
            custom.append(name.decode())
        else:
            builtin[names[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]] += 1
    return dict(sorted(builtin.items())), tuple(sorted(set(custom)))


def _quantisation(content: bytes) -> tuple[OutputQuantisation, ...]:
    """Look behind the DEQUANTIZE that ends an integer model."""
    from ai_edge_litert import schema_py_generated as schema

    graph = schema.Model.GetRootAs(content).Subgraphs(0)
    made_by = {
        graph.Operators(index).Outputs(0): graph.Operators(index)
        for index in range(graph.OperatorsLength())
    }
    found = []
    for name, output in zip(OUTPUTS, graph.OutputsAsNumpy().tolist(), strict=True):
        details = graph.Tensors(output).Quantization()
        if (details is None or not details.ScaleLength()) and output in made_by:
            details = graph.Tensors(made_by[output].Inputs(0)).Quantization()
        quantised = details is not None and details.ScaleLength() == 1
        found.append(
            OutputQuantisation(
                output=name,
                scale=float(details.Scale(0)) if quantised else 0.0,
                zero_point=int(details.ZeroPoint(0)) if quantised else 0,
            )
        )
    return tuple(found)
