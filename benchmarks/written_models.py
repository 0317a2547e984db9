"""Files that no converter of today makes: per-tensor uint8, detectors with their suppression."""

from __future__ import annotations

from dataclasses import replace

from ..models.graph.arithmetic import Arithmetic, in_arithmetic
from ..models.graph.attributes import Attributes
from ..models.graph.graph import Graph
from ..models.graph.layer import Layer
from ..models.published import published
from ..models.tflite.reader import read_tflite
from ..models.tflite.writer import write_tflite

DETECTIONS = 100


def written(content: bytes, arithmetic: Arithmetic) -> bytes:
    """The network of a float32 file, as the converter of TensorFlow 1 laid out uint8."""
    return write_tflite(in_arithmetic(read_tflite(content), arithmetic))


def ssdlite(size: int, arithmetic: Arithmetic, regular: bool = False) -> bytes:
    """MobileNetV2 with SSDLite (Sandler et al. 2018, arXiv:1801.04381) and what follows it.

    Args:
        regular: suppression class by class.
    """
    detector = replace(published("mobilenetv2-ssdlite"), input_size=size)
    graph = in_arithmetic(detector.graph(), arithmetic)
    boxes, scores = graph.outputs
    op = "detections_regular" if regular else "detections"
    attributes = Attributes(target=(1, DETECTIONS, 4))
    found = Layer("detections", op, (boxes, scores), (1, DETECTIONS, 4), None, attributes)
    return write_tflite(Graph((*graph, found), (found.name,)))
