"""``mnasfpn export``: a model as a .tflite that an app's loader takes, with proof of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...errors import InvalidInput
from .. import options
from ..console import command, progress, say

if TYPE_CHECKING:
    from ...models.arrays import Floats
    from ...models.data.coco import CocoSplit
    from ...models.export.export import ExportReport, Predict, Shipment

CALIBRATED_ON = "train"


@command
@click.argument("model")
@options.choice(
    "--precision",
    ("float32", "float16", "dynamic", "int8"),
    "Of the weights; dynamic: int8 weights; int8: all of it.",
)
@click.option("--nms", is_flag=True, help="Decode and suppress inside the file: four outputs.")
@click.option("--labels", type=options.FILE, help="A line for each class, instead of the run's.")
@options.dataset
@options.text("--split", "val", "Its part to judge the file on.")
@options.count("--count", 32, "Images of it to judge on; and of 'train' to calibrate int8 on.")
@options.number("--max-ap-drop", 0.02, "Average precision that the file may lose.", least=0)
@click.option("--profile", help="A device's, for the latency that it predicts.")
@options.output("--out", "A name that ends in .tflite.")
@options.seed
def export(
    model: str,
    precision: Any,
    nms: bool,
    labels: Path | None,
    data: Path | None,
    train_json: Path | None,
    val_json: Path | None,
    images: Path | None,
    skip_bad: bool,
    split: str,
    count: int,
    max_ap_drop: float,
    profile: str | None,
    out: Path,
    seed: int,
    as_json: bool,
) -> Any:
    """A trained model as .tflite, judged on held-out images.

    MODEL is the folder of a finished training; or any model that can be trained, with random
    weights. Without a dataset two sample photographs are what is compared on.
    """
    from ...models.data.coco import read_coco
    from ...models.export.export import export as export_detector
    from ...models.export.judged_images import (
        HeldOut,
        calibration_images,
        drawn,
        sample_photographs,
    )
    from ..datasets import part_of

    files = (data, train_json, val_json, images)
    given = any(files)
    if precision == "int8" and not given:
        raise InvalidInput(
            "int8 needs images to find the ranges of its numbers; give --data with the dataset the "
            "model was trained on"
        )
    if precision == "int8" and split == CALIBRATED_ON:
        raise InvalidInput(
            f"the part {split!r} is what int8 is calibrated on; judge the file on another with "
            "--split"
        )
    shipment, classes = _shipment(model, precision, nms, labels, seed)
    size = shipment.detector.input_size

    def read(part: str) -> CocoSplit:
        where = part_of(part, *files)
        found = read_coco(where, part, classes, skip_bad=skip_bad, progress=report)
        return drawn(found, count, seed)

    with progress("judging", quiet=as_json) as report:
        calibration: Floats | None = None
        if precision == "int8":
            calibration = calibration_images(read(CALIBRATED_ON), size, count, seed)
        if given:
            held_out = HeldOut(size, read(split))
        else:
            held_out = HeldOut(size, photographs=sample_photographs(size, count, seed))
        found = export_detector(
            shipment,
            out,
            held_out,
            calibration,
            max_ap_drop,
            _predict(profile) if profile else None,
            report,
        )
    if not as_json:
        _print(out, found, split if given else None)
    return {"report": found}


def _shipment(
    model: str, precision: Any, nms: bool, labels: Path | None, seed: int
) -> tuple[Shipment, tuple[str, ...] | None]:
    """A run's detector and weights, or a named detector with random ones; and the classes' names
    in the data that it was trained on, if it was."""
    from ...models.export.description import training_data
    from ...models.export.export import Shipment
    from ...models.graph.weights import balanced_weights
    from ...models.model_files import named_detector
    from ...models.training.run_folder import is_run, load_run

    classes, training = None, None
    if is_run(model):
        run = load_run(model)
        detector, weights = run.detector, run.weights
        classes, training = run.settings.classes, training_data(run)
    else:
        detector = named_detector(model)
        weights = balanced_weights(detector.graph(), seed)
    names = classes or tuple(f"class {number}" for number in range(1, detector.classes + 1))
    shipment = Shipment(
        detector,
        weights,
        _lines(labels) if labels else names,
        precision,
        "nms" if nms else "raw",
        training,
    )
    return shipment, classes


def _lines(path: Path) -> tuple[str, ...]:
    try:
        return tuple(path.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(
            f"{path}: cannot be read as labels ({error}); expected a text file with the name of a "
            "class on each line"
        ) from None


def _predict(name: str) -> Predict:
    """A profile's latency of a network; None where the profile does not know its arithmetic."""
    from ...errors import NotCovered
    from ...latency.estimate.estimate import Estimator
    from ...latency.profiles import open_profile
    from ...models.export.description import Latency
    from ...models.graph.graph import Graph

    estimator = Estimator(open_profile(name))

    def predict(graph: Graph) -> Latency | None:
        try:
            value = estimator.estimate(graph)
        except NotCovered:
            return None
        return Latency(name, value.latency_ms, value.low_ms, value.high_ms)

    return predict


def _print(out: Path, report: ExportReport, split: str | None) -> None:
    found = report.comparison
    operators = sum(report.operators.values())
    custom = f" and {', '.join(report.custom_operators)}" if report.custom_operators else ""
    where = f"images of {split!r}" if split else "sample photographs"
    say(
        f"{out}: {report.size_bytes / 1e6:.2f} MB, {operators} builtin operators{custom} in "
        f"{report.partitions} delegate partitions\n"
        f"compared with the trained network on {found.images} {where}: scores differ by at most "
        f"{found.max_score_difference:.2g}, box codes by {found.max_code_difference:.2g}"
    )
    if found.max_box_difference is not None:
        say(
            f"  corners of {found.confident_boxes} confident boxes differ by at most "
            f"{found.max_box_difference:.2g} of the image"
        )
    if (precisions := found.average_precision) is not None:
        client = "the file's own suppression" if report.form == "nms" else "MediaPipe's suppression"
        say(
            f"  AP with {client} {precisions.before:.4f} before and {precisions.after:.4f} after "
            f"(AP50 {precisions.before50:.4f} and {precisions.after50:.4f}); with COCO's usual one "
            f"{precisions.trained:.4f} before"
        )
    if report.noisiest:
        worst = ", ".join(f"{each.tensor} {each.snr_db:.0f} dB" for each in report.noisiest)
        say(f"  most was lost in {worst}")
    if (latency := report.latency) is not None:
        say(
            f"  {latency.profile}: {latency.milliseconds:.2f} ms ({latency.low:.2f} to "
            f"{latency.high:.2f} ms)"
        )
