"""What MediaPipe's ObjectDetector asks of the metadata of the input and the outputs.

mediapipe/tasks/cc: vision/utils/image_tensor_specs.cc, components/processors/
image_preprocessing_graph.cc and detection_postprocessing_graph.cc; labels:
mediapipe/util/label_map_util.cc.
"""

from __future__ import annotations

from collections.abc import Iterator

from . import file_metadata as md
from .file_metadata import FileMetadata, TensorMetadata
from .finding import Finding
from .label_archive import DamagedArchive, read_archive
from .mediapipe_tensors import Detector, has_float_input

FLOAT32_EPSILON = 2**-23
MOST_SHOWN = 5  # labels
METADATA_FIX = "write the metadata again, with `mnasfpn export` or from the public schema"


def input_findings(detector: Detector, metadata: FileMetadata) -> Iterator[Finding]:
    if not metadata.inputs:
        yield Finding("refuses", "input", "metadata of the input", "none", METADATA_FIX)
        return
    image = metadata.inputs[0]
    if image.content not in (0, md.IMAGE):
        yield Finding(
            "refuses", "input", "ImageProperties", md.CONTENTS[image.content % 4], METADATA_FIX
        )
    elif image.content == md.IMAGE and image.colour != md.RGB:
        yield Finding("refuses", "input", "colour space RGB", "another, or not told", METADATA_FIX)
    yield from _normalisation(image, has_float_input(detector))


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
        mean, deviation = means[0], deviations[0]
        if len({*zip(means, deviations, strict=True)}) > 1:
            yield wrong("different values by colour, which MediaPipe does not have")
        elif abs(deviation) < FLOAT32_EPSILON:
            yield wrong("a deviation of 0")
        elif not -mean / deviation < (255 - mean) / deviation:
            yield wrong(f"a deviation of {deviation}, so that the range is empty")
        else:
            found = f"{-mean / deviation:g} to {(255 - mean) / deviation:g}"
            yield Finding("notes", "input", "the range of pixels", found)


def box_findings(location: TensorMetadata, inside: bool) -> Iterator[Finding]:
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


def label_findings(
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
    lines = labels.decode(errors="replace").removesuffix("\n").split("\n")
    count, shown = len(lines), ", ".join(lines[:MOST_SHOWN])
    more = ", ..." if count > MOST_SHOWN else ""
    yield Finding("notes", "labels", "a name for each class", f"{count}: {shown}{more}")
    decoding = None if inside or metadata.detector is None else metadata.detector.decoding
    if decoding is not None and count != decoding.classes:
        yield Finding(
            "warns",
            "labels",
            f"a label for each of {decoding.classes} classes",
            f"{count}",
            "write one line for each column of the scores, in their order",
        )


def score_findings(detector: Detector, score: TensorMetadata, inside: bool) -> Iterator[Finding]:
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
