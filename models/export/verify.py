"""Proof of an export: the file on held-out images, beside the network that was trained.

A file is refused where its outputs are further from the network's than its precision allows, where
average precision falls by more than was allowed, or where there was nothing to compare: a network
whose outputs hardly differ from anchor to anchor agrees with anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ...errors import JobFailed
from ...progress import Progress, silent
from ..arrays import AnyFloats, Floats
from ..detection.anchors import anchors_for
from ..detection.box_coding import clip, decode
from ..detection.client_detections import (
    by_mediapipe,
    counterparts_missing,
    in_pixels,
    post_processed,
)
from ..detection.suppression import Detections, detect
from ..evaluation.coco_metrics import mean_precision
from ..evaluation.predictors import Predictor, tflite_finder, tflite_predictor
from .convert import Precision
from .judged_images import HeldOut
from .metadata import Form

CONFIDENT = 0.3  # score from which an application would show a box
#: Standard deviation over the anchors, of codes and of scores as logits, below which a comparison
#: says nothing. Weights at the start of a training, as published, have about 1e-8.
LEAST_SPREAD = 1e-3
MAX_AP_DROP = 0.02
#: Between the operator inside a file and our own computation from the same file's raw outputs.
SAME_BOX, SAME_SCORE = 1e-4, 1e-5


@dataclass(frozen=True, slots=True)
class Tolerances:
    """Largest differences from the trained network.

    Args:
        scores: of any anchor and class.
        boxes: of a corner, as a share of the image, where the network is confident.
    """

    scores: float
    boxes: float


#: About five times what the paper's detector, trained on blood cells, differs by.
TOLERANCES: dict[Precision, Tolerances] = {
    "float32": Tolerances(scores=1e-4, boxes=1e-4),
    "float16": Tolerances(scores=0.01, boxes=0.002),
    "dynamic": Tolerances(scores=0.3, boxes=0.05),
    "int8": Tolerances(scores=0.5, boxes=0.15),
}


@dataclass(frozen=True, slots=True)
class Precisions:
    """COCO's average precision on the held-out images.

    Args:
        trained: of the network under COCO's usual suppression.
        before: of the network, suppressed as the file's client does it.
        after: of the file, by that client.
        before50, after50: the same at IoU 0.5.
    """

    trained: float
    before: float
    after: float
    before50: float
    after50: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """A file beside its network.

    Args:
        images: compared.
        code_spread, score_spread: of the network's codes, and its scores as logits.
        max_code_difference, max_score_difference: of all anchors and classes.
        confident_boxes: anchors at which the network's score is at least 0.3.
        max_box_difference: of their corners, as a share of the image; None if there are none.
        suppressed_otherwise: detections of the file's own operator that are not among those that
            we compute of its raw outputs; 0 in the raw form, which has none.
        average_precision: None where nobody knows what is in the images.
    """

    images: int
    code_spread: float
    score_spread: float
    max_code_difference: float
    max_score_difference: float
    confident_boxes: int
    max_box_difference: float | None
    suppressed_otherwise: int
    average_precision: Precisions | None

    def faults(self, precision: Precision, max_ap_drop: float) -> tuple[str, ...]:
        """Why the file must not ship; none if it may."""
        allowed = TOLERANCES[precision]
        found = [
            f"{what} differ by {value:.2g}, and {precision} allows {limit:g}"
            for what, value, limit in (
                ("scores", self.max_score_difference, allowed.scores),
                ("corners of boxes", self.max_box_difference or 0.0, allowed.boxes),
            )
            if not value <= limit
        ]
        if self.suppressed_otherwise:
            found.append(
                f"{self.suppressed_otherwise} detections of its own suppression are not those that "
                "its raw outputs give"
            )
        precisions = self.average_precision
        if precisions and not precisions.before - precisions.after <= max_ap_drop:
            found.append(
                f"average precision falls from {precisions.before:.4f} to {precisions.after:.4f}, "
                f"by more than {max_ap_drop:g}"
            )
        return tuple(found)


@dataclass
class _Differences:
    """Collects what :class:`Comparison` says of raw outputs."""

    codes: list[float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    corners: list[float] = field(default_factory=list)
    spreads: list[tuple[float, float]] = field(default_factory=list)

    def add(
        self,
        expected: tuple[AnyFloats, AnyFloats],
        found: tuple[AnyFloats, AnyFloats],
        anchors: Floats,
    ) -> None:
        """One image's codes [N, 4] and scores [N, classes + 1]."""
        classes = np.clip(expected[1][:, 1:], 1e-7, 1 - 1e-7)
        self.spreads.append(
            (float(expected[0].std()), float(np.log(classes / (1 - classes)).std()))
        )
        self.codes.append(float(np.abs(found[0] - expected[0]).max()))
        self.scores.append(float(np.abs(found[1] - expected[1])[:, 1:].max()))
        sure = expected[1][:, 1:].max(axis=1) >= CONFIDENT
        moved = clip(decode(found[0], anchors)) - clip(decode(expected[0], anchors))
        self.corners.extend(np.abs(moved[sure]).max(axis=1).tolist())


def compare(
    original: Predictor,
    raw: bytes,
    content: bytes,
    form: Form,
    held_out: HeldOut,
    progress: Progress = silent,
) -> Comparison:
    """A file with its network.

    Args:
        original: the network as it was trained.
        raw: the file's network in the raw form.
        content: the file; of the raw form it is the same.
        held_out: images that neither training nor calibration has seen.

    Raises:
        JobFailed: the network's outputs hardly differ from one another.
    """
    exported = tflite_predictor(raw)
    inside = tflite_finder(content) if form == "nms" else None
    anchors = anchors_for(exported.input_size, exported.boxes)
    differences, suppressed_otherwise = _Differences(), 0
    trained, before, after = [], [], []
    for image, size in zip(held_out, held_out.sizes, strict=True):

        def client(codes: AnyFloats, scores: AnyFloats, size: tuple[int, int] = size) -> Detections:
            if inside is not None:
                return post_processed(codes, scores, anchors)
            return in_pixels(by_mediapipe(codes, scores, anchors), size)

        (codes,), (scores,) = original.predict(image)
        (found_codes,), (found_scores,) = exported.predict(image)
        expected, found = (codes, scores), (found_codes, found_scores)
        differences.add(expected, found, anchors)
        trained.append(detect(codes, scores, anchors))
        before.append(client(*expected))
        after.append(client(*found))
        if inside is not None:
            (detections,) = inside.find(image)
            missing = counterparts_missing(detections, after[-1], SAME_BOX, SAME_SCORE)
            suppressed_otherwise += len(missing)
            after[-1] = detections
        progress(len(after), len(held_out), "")
    code_spread, score_spread = np.mean(differences.spreads, axis=0).tolist()
    if not min(code_spread, score_spread) >= LEAST_SPREAD:
        raise JobFailed(
            f"the network says nearly the same everywhere (standard deviation {code_spread:.2g} of "
            f"box codes, {score_spread:.2g} of logits, at least {LEAST_SPREAD:g} expected), so a "
            "comparison would prove nothing; export weights that were trained"
        )
    return Comparison(
        images=len(after),
        code_spread=code_spread,
        score_spread=score_spread,
        max_code_difference=max(differences.codes),
        max_score_difference=max(differences.scores),
        confident_boxes=len(differences.corners),
        max_box_difference=max(differences.corners, default=None),
        suppressed_otherwise=suppressed_otherwise,
        average_precision=_average_precision(held_out, trained, before, after),
    )


def _average_precision(held_out: HeldOut, *found: list[Detections]) -> Precisions | None:
    """Of the network, the network as the client sees it, and the file; None without truth."""
    split = held_out.split
    if split is None or not any(len(example.boxes) for example in split.examples):
        return None
    trained, before, after = (
        mean_precision(
            split, {e.image_id: d for e, d in zip(split.examples, detections, strict=True)}
        )
        for detections in found
    )
    return Precisions(trained.map, before.map, after.map, before.map50, after.map50)
