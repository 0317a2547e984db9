"""Each client that opens .tflite files, and what it says of one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from ..tflite.flatbuffer import DamagedBuffer
from ..tflite.schema import DETECTION_NAME
from .attempt import Attempt, AttemptProcess
from .delegation import delegation_findings
from .file_metadata import (
    METADATA_IDENTIFIER,
    METADATA_NAME,
    FileMetadata,
    read_metadata,
)
from .finding import Diagnosis, Finding
from .inspected_file import InspectedFile, Subgraph
from .mediapipe_contract import mediapipe_findings
from .mediapipe_tensors import Detector
from .model_verifier import verify_offsets, verify_parts

ALIGNMENT = 16  # of constants, as schema.fbs asks for
#: Custom operators that MediaPipe brings, and the runtime of the attempt does not
#: (mediapipe/tasks/cc/core/mediapipe_builtin_op_resolver.cc).
MEDIAPIPE_OPERATORS = frozenset(
    (
        *("MaxPoolingWithArgmax2D", "MaxUnpooling2D", "Convolution2DTransposeBias"),
        *("TransformTensorBilinear", "TransformLandmarks", "Landmarks2TransformMatrix"),
        *("NGramHash", "KmeansEmbeddingLookup"),
    )
)


@dataclass(frozen=True, slots=True)
class Inspection:
    """A file that is in order, and how its attempt went."""

    file: InspectedFile
    attempt: Attempt


Rule: TypeAlias = Callable[[Inspection], Iterator[Finding]]


def diagnose(content: bytes, client: str, attempts: AttemptProcess) -> Diagnosis:
    """What a client does with a file, and why.

    Args:
        client: a key of :data:`CLIENTS`.
        attempts: where the file is run once, if its parts fit.
    """
    try:
        file = _verified(content)
    except DamagedBuffer as error:
        damage = Finding(
            "refuses",
            "file",
            "a whole TensorFlow Lite file",
            str(error),
            "download or convert it again",
        )
        return Diagnosis.of(client, [damage], None)
    inspection = Inspection(file, attempts.run(file))
    findings = [found for rule in CLIENTS[client] for found in rule(inspection)]
    return Diagnosis.of(client, findings, inspection.attempt.partitions)


def _verified(content: bytes) -> InspectedFile:
    verify_offsets(content)
    file = InspectedFile(content)
    verify_parts(file)
    return file


def _alignment(inspection: Inspection) -> Iterator[Finding]:
    file = inspection.file
    starts = [file.start_of(data) for data in file.buffers if data is not None and data.size]
    crooked = sum(start % ALIGNMENT != 0 for start in starts)
    if crooked:
        yield Finding(
            "warns",
            "alignment",
            f"constants at multiples of {ALIGNMENT} bytes, so that they are used where they stand",
            f"{crooked} of {len(starts)} are not",
            "write the file with aligned buffers (flatbuffers' force_align), as our export does",
        )


def _attempt(inspection: Inspection) -> Iterator[Finding]:
    attempt = inspection.attempt
    if attempt.stage == "ran":
        return
    if attempt.stage == "untried":
        yield Finding("notes", "graph", "a run of the file", f"not run here: {attempt.message}")
        return
    yield Finding(
        "refuses" if attempt.stage == "nothing" else "fails",
        "graph",
        "a graph that the runtime can load and run",
        attempt.message,
        "use builtin operators, with shapes and types that fit; convert the model again",
    )


def _metadata(file: InspectedFile) -> FileMetadata | Finding | None:
    """The metadata, what is wrong with it, or None if there is none."""
    found = file.metadata(METADATA_NAME)
    if found is None:
        return None
    content = found.tobytes()
    needs = f"metadata with the identifier {METADATA_IDENTIFIER.decode()}"
    change = "write the metadata again, with `mnasfpn export`"
    if content[4:8] != METADATA_IDENTIFIER:
        return Finding("refuses", "metadata", needs, repr(content[4:8]), change)
    try:
        return read_metadata(content)
    except DamagedBuffer as error:
        return Finding("refuses", "metadata", "whole metadata", str(error), change)


def _mediapipe_attempt(inspection: Inspection) -> Iterator[Finding]:
    """The same, but for operators that only MediaPipe has."""
    own = {each.name for each in inspection.file.main.operators if each.custom}
    if not own & MEDIAPIPE_OPERATORS:
        yield from _attempt(inspection)
    else:
        yield Finding(
            "notes",
            "operators",
            "a run of the file",
            f"not run here: {', '.join(sorted(own & MEDIAPIPE_OPERATORS))} come with MediaPipe",
        )


def _mediapipe(inspection: Inspection) -> Iterator[Finding]:
    metadata = _metadata(inspection.file)
    if isinstance(metadata, Finding):
        yield metadata
        return
    yield from mediapipe_findings(Detector(inspection.file, metadata, inspection.attempt.outputs))
    yield from _post_process(inspection.file.main)


def _post_process(graph: Subgraph) -> Iterator[Finding]:
    if any(each.name == DETECTION_NAME for each in graph.operators):
        return
    yield Finding(
        "notes",
        "outputs",
        "suppression of overlapping boxes",
        "none inside: MediaPipe suppresses across classes, at an overlap of 0.3 unless the app "
        "says otherwise",
    )


def _android(inspection: Inspection) -> Iterator[Finding]:
    yield Finding(
        "notes",
        "file",
        "a file that the app can map into memory",
        "not visible in the file itself",
        'in Gradle: androidResources { noCompress += "tflite" }',
    )
    yield from delegation_findings(inspection.file.main, "notes")


def _signature(inspection: Inspection) -> Iterator[Finding]:
    if not inspection.file.signatures:
        yield Finding(
            "notes",
            "graph",
            "a signature, so that inputs and outputs are found by name",
            "none; they are found by their place",
        )


def _tensors(inspection: Inspection) -> Iterator[Finding]:
    graph = inspection.file.main
    for part, places in (("input", graph.inputs), ("outputs", graph.outputs)):
        for index in places or ():
            tensor = graph.tensor(index)
            if tensor is None:
                continue
            described = f"{tensor.name!r} {tensor.dtype} {list(tensor.shape or ())}"
            if tensor.dtype in ("int8", "uint8") and not tensor.quantised:
                yield Finding(
                    "warns",
                    part,
                    "scale and zero point of integers",
                    described + " has none",
                    "export with float32 inputs and outputs",
                )
            else:
                yield Finding("notes", part, "type and shape", described)


def _described(inspection: Inspection) -> Iterator[Finding]:
    if inspection.file.metadata(METADATA_NAME) is None:
        yield Finding(
            "notes",
            "metadata",
            "the range of pixels, classes and boxes, which this client does not read",
            "not in the file: whoever writes the app must be told",
        )


def _gpu(inspection: Inspection) -> Iterator[Finding]:
    yield from delegation_findings(inspection.file.main)
    yield Finding(
        "notes",
        "operators",
        "the GPU accelerator's own Android artifact (LiteRT 2.3 and later)",
        "not visible in the file; without it (GPU, CPU) runs on the CPU and reports GPU",
        "add the artifact, and measure",
    )


def _play_services(inspection: Inspection) -> Iterator[Finding]:
    own = sorted(
        {each.name for each in inspection.file.main.operators if each.custom} - {DETECTION_NAME}
    )
    if own:
        yield Finding(
            "refuses",
            "operators",
            "operators of the runtime in Google Play services",
            f"custom: {', '.join(own)}",
            "use builtin operators, or bring the runtime with the app (LiteRT)",
        )


#: Client -> its rules, in the order in which they are told.
CLIENTS: dict[str, tuple[Rule, ...]] = {
    "mediapipe": (_alignment, _mediapipe_attempt, _tensors, _mediapipe),
    "mediapipe-android": (_alignment, _mediapipe_attempt, _tensors, _mediapipe, _android),
    "litert-cpu": (_alignment, _attempt, _signature, _tensors, _described),
    "litert-gpu": (_alignment, _attempt, _gpu, _signature, _tensors, _described),
    "play-services": (_alignment, _attempt, _play_services, _tensors, _described),
}
