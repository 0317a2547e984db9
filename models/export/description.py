"""``NAME.json`` beside ``NAME.tflite``: all that an application needs that has no MediaPipe."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from ..arrays import Floats
from ..detection.box_coding import CODE_SCALES
from ..detection.client_detections import IN_FILE, MEDIAPIPE
from .convert import INPUT, OUTPUTS, Precision
from .metadata import PIXEL_MEAN, PIXEL_STD, Form
from .post_process import DETECTION_OUTPUTS

if TYPE_CHECKING:
    from ..training.run_folder import TrainingRun

DESCRIPTION_SCHEMA = "mnasfpn-shipped-1"


@dataclass(frozen=True, slots=True)
class Input:
    """Of the file: value = (pixel - mean) / std of RGB pixels from 0 to 255."""

    name: str
    shape: tuple[int, int, int, int]
    range: tuple[float, float] = (-1.0, 1.0)
    mean: float = PIXEL_MEAN
    std: float = PIXEL_STD
    dtype: str = "float32"
    channels: str = "RGB"
    resize: str = (
        "the whole image stretched to the input's size, its aspect not kept: bilinear between the "
        "four nearest pixels, pixel centres at halves, no filter against aliasing"
    )


@dataclass(frozen=True, slots=True)
class Output:
    """One output of the file, in its order."""

    name: str
    shape: tuple[int, ...]
    meaning: str


@dataclass(frozen=True, slots=True)
class Suppression:
    """``inside``: the file does it. Otherwise: what MediaPipe does with its outputs."""

    inside: bool
    score: float
    iou: float
    most: int
    across_classes: bool


@dataclass(frozen=True, slots=True)
class BoxCoding:
    """How codes become boxes; docs/decoding.md has it as a program."""

    scales: tuple[float, float, float, float]
    formula: str = (
        "yc = ty / scales[0] * ha + ya; xc = tx / scales[1] * wa + xa; "
        "h = exp(th / scales[2]) * ha; w = exp(tw / scales[3]) * wa, "
        "for an anchor (ya, xa, ha, wa)"
    )


@dataclass(frozen=True, slots=True)
class TrainingData:
    """What the weights come from."""

    recipe: str
    images: int
    seed: int
    digest: str
    validated_map: float | None


@dataclass(frozen=True, slots=True)
class Latency:
    """Of the network on the device of a profile, without the suppression inside a file."""

    profile: str
    milliseconds: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Description:
    """What a file is and how it is used.

    Args:
        sha256: of the file.
        classes: names; class 0 of the file is the first.
        anchors: (yc, xc, h, w) as shares of the image, one for each box of the raw form.
        training: None for weights that nobody trained.
        latency: None where no profile was given, or it does not cover the file's arithmetic.
    """

    file: str
    sha256: str
    form: Form
    precision: Precision
    input: Input
    outputs: tuple[Output, ...]
    classes: tuple[str, ...]
    suppression: Suppression
    box_coding: BoxCoding
    anchors: list[list[float]]
    training: TrainingData | None
    latency: Latency | None
    schema: str = DESCRIPTION_SCHEMA

    def to_json(self) -> str:
        """Every field on a line of its own, the anchors on one."""
        fields = msgspec.to_builtins(self)
        lines = (
            f"  {msgspec.json.encode(name).decode()}: {msgspec.json.encode(value).decode()}"
            for name, value in fields.items()
        )
        return "{\n" + ",\n".join(lines) + "\n}\n"


def describe(
    content: bytes,
    file: str,
    form: Form,
    precision: Precision,
    size: int,
    classes: Sequence[str],
    anchors: Floats,
    training: TrainingData | None,
    latency: Latency | None,
) -> Description:
    """Of a finished file."""
    settings = MEDIAPIPE if form == "raw" else IN_FILE
    return Description(
        file=file,
        sha256=hashlib.sha256(content).hexdigest(),
        form=form,
        precision=precision,
        input=Input(INPUT, (1, size, size, 3)),
        outputs=_outputs(form, len(anchors), len(classes), settings.total),
        classes=tuple(classes),
        suppression=Suppression(
            inside=form == "nms",
            score=settings.score,
            iou=settings.iou,
            most=settings.total,
            across_classes=form == "raw",
        ),
        box_coding=BoxCoding(tuple(CODE_SCALES.tolist())),
        # Shortest digits that give back the same float32.
        anchors=anchors.astype(str).astype(float).tolist(),
        training=training,
        latency=latency,
    )


def _outputs(form: Form, boxes: int, classes: int, most: int) -> tuple[Output, ...]:
    if form == "raw":
        meanings = (
            "codes (ty, tx, th, tw) of each anchor's box",
            "of each anchor and class, from 0 to 1; there is no background",
        )
        shapes: tuple[tuple[int, ...], ...] = ((1, boxes, 4), (1, boxes, classes))
        return tuple(map(Output, OUTPUTS, shapes, meanings))
    meanings_inside = (
        "(ymin, xmin, ymax, xmax) as shares of the image, not cut to it",
        "index into classes, as a float",
        "from 0 to 1, falling",
        "how many rows are detections; the others are zeros",
    )
    shapes = ((1, most, 4), (1, most), (1, most), (1,))
    return tuple(map(Output, DETECTION_OUTPUTS, shapes, meanings_inside))


def training_data(run: TrainingRun) -> TrainingData:
    """Of a run."""
    settings = run.settings
    return TrainingData(
        recipe=settings.recipe.name,
        images=settings.images,
        seed=settings.seed,
        digest=settings.data,
        validated_map=max((each.map for each in run.validated), default=None),
    )
