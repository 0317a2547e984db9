"""What MediaPipe's ObjectDetector asks of the anchors of a file without suppression inside.

mediapipe/tasks/cc/components/processors/detection_postprocessing_graph.cc;
mediapipe/calculators/tensor/tensors_to_detections_calculator.cc.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from . import file_metadata as md
from .file_metadata import Decoding, FileMetadata
from .finding import Finding
from .mediapipe_tensors import Detector


def anchor_findings(
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
    scales = ", ".join(f"{scale:g}" for scale in decoding.scales)
    yield Finding(
        "notes",
        "anchors",
        "anchors, and scales by which x, y, w, h are divided",
        f"{len(found.anchors):,} anchors; {scales}",
    )
    yield from _anchor_count(found.anchors, decoding)
    yield from _shapes_raw(detector, decoding, order)
    yield from _scales(decoding)


def _anchor_count(anchors: tuple[tuple[float, ...], ...], decoding: Decoding) -> Iterator[Finding]:
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
