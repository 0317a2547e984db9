"""``mnasfpn export``: a model as .tflite, with proof that it does what Keras does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...errors import InvalidInput
from .. import options
from ..console import command, say

if TYPE_CHECKING:
    from ...models.detector import Detector
    from ...models.graph.weights import Weights


@command
@click.argument("model")
@options.choice(
    "--precision",
    ("float32", "float16", "int8"),
    "Of the file's weights; int8: of everything in it.",
)
@click.option("--data", type=options.FILE, help="Images to calibrate int8 on and to compare on.")
@options.text("--split", "train", "Which of its images.")
@options.count("--images", 32, "How many of them.")
@click.option("--out", type=options.FILE, required=True, help="A name that ends in .tflite.")
@options.seed
def export(
    model: str,
    precision: Any,
    data: Path | None,
    split: str,
    images: int,
    out: Path,
    seed: int,
    as_json: bool,
) -> Any:
    """A trained model as .tflite, compared with Keras.

    MODEL is the folder of a finished training; or any model that can be trained, with random
    weights.
    """
    from ...models.data.coco import read_coco
    from ...models.export.convert import sample_images, sample_photographs
    from ...models.export.verify import export as export_detector

    if precision == "int8" and data is None:
        raise InvalidInput(
            "int8 needs images to find the ranges of its numbers; give --data with the dataset the "
            "model was trained on"
        )
    detector, weights = _trained(model, seed)
    size = detector.input_size
    chosen = (
        sample_images(read_coco(data, split), size, images, seed)
        if data
        else sample_photographs(size, images, seed)
    )
    report = export_detector(detector, weights, out, chosen, precision)
    if not as_json:
        say(
            f"{out}: {report.size_bytes / 1e6:.2f} MB, {sum(report.operators.values())} operators, "
            f"all builtin\ncompared with Keras on {report.images} images: scores differ by at most "
            f"{report.max_score_difference:.2g}, box codes by {report.max_code_difference:.2g}"
        )
    return {"report": report}


def _trained(model: str, seed: int) -> tuple[Detector, Weights]:
    """A run's detector and weights; or a named detector with random ones."""
    from ...models.graph.weights import random_weights
    from ...models.model_files import named_detector
    from ...models.training.run_folder import is_run, load_run

    if is_run(model):
        run = load_run(model)
        return run.detector, run.weights
    detector = named_detector(model)
    return detector, random_weights(detector.graph(), seed)
