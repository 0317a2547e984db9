"""What MediaPipe Tasks' ObjectDetector asks of a file, rule by rule.

Read from its source (mediapipe/tasks/cc: core/model_resources.cc, metadata/metadata_extractor.cc,
vision/utils/image_tensor_specs.cc, components/processors/image_preprocessing_graph.cc and
detection_postprocessing_graph.cc; mediapipe/calculators/tensor/tensors_to_detections_calculator.cc)
and held against what the wheel does with each file of tests/models/doctor/mutations.py.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from ..graph.attributes import Shape
from . import file_metadata as md
from .file_metadata import Decoding, FileMetadata, TensorMetadata
from .delegation import POST_PROCESS
from .finding import Finding
from .inspected_file import InspectedFile, Subgraph
from .label_archive import DamagedArchive, read_archive

PARSER_VERSION = (1, 5, 0)  # of the metadata that the wheel understands
RAW, NMS = ("location", "score"), ("location", "category", "score", "number of detections")
INPUT_TYPES = ("uint8", "float32")
OUTPUT_TYPES = ("uint8", "float32")
FLOAT32_EPSILON = 2**-23
METADATA_FIX = "write the metadata again, with `mnasfpn export` or from the public schema"


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


def mediapipe_findings(detector: Detector) -> Iterator[Finding]:
    """All that the contract says of a file whose offsets are in order."""
    yield from _graph(detector)
    yield from _post_process(detector)
    yield from _input(detector)
    yield from _outputs(detector)
    yield from _metadata(detector)
    metadata = detector.metadata
    if metadata is None or not metadata.has_subgraph:
        return
    yield from _input_metadata(detector, metadata)
    names = {2: RAW, 4: NMS}.get(len(detector.graph.outputs or ()))
    if names is None:
        return
    outputs = metadata.outputs or ()
    if len(outputs) != len(names):
        yield Finding(
            "refuses",
            "outputs",
            f"metadata of each of the {len(names)} outputs",
            f"metadata of {len(outputs)}",
            METADATA_FIX,
        )
        return
    yield from _output_metadata(detector, metadata, outputs, names)


def _graph(detector: Detector) -> Iterator[Finding]:
    count = len(detector.file.subgraphs)
    if count != 1:
        yield Finding(
            "refuses", "graph", "one subgraph", f"{count}", "convert without control flow (if, while)"
        )


def _post_process(detector: Detector) -> Iterator[Finding]:
    for operator in detector.graph.operators:
        if operator.name == POST_PROCESS and not operator.has_options:
            yield Finding(
                "refuses",
                "operators",
                f"options of {POST_PROCESS}, max_classes_per_detection among them",
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


def _metadata(detector: Detector) -> Iterator[Finding]:
    metadata = detector.metadata
    if metadata is None or not metadata.has_subgraph:
        yield Finding(
            "refuses",
            "metadata",
            f"metadata called {md.METADATA_NAME} with one subgraph",
            "none" if metadata is None else "no subgraph in it",
            "export with `mnasfpn export`, which writes it always",
        )
        return
    if not metadata.parser_version:
        return
    parts = [part for part in metadata.parser_version.split(".") if part]
    if not all(re.match(r"\s*[+-]?\d", part) for part in parts):
        yield Finding(
            "refuses",
            "metadata",
            "a version of numbers",
            f"{metadata.parser_version!r}; MediaPipe crashes",
            METADATA_FIX,
        )
        return
    version = tuple(int(re.match(r"\s*[+-]?\d+", part)[0]) for part in parts)  # type: ignore[index]
    if version > PARSER_VERSION:
        yield Finding(
            "refuses",
            "metadata",
            f"metadata for parsers of version {'.'.join(map(str, PARSER_VERSION))} or before",
            metadata.parser_version,
            "update mediapipe, or write the metadata for an older version",
        )


def _input_metadata(detector: Detector, metadata: FileMetadata) -> Iterator[Finding]:
    if not metadata.inputs:
        yield Finding("refuses", "input", "metadata of the input", "none", METADATA_FIX)
        return
    image = metadata.inputs[0]
    if image.content not in (0, md.IMAGE):
        yield Finding(
            "refuses", "input", "ImageProperties", md.CONTENTS[image.content % 4], METADATA_FIX
        )
    elif image.content == md.IMAGE and image.colour != md.RGB:
        yield Finding(
            "refuses", "input", "colour space RGB", "another, or not told", METADATA_FIX
        )
    yield from _normalisation(image, _float_input(detector))


def _float_input(detector: Detector) -> bool:
    inputs = detector.graph.inputs or ()
    tensor = detector.graph.tensor(inputs[0]) if len(inputs) == 1 else None
    return tensor is not None and tensor.dtype == "float32"


def _normalisation(image: TensorMetadata, is_float: bool) -> Iterator[Finding]:
    """(pixel - mean) / std, which is how a float input learns its range."""
    needs = "NormalizationOptions with one mean and one deviation"
    fix = "write the mean and deviation that the model was trained with: 127.5 for -1 to 1"

    def wrong(found: str) -> Finding:
        return Finding("refuses", "input", needs, found, fix)

    count = image.units.count(md.NORMALISATION)
    if count > 1:
        yield wrong(f"{count} of them")
        return
    means, deviations = image.normalisation or (None, None)
    if means is None or deviations is None:
        if count:
            yield wrong("one without values: MediaPipe reads what stands elsewhere, or crashes")
        elif is_float:
            yield wrong("none, and the input is float32")
        return
    if len(means) != len(deviations):
        yield wrong(f"{len(means)} means and {len(deviations)} deviations")
    elif len(means) not in (1, 3):
        yield wrong(f"{len(means)} of each; 1 or 3 are allowed")
    elif is_float:
        if len({*zip(means, deviations, strict=True)}) > 1:
            yield wrong("different values by colour, which MediaPipe does not have")
        elif abs(deviations[0]) < FLOAT32_EPSILON:
            yield wrong("a deviation of 0")
        elif not -means[0] / deviations[0] < (255 - means[0]) / deviations[0]:
            yield wrong(f"a deviation of {deviations[0]}, so that the range is empty")


def _output_metadata(
    detector: Detector,
    metadata: FileMetadata,
    outputs: tuple[TensorMetadata, ...],
    names: tuple[str, ...],
) -> Iterator[Finding]:
    unnamed = [place for place, each in enumerate(outputs) if each.name is None]
    if unnamed:
        yield Finding(
            "refuses",
            "outputs",
            "a name of each output in the metadata",
            f"none of output {unnamed[0]}; MediaPipe crashes",
            METADATA_FIX,
        )
        return
    found = [each.name for each in outputs]
    order = tuple(found.index(name) if name in found else -1 for name in names)
    if -1 in order:
        yield Finding(
            "warns",
            "outputs",
            f"outputs called {', '.join(names)} in the metadata",
            f"{', '.join(map(str, found))}: the order {', '.join(names)} is assumed",
            "name them, so that their order does not matter",
        )
        order = tuple(range(len(names)))
    inside = names == NMS
    yield from _boxes(outputs[order[0]], inside)
    yield from _labels(detector, metadata, outputs[order[1]], inside)
    yield from _scores(detector, outputs[order[2 if inside else 1]], inside)
    if inside:
        yield from _shapes_inside(detector, order)
    else:
        yield from _decoding(detector, metadata, order)


def _boxes(location: TensorMetadata, inside: bool) -> Iterator[Finding]:
    box = location.box
    if box is None:
        found = md.CONTENTS[location.content % 4]
        yield Finding(
            "refuses", "outputs", "BoundingBoxProperties of the boxes", found, METADATA_FIX
        )
        return
    if box.kind != md.BOUNDARIES:
        kind = md.BOX_TYPES[box.kind] if 0 <= box.kind < len(md.BOX_TYPES) else str(box.kind)
        yield Finding("refuses", "outputs", "boxes of type BOUNDARIES", kind, METADATA_FIX)
    elif box.coordinates != md.RATIO:
        yield Finding(
            "refuses",
            "outputs",
            "coordinates of type RATIO: 0 to 1 of the image",
            "PIXEL",
            "divide the boxes by the image's size, and say RATIO",
        )
    elif box.index is not None and len(box.index) != 4:
        yield Finding(
            "refuses", "outputs", "a box index of 4 values", f"{len(box.index)}", METADATA_FIX
        )
    elif inside and box.index is not None and sorted(box.index) != [0, 1, 2, 3]:
        yield Finding(
            "refuses",
            "outputs",
            "a box index that names each of 0 to 3 once",
            str(list(box.index)),
            METADATA_FIX,
        )
    elif inside and box.index is None:
        yield Finding(
            "warns",
            "outputs",
            "a box index: where left, top, right and bottom stand",
            "none; x first is assumed, and TFLite_Detection_PostProcess gives y first",
            "write the index [1, 0, 3, 2]",
        )


def _labels(
    detector: Detector, metadata: FileMetadata, category: TensorMetadata, inside: bool
) -> Iterator[Finding]:
    try:
        archive = read_archive(detector.file.content)
    except DamagedArchive as error:
        yield Finding(
            "refuses",
            "labels",
            "an archive of uncompressed files behind the model",
            str(error),
            "append the labels again, stored without compression",
        )
        return
    kind = md.VALUE_LABELS if inside else md.AXIS_LABELS
    wanted = "TENSOR_VALUE_LABELS" if inside else "TENSOR_AXIS_LABELS"
    name = category.file(kind)
    if name is None:
        yield Finding(
            "warns",
            "labels",
            f"labels of type {wanted} on output {category.name!r}",
            "none: detections have numbers, no names",
            "append the classes' names, one a line, and name the file in the metadata",
        )
        return
    labels = archive.get(name)
    if not labels:
        yield Finding(
            "refuses",
            "labels",
            f"the file {name!r} in the archive behind the model",
            "it is not there" if labels is None else "it is empty",
            "append it; programs that rewrite a model often cut it off",
        )
        return
    lines = labels.decode(errors="replace").split("\n")
    count = len(lines) - (not lines[-1])
    decoding = None if inside or metadata.detector is None else metadata.detector.decoding
    if decoding is not None and count != decoding.classes:
        yield Finding(
            "warns",
            "labels",
            f"a label for each of {decoding.classes} classes",
            f"{count}",
            "write one line for each column of the scores, in their order",
        )


def _scores(detector: Detector, score: TensorMetadata, inside: bool) -> Iterator[Finding]:
    if not inside or md.CALIBRATION not in score.units:
        return
    needs = "a file of score calibration, 3 or 4 numbers a line"
    fix = "append the file, or take ScoreCalibrationOptions out of the metadata"
    if score.units.count(md.CALIBRATION) > 1:
        yield Finding("refuses", "outputs", needs, "two calibrations", fix)
        return
    name = score.file(md.CALIBRATION_FILE)
    try:
        content = read_archive(detector.file.content).get(name or "")
    except DamagedArchive:
        return  # told of the labels already
    if not content:
        yield Finding("refuses", "outputs", needs, "it is not there, or empty", fix)
        return
    for line in filter(None, content.decode(errors="replace").split("\n")):
        numbers = [_number(part) for part in line.split(",")]
        if len(numbers) not in (3, 4) or None in numbers or (numbers[0] or 0) < 0:
            yield Finding("refuses", "outputs", needs, f"the line {line!r}", fix)
            return


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _shapes_inside(detector: Detector, order: tuple[int, ...]) -> Iterator[Finding]:
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


def _decoding(
    detector: Detector, metadata: FileMetadata, order: tuple[int, ...]
) -> Iterator[Finding]:
    found = metadata.detector
    fix = "export with `mnasfpn export`, which writes every anchor and the scales"
    if found is None:
        needs = f"custom metadata called {md.DETECTOR_NAME}: anchors and scales"
        yield Finding("refuses", "anchors", needs, "none", fix)
        return
    decoding = found.decoding
    if decoding is None:
        needs = "TensorsDecodingOptions: classes, boxes, scales"
        yield Finding("refuses", "anchors", needs, "none; MediaPipe crashes", fix)
        return
    if not found.anchors:
        crash = "" if found.has_anchors_table else "; MediaPipe crashes"
        yield Finding("refuses", "anchors", "every anchor", f"none{crash}", fix)
        return
    if decoding.values_per_keypoint != 2:
        yield Finding(
            "refuses",
            "anchors",
            "num_values_per_keypoint 2, even without keypoints",
            f"{decoding.values_per_keypoint}; MediaPipe crashes",
            "write 2",
        )
        return
    coordinates = 4 + 2 * decoding.keypoints
    if decoding.coordinates != coordinates:
        yield Finding(
            "refuses",
            "anchors",
            f"num_coords {coordinates}: 4 and 2 for each keypoint",
            f"{decoding.coordinates}; MediaPipe crashes",
            f"write {coordinates}",
        )
        return
    yield from _anchor_count(found.anchors, decoding)
    yield from _shapes_raw(detector, decoding, order)
    yield from _scales(decoding)


def _anchor_count(
    anchors: tuple[tuple[float, ...], ...], decoding: Decoding
) -> Iterator[Finding]:
    if len(anchors) != decoding.boxes:
        short = len(anchors) < decoding.boxes
        yield Finding(
            "fails" if short else "warns",
            "anchors",
            f"an anchor for each of {decoding.boxes} boxes",
            f"{len(anchors)}" + ("; MediaPipe crashes" if short else ""),
            "write the anchors of this very model, in the order of its boxes",
        )
    if not all(math.isfinite(value) for anchor in anchors for value in anchor):
        yield Finding(
            "warns",
            "anchors",
            "finite anchors",
            "some are not: their boxes are lost",
            "write the anchors of this very model",
        )


def _shapes_raw(
    detector: Detector, decoding: Decoding, order: tuple[int, ...]
) -> Iterator[Finding]:
    if not detector.ran:
        return
    boxes, scores = (detector.ran[place][1] for place in order)
    for what, found, last in (
        ("boxes", boxes, decoding.coordinates),
        ("scores", scores, decoding.classes),
    ):
        expected = (1, decoding.boxes, last)
        if decoding.boxes <= 0 or found not in (expected, (1, *expected)):
            yield Finding(
                "fails",
                "outputs",
                f"{what} of shape {list(expected)}, as the metadata says",
                str(list(found)),
                "put boxes first and scores second, with no column of background, and write "
                "num_boxes and num_classes so",
            )


def _scales(decoding: Decoding) -> Iterator[Finding]:
    if not all(math.isfinite(scale) and scale != 0 for scale in decoding.scales):
        yield Finding(
            "warns",
            "anchors",
            "scales x, y, w, h by which boxes are divided",
            f"{list(decoding.scales)}: no box is found",
            "write the scales of the box coding: 10, 10, 5, 5 for SSD's",
        )
    if not decoding.exponential:
        yield Finding(
            "notes",
            "anchors",
            "apply_exponential_on_box_size, if sizes are coded as logarithms",
            "sizes are read as they are",
        )
