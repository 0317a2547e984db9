"""What MediaPipe's ObjectDetector asks of a file's graph, its input and its outputs.

mediapipe/tasks/cc: vision/utils/image_tensor_specs.cc, components/processors; and
mediapipe/calculators/tensor/tensors_to_detections_calculator.cc.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..graph.attributes import Shape
from ..tflite.schema import DETECTION_NAME
from .file_metadata import FileMetadata
from .finding import Finding
from .inspected_file import InspectedFile, Subgraph

INPUT_TYPES = ("uint8", "float32")
OUTPUT_TYPES = ("uint8", "float32")


@dataclass(frozen=True, slots=True)
class Detector:
    """What the rules look at.

    Args:
        ran: (type, shape) of each output after an inference, empty if there was none.
    """

    file: InspectedFile
    metadata: FileMetadata | None
    ran: tuple[tuple[str, Shape], ...]

    @property
    def graph(self) -> Subgraph:
        return self.file.main


def tensor_findings(detector: Detector) -> Iterator[Finding]:
    """Of the graph, with or without metadata."""
    yield from _graph(detector)
    yield from _post_process(detector)
    yield from _input(detector)
    yield from _outputs(detector)


def _graph(detector: Detector) -> Iterator[Finding]:
    count = len(detector.file.subgraphs)
    if count != 1:
        yield Finding(
            "refuses", "graph", "one subgraph", f"{count}", "convert without control flow"
        )


def _post_process(detector: Detector) -> Iterator[Finding]:
    for operator in detector.graph.operators:
        if operator.name == DETECTION_NAME and not operator.has_options:
            yield Finding(
                "refuses",
                "operators",
                f"options of {DETECTION_NAME}, max_classes_per_detection among them",
                "none; MediaPipe crashes",
                "export with `mnasfpn export --nms`, which writes them",
            )


def _input(detector: Detector) -> Iterator[Finding]:
    inputs = detector.graph.inputs or ()
    if len(inputs) != 1:
        yield Finding(
            "refuses",
            "input",
            "one input, the image",
            f"{len(inputs)} inputs",
            "keep only the image an input; make the others constants",
        )
        return
    tensor = detector.graph.tensor(inputs[0])
    if tensor is None:
        yield _no_tensor("input", inputs[0])
        return
    if tensor.dtype not in INPUT_TYPES:
        yield Finding(
            "refuses",
            "input",
            "an input of type uint8 or float32",
            f"{tensor.name!r} is {tensor.dtype}",
            "export with a float32 or uint8 input; an int8 graph keeps a QUANTIZE after it",
        )
    shape = tensor.shape or ()
    rgb = len(shape) == 4 and shape[0] == 1 and min(shape[1:3]) > 0 and shape[3] in (3, 4)
    if not rgb:
        yield Finding(
            "refuses",
            "input",
            "shape [1, height, width, 3 or 4]",
            f"{tensor.name!r} has {list(shape)}",
            "fix the batch to 1 and the size, with colours last, when converting",
        )


def _no_tensor(part: str, index: int) -> Finding:
    return Finding(
        "refuses",
        part,
        "tensors that are in the file",
        f"tensor {index} is asked for",
        "convert the model again",
    )


def _outputs(detector: Detector) -> Iterator[Finding]:
    outputs = detector.graph.outputs or ()
    empty = [shape for _, shape in detector.ran if 0 in shape]
    if empty:
        yield Finding(
            "fails",
            "outputs",
            "outputs that hold something",
            f"shape {list(empty[0])} after an inference",
            "set max_detections of the post-processing",
        )
    if len(outputs) not in (2, 4):
        yield Finding(
            "refuses",
            "outputs",
            "2 outputs (boxes, scores) or 4 (boxes, categories, scores, number)",
            f"{len(outputs)}",
            "export boxes and scores alone, or with TFLite_Detection_PostProcess behind them",
        )
        return
    tensors = [detector.graph.tensor(index) for index in outputs]
    types = []
    for index, tensor in zip(outputs, tensors, strict=True):
        if tensor is None:
            yield _no_tensor("outputs", index)
        else:
            types.append(tensor.dtype)
    wrong = sorted(set(types) - set(OUTPUT_TYPES))
    if wrong:
        yield Finding(
            "refuses",
            "outputs",
            "outputs of type float32, or all uint8",
            ", ".join(wrong),
            "end the graph with DEQUANTIZE, so that its outputs are float32",
        )
    elif len(set(types)) > 1:
        yield Finding(
            "refuses",
            "outputs",
            "either all outputs quantised or none",
            ", ".join(types),
            "make all outputs float32",
        )


def has_float_input(detector: Detector) -> bool:
    inputs = detector.graph.inputs or ()
    tensor = detector.graph.tensor(inputs[0]) if len(inputs) == 1 else None
    return tensor is not None and tensor.dtype == "float32"


def shape_findings(detector: Detector, order: tuple[int, ...]) -> Iterator[Finding]:
    """Of the four outputs, as they were after an inference."""
    if not detector.ran:
        return
    boxes, categories, scores, number = (detector.ran[place][1] for place in order)
    most = boxes[1] if len(boxes) == 3 else -1
    expected = ((1, most, 4), (1, most), (1, most), (1,))
    found = (boxes, categories, scores, number)
    if found != expected:
        yield Finding(
            "fails",
            "outputs",
            "boxes [1, K, 4], categories [1, K], scores [1, K] and number [1], in this order",
            ", ".join(str(list(shape)) for shape in found),
            "put the outputs in this order, or name them so in the metadata; converters of "
            "TensorFlow 2 sort them by name",
        )
