"""Files that a detector's author, a converter or a bad disk may make of a good one: one table.

What is left out: metadata whose offsets lead outside of it, or whose values are missing where
MediaPipe does not look. There it reads whatever stands in memory, and may open the file or not.
"""

from __future__ import annotations

import zipfile

import numpy as np

from mnasfpn.tests.models.doctor.alterations import (
    TYPES,
    Alter,
    Damage,
    archive_offset,
    box,
    calibration,
    custom_operator,
    detection_options,
    integer_outputs,
    new_tensor,
    normalisation,
    outputs,
    overwrite,
    process_unit,
    reshape,
    retype,
    second_input,
    second_output,
    tensor,
    uint8_input,
    unaligned,
)
from mnasfpn.tests.models.doctor.detector_files import (
    BOXES,
    BYTE,
    CLASSES,
    FLOAT,
    FORMS,
    SIZE,
    Record,
    labels_file,
)

#: What is done to a good file before it is packed: form and name -> change.
ALTERED: dict[tuple[str, str], Alter] = {
    ("raw", "nothing"): lambda p: None,
    ("nms", "nothing"): lambda p: None,
    # the graph
    ("raw", "schema version 2"): lambda p: setattr(p.model, "version", 2),
    ("raw", "no signature"): lambda p: setattr(p.model, "signatureDefs", []),
    ("raw", "a second subgraph"): lambda p: p.model.subgraphs.append(p.graph),
    ("raw", "a second input"): second_input,
    ("raw", "int8 input"): lambda p: retype(p, "image", TYPES.INT8),
    ("raw", "uint8 input that a convolution of floats reads"): lambda p: retype(
        p, "image", TYPES.UINT8
    ),
    ("raw", "uint8 input, dequantised"): uint8_input,
    ("nms", "uint8 input, dequantised"): uint8_input,
    ("raw", "float16 input"): lambda p: retype(p, "image", TYPES.FLOAT16),
    ("raw", "batch 2"): lambda p: reshape(p, "image", 2, SIZE, SIZE, 3),
    ("raw", "free batch"): lambda p: setattr(
        tensor(p, "image"), "shapeSignature", np.array([-1, SIZE, SIZE, 3], np.int32)
    ),
    ("raw", "shape -1"): lambda p: reshape(p, "image", -1, SIZE, SIZE, 3),
    ("raw", "grey image"): lambda p: reshape(p, "image", 1, SIZE, SIZE, 1),
    ("raw", "four channels, kernel of three"): lambda p: reshape(p, "image", 1, SIZE, SIZE, 4),
    ("raw", "image without batch"): lambda p: reshape(p, "image", SIZE, SIZE, 3),
    ("raw", "height 0"): lambda p: reshape(p, "image", 1, 0, SIZE, 3),
    ("raw", "image of another size than the graph expects"): lambda p: reshape(
        p, "image", 1, 2 * SIZE, 2 * SIZE, 3
    ),
    ("raw", "one output"): lambda p: outputs(p, 0),
    ("raw", "three outputs"): lambda p: outputs(p, 0, 1, 1),
    ("raw", "outputs in the other order"): lambda p: outputs(p, 1, 0),
    ("raw", "outputs and metadata in the other order"): lambda p: (
        outputs(p, 1, 0),
        p.outputs.reverse(),
    ),
    ("nms", "three outputs"): lambda p: outputs(p, 0, 1, 2),
    ("nms", "only boxes and scores are outputs"): lambda p: outputs(p, 0, 2),
    ("nms", "outputs in the order of newer converters"): lambda p: outputs(p, 2, 0, 3, 1),
    ("nms", "outputs and metadata in the order of newer converters"): lambda p: (
        outputs(p, 2, 0, 3, 1),
        p.outputs.__setitem__(slice(None), [p.outputs[place] for place in (2, 0, 3, 1)]),
    ),
    ("raw", "uint8 outputs"): lambda p: integer_outputs(p, TYPES.UINT8, ("boxes", "scores")),
    ("raw", "int8 outputs"): lambda p: integer_outputs(p, TYPES.INT8, ("boxes", "scores")),
    ("raw", "uint8 scores beside float boxes"): lambda p: integer_outputs(
        p, TYPES.UINT8, ("scores",)
    ),
    ("raw", "unknown custom operator"): lambda p: custom_operator(p, "MySecretOperator"),
    ("raw", "Flex operator"): lambda p: custom_operator(p, "FlexErf"),
    ("raw", "operator of version 99"): lambda p: setattr(p.model.operatorCodes[0], "version", 99),
    ("raw", "operator code out of range"): lambda p: setattr(
        p.graph.operators[0], "opcodeIndex", 40
    ),
    ("raw", "builtin code 250"): lambda p: setattr(p.model.operatorCodes[-1], "builtinCode", 250),
    ("raw", "operator without outputs"): lambda p: setattr(p.graph.operators[0], "outputs", None),
    ("raw", "operators in the wrong order"): lambda p: p.graph.operators.reverse(),
    ("raw", "an operator is missing"): lambda p: p.graph.operators.pop(0),
    ("raw", "a tensor is made twice"): lambda p: setattr(
        p.graph.operators[1], "outputs", p.graph.operators[0].outputs
    ),
    ("raw", "an output that nothing makes"): lambda p: second_output(
        p, new_tensor(p, "empty", tensor(p, "scores"), TYPES.FLOAT32)
    ),
    ("raw", "an output out of range"): lambda p: second_output(p, 900),
    ("raw", "constant out of range"): lambda p: setattr(tensor(p, "feature/kernel"), "buffer", 900),
    ("raw", "constant too short"): lambda p: setattr(
        p.model.buffers[tensor(p, "feature/kernel").buffer],
        "data",
        p.model.buffers[tensor(p, "feature/kernel").buffer].data[:-4],
    ),
    ("raw", "stride 0"): lambda p: setattr(p.graph.operators[0].builtinOptions, "strideH", 0),
    ("raw", "stride 1, so that shapes do not fit"): lambda p: setattr(
        p.graph.operators[0].builtinOptions, "strideH", 1
    ),
    ("raw", "constants that are not aligned"): unaligned,
    ("raw", "reshape to other boxes"): lambda p: reshape(p, "boxes", 1, BOXES // 2, 8),
    ("nms", "max_classes_per_detection missing"): lambda p: detection_options(
        p, max_classes_per_detection=()
    ),
    ("nms", "max_detections missing"): lambda p: detection_options(p, max_detections=()),
    ("nms", "no options at all"): lambda p: setattr(p.graph.operators[-1], "customOptions", None),
    ("nms", "more classes than scores"): lambda p: detection_options(p, num_classes=CLASSES + 1),
    ("nms", "no coding scales"): lambda p: detection_options(p, y_scale=()),
    ("nms", "two classes per detection"): lambda p: detection_options(
        p, max_classes_per_detection=2
    ),
    ("nms", "regular suppression"): lambda p: detection_options(p, use_regular_nms=True),
    ("nms", "scores above 2 only"): lambda p: detection_options(p, nms_score_threshold=2.0),
    ("nms", "anchors of another number"): lambda p: reshape(p, "anchors", BOXES // 2, 8),
    ("nms", "stride 0"): lambda p: setattr(p.graph.operators[0].builtinOptions, "strideH", 0),
    ("raw", "int32 scores"): lambda p: retype(p, "scores", TYPES.INT32),
    ("raw", "results called uint8 that are floats"): lambda p: [
        retype(p, name, TYPES.UINT8) for name in ("boxes", "scores")
    ],
    ("raw", "an input out of range"): lambda p: setattr(
        p.graph, "inputs", np.array([900], np.int32)
    ),
    ("raw", "an image without shape"): lambda p: setattr(tensor(p, "image"), "shape", None),
    # the metadata as a whole
    ("raw", "metadata leads outside itself"): lambda p: (
        setattr(p, "options", None),
        setattr(p, "metadata", b"\xff\xff\xff\x7fM001" + bytes(100)),
    ),
    ("raw", "parser version of letters"): lambda p: p.metadata.update({7: "new"}),
    ("raw", "no metadata"): lambda p: (
        setattr(p, "metadata", None),
        setattr(p, "options", None),
    ),
    ("nms", "no metadata"): lambda p: setattr(p, "metadata", None),
    ("raw", "metadata of another name"): lambda p: setattr(p, "metadata_name", "METADATA"),
    ("raw", "metadata identifier M002"): lambda p: setattr(p, "identifier", b"M002"),
    ("raw", "parser of version 9.9.9 needed"): lambda p: p.metadata.update({7: "9.9.9"}),
    ("raw", "parser of version 1.0.0 needed"): lambda p: p.metadata.update({7: "1.0.0"}),
    ("raw", "parser of version 1.5.0.0 needed"): lambda p: p.metadata.update({7: "1.5.0.0"}),
    ("raw", "parser of version 1.5.0.1 needed"): lambda p: p.metadata.update({7: "1.5.0.1"}),
    ("raw", "parser version not told"): lambda p: p.metadata.pop(7),
    ("raw", "no subgraph in the metadata"): lambda p: (
        setattr(p, "options", None),
        p.metadata.pop(3),
    ),
    ("nms", "no subgraph in the metadata"): lambda p: p.metadata.pop(3),
    # the metadata of the input
    ("nms", "no metadata of the input"): lambda p: p.subgraph.pop(2),
    ("nms", "no content of the input"): lambda p: p.input.pop(3),
    ("nms", "input called otherwise"): lambda p: p.input.update({0: "pixels"}),
    ("nms", "content of the input is a box"): lambda p: p.input.update({3: p.outputs[0][3]}),
    ("nms", "grey colours"): lambda p: p.input[3][1].update({0: BYTE(2)}),
    ("nms", "colours not told"): lambda p: p.input[3][1].pop(0),
    ("nms", "no normalisation"): lambda p: p.input.pop(4),
    ("nms", "uint8 input and no normalisation"): lambda p: (uint8_input(p), p.input.pop(4)),
    ("nms", "normalisation of two values"): lambda p: normalisation(p, [127.5] * 2, [127.5] * 2),
    ("nms", "normalisation of three equal values"): lambda p: normalisation(p, [1] * 3, [2] * 3),
    ("nms", "normalisation by colour"): lambda p: normalisation(
        p, [123.7, 116.3, 103.5], [58.4, 57.1, 57.4]
    ),
    ("nms", "normalisation of means by colour, one deviation"): lambda p: normalisation(
        p, [123.7, 116.3, 103.5], [58.4]
    ),
    ("nms", "normalisation divides by 0"): lambda p: normalisation(p, [0.0], [0.0]),
    ("nms", "normalisation of no value"): lambda p: normalisation(p, [], []),
    ("nms", "normalisation by what is not a number"): lambda p: normalisation(
        p, [0.0], [float("nan")]
    ),
    ("nms", "normalisation by less than 0"): lambda p: normalisation(p, [127.5], [-127.5]),
    ("raw", "normalisation without values"): lambda p: p.input[4][0].pop(1),
    ("nms", "normalised twice"): lambda p: p.input[4].append(p.input[4][0]),
    # the metadata of the outputs
    ("nms", "no metadata of the outputs"): lambda p: p.subgraph.pop(3),
    ("nms", "metadata of three outputs"): lambda p: p.outputs.pop(),
    ("raw", "metadata of one output"): lambda p: p.outputs.pop(),
    ("raw", "metadata of three outputs"): lambda p: p.outputs.append(Record({0: "x"})),
    ("nms", "an output called otherwise"): lambda p: p.outputs[3].update({0: "count"}),
    ("nms", "other names and another order"): lambda p: (
        outputs(p, 2, 0, 3, 1),
        [each.update({0: f"Call:{place}"}) for place, each in enumerate(p.outputs)],
    ),
    ("raw", "outputs called otherwise"): lambda p: [
        each.update({0: f"Identity_{place}"}) for place, each in enumerate(p.outputs)
    ],
    ("raw", "an output without a name"): lambda p: p.outputs[1].pop(0),
    ("nms", "an output without a name"): lambda p: p.outputs[3].pop(0),
    ("nms", "no box properties"): lambda p: p.outputs[0].pop(3),
    ("raw", "no box properties"): lambda p: p.outputs[0].pop(3),
    ("raw", "boxes by their centres"): lambda p: box(p, kind=3),
    ("nms", "boxes by their upper left"): lambda p: box(p, kind=2),
    ("nms", "boxes in pixels"): lambda p: box(p, coordinates=1),
    ("nms", "box index of three"): lambda p: box(p, index=[1, 0, 3]),
    ("raw", "box index of five"): lambda p: box(p, index=[1, 0, 3, 2, 4]),
    ("nms", "no box index"): lambda p: box(p, index=None),
    ("nms", "box index out of range"): lambda p: box(p, index=[1, 0, 3, 9]),
    ("nms", "box index twice the same"): lambda p: box(p, index=[1, 1, 1, 1]),
    # labels
    ("nms", "no labels"): lambda p: (p.outputs[1].pop(6), p.archive.clear()),
    ("raw", "no labels"): lambda p: (p.outputs[1].pop(6), p.archive.clear()),
    ("nms", "labels of the axis instead of the values"): lambda p: p.outputs[1].update(
        {6: labels_file(2)}
    ),
    ("raw", "labels of the values instead of the axis"): lambda p: p.outputs[1].update(
        {6: labels_file(3)}
    ),
    ("nms", "labels named but not there"): lambda p: p.archive.clear(),
    ("raw", "labels under another name"): lambda p: p.archive.update(
        {"classes.txt": p.archive.pop("labels.txt")}
    ),
    ("nms", "labels empty"): lambda p: p.archive.update({"labels.txt": b""}),
    ("nms", "labels of two classes"): lambda p: p.archive.update({"labels.txt": b"red\ngreen\n"}),
    ("raw", "labels of two classes"): lambda p: p.archive.update({"labels.txt": b"red\ngreen\n"}),
    ("raw", "labels of four classes"): lambda p: p.archive.update(
        {"labels.txt": b"red\ngreen\nblue\nbrown\n"}
    ),
    ("raw", "labels without a name"): lambda p: p.outputs[1][6][0].pop(0),
    ("nms", "list of no files"): lambda p: p.outputs[1].update({6: []}),
    ("nms", "archive compressed"): lambda p: setattr(p, "compression", zipfile.ZIP_DEFLATED),
    # scores
    ("nms", "score threshold"): lambda p: process_unit(p, 2, 3, fields={0: FLOAT(0.5)}),
    ("nms", "two score thresholds"): lambda p: (
        process_unit(p, 2, 3, fields={0: FLOAT(0.5)}),
        process_unit(p, 2, 3, fields={0: FLOAT(0.6)}),
    ),
    ("nms", "scores calibrated"): lambda p: calibration(p, b"1.0,1.0,0.0\n" * 2 + b"1.0,1.0,0.0"),
    ("nms", "calibration without its file"): lambda p: calibration(p, None),
    ("nms", "calibration malformed"): lambda p: calibration(p, b"1.0,1.0\n"),
    # anchors and decoding of the raw form
    ("raw", "no detector metadata"): lambda p: setattr(p, "options", None),
    ("raw", "detector metadata of another name"): lambda p: setattr(p, "options_name", "ANCHORS"),
    ("raw", "detector metadata identifier V002"): lambda p: setattr(
        p, "options_identifier", b"V002"
    ),
    ("raw", "detector metadata leads outside itself"): lambda p: setattr(
        p, "options", b"\xff\xff\xff\x7fV001" + bytes(100)
    ),
    ("raw", "detector metadata empty"): lambda p: setattr(p, "options", b""),
    ("raw", "no decoding"): lambda p: p.options.pop(2),
    ("raw", "no anchors"): lambda p: p.options.pop(1),
    ("raw", "no list of anchors"): lambda p: p.options[1].pop(0),
    ("raw", "list of no anchors"): lambda p: p.anchors.clear(),
    ("raw", "an anchor less"): lambda p: p.anchors.pop(),
    ("raw", "one anchor alone"): lambda p: p.anchors.__setitem__(slice(None), p.anchors[:1]),
    ("raw", "an anchor that is not a number"): lambda p: p.anchors[0].update({0: FLOAT("nan")}),
    ("raw", "an anchor more"): lambda p: p.anchors.append(p.anchors[0]),
    ("raw", "more classes than scores"): lambda p: p.decoding.update({0: np.int32(CLASSES + 1)}),
    ("raw", "fewer classes than scores"): lambda p: p.decoding.update({0: np.int32(CLASSES - 1)}),
    ("raw", "classes not told"): lambda p: p.decoding.pop(0),
    ("raw", "0 boxes"): lambda p: p.decoding.pop(1),
    ("raw", "fewer boxes than the output"): lambda p: p.decoding.update({1: np.int32(BOXES - 1)}),
    ("raw", "five coordinates"): lambda p: p.decoding.update({2: np.int32(5)}),
    ("raw", "a keypoint"): lambda p: p.decoding.update({2: np.int32(6), 4: np.int32(1)}),
    ("raw", "values per keypoint not told"): lambda p: p.decoding.pop(5),
    ("raw", "three values per keypoint"): lambda p: p.decoding.update({5: np.int32(3)}),
    ("raw", "coding scale 0"): lambda p: p.decoding.update({6: FLOAT(0)}),
    ("raw", "boxes without exponential"): lambda p: p.decoding.update({10: np.bool_(False)}),
    ("raw", "sigmoid twice"): lambda p: p.decoding.update({11: np.bool_(True)}),
}

#: What is done to the bytes of a good file.
DAMAGED: dict[tuple[str, str], Damage] = {
    ("raw", "empty"): lambda c: b"",
    ("raw", "seven bytes"): lambda c: c[:7],
    ("raw", "half the file"): lambda c: c[: len(c) // 2],
    ("nms", "nine tenths of the model"): lambda c: c[: archive_offset(c) * 9 // 10],
    ("nms", "last byte of the archive missing"): lambda c: c[:-1],
    ("nms", "archive of another kind"): lambda c: c.replace(b"PK\x05\x06", b"PK\x05\x07"),
    ("nms", "archive's list damaged"): lambda c: c.replace(b"PK\x01\x02", b"PK\x01\x03"),
    ("nms", "archive's file damaged"): lambda c: c.replace(b"PK\x03\x04", b"PK\x03\x05"),
    ("nms", "sizes in the archive that contradict each other"): lambda c: overwrite(
        archive_offset(c) + 22, b"\x01"
    )(c),
    ("nms", "zeros behind the file"): lambda c: c + bytes(100),
    ("raw", "another file before it"): lambda c: b"x" * 16 + c,
    ("raw", "text"): lambda c: b"<html><body>404 Not Found</body></html>" * 20,
    ("raw", "identifier TFL2"): overwrite(4, b"TFL2"),
    ("raw", "root outside the file"): overwrite(0, b"\xff\xff\xff\x7f"),
    ("raw", "zeros at the start"): overwrite(8, bytes(64)),
    ("raw", "zeros in the middle"): overwrite(0.5, bytes(64)),
    ("raw", "ones in the middle"): overwrite(0.6, b"\xff" * 32),
    ("nms", "ones in the middle"): overwrite(0.7, b"\xff" * 2),
}


def mutant(form: str, name: str) -> bytes:
    """One file of the table."""
    parts = FORMS[form]()
    if (form, name) in DAMAGED:
        return DAMAGED[form, name](parts.pack())
    ALTERED[form, name](parts)
    return parts.pack()


def mutants() -> dict[str, bytes]:
    """All files, by form and name."""
    return {f"{form}: {name}": mutant(form, name) for form, name in (*ALTERED, *DAMAGED)}
