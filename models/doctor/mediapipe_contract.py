"""What MediaPipe Tasks' ObjectDetector asks of a file, rule by rule.

Read from its source (the files are named in the modules of the rules; here: mediapipe/tasks/cc,
core/model_resources.cc and metadata/metadata_extractor.cc), and held against what the wheel does
with each file of tests/models/doctor/mutations.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from . import file_metadata as md
from .file_metadata import FileMetadata, TensorMetadata
from .finding import Finding
from .mediapipe_anchors import anchor_findings
from .mediapipe_metadata import (
    METADATA_FIX,
    box_findings,
    input_findings,
    label_findings,
    score_findings,
)
from .mediapipe_tensors import Detector, shape_findings, tensor_findings

PARSER_VERSION = (1, 5)  # of the metadata that the wheel understands
LEADING_NUMBER = re.compile(r"\s*[+-]?\d+")  # as std::stoi reads it
RAW, NMS = ("location", "score"), ("location", "category", "score", "number of detections")


def mediapipe_findings(detector: Detector) -> Iterator[Finding]:
    """All that the contract says of a file whose offsets are in order."""
    yield from tensor_findings(detector)
    yield from _metadata(detector)
    metadata = detector.metadata
    if metadata is None or not metadata.has_subgraph:
        return
    yield from input_findings(detector, metadata)
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
    numbers = [int(found[0]) for part in parts if (found := LEADING_NUMBER.match(part))]
    if len(numbers) < len(parts):
        yield Finding(
            "refuses",
            "metadata",
            "a version of numbers",
            f"{metadata.parser_version!r}; MediaPipe crashes",
            METADATA_FIX,
        )
        return
    while numbers and not numbers[-1]:  # 1.5.0.0 is 1.5
        numbers.pop()
    if tuple(numbers) > PARSER_VERSION:
        yield Finding(
            "refuses",
            "metadata",
            f"metadata for parsers of version {'.'.join(map(str, PARSER_VERSION))} or before",
            metadata.parser_version,
            "update mediapipe, or write the metadata for an older version",
        )


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
    yield from box_findings(outputs[order[0]], inside)
    yield from label_findings(detector, metadata, outputs[order[1]], inside)
    yield from score_findings(detector, outputs[order[2 if inside else 1]], inside)
    if inside:
        yield from shape_findings(detector, order)
    else:
        yield from anchor_findings(detector, metadata, order)
