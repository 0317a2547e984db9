"""Profile, train, evaluate and export: from what a person types to what the folders do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InvalidInput
from ..models.detector import Detector
from ..models.model_files import resolve

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..models.evaluation.coco_metrics import MeanPrecision
    from ..models.export.convert import Precision
    from ..models.export.verify import ExportReport
    from ..models.graph.weights import Weights
    from ..models.training.run_folder import TrainingRun

Progress = Callable[[int, int, str], None]


def named_detector(text: str) -> Detector:
    """The detector that a text names.

    Raises:
        InvalidInput: it names a .tflite, which cannot be trained or exported again.
    """
    resolved = resolve(text)
    if resolved.detector is None:
        raise InvalidInput(
            f"{text} is an exported model; expected a published name, a genotype or detector "
            ".json, or the folder of a training run"
        )
    return resolved.detector


def train_model(
    model: str,
    data: Path,
    split: str,
    recipe_name: str,
    out: Path,
    weights: str | None,
    seed: int,
    report: Progress,
) -> TrainingRun:
    """Train a named model with as many classes as the data has.

    Args:
        weights: to start from: ``imagenet``, or an .npz of a backbone or of another training.
    """
    from ..models.data.coco import read_coco
    from ..models.training.pretrained_backbones import initial_weights
    from ..models.training.recipes import recipe
    from ..models.training.train import train

    named = named_detector(model)
    chosen = recipe(recipe_name)
    examples = read_coco(data, split)
    detector = replace(named, classes=len(examples.classes))
    initial = initial_weights(detector.graph(), detector.backbone, weights) if weights else None
    return train(
        detector,
        examples,
        chosen,
        out,
        seed=seed,
        initial=initial,
        progress=lambda loss, total: report(loss.step, total, f"loss {loss.total:.3f}"),
    )


def evaluate_model(model: Path, data: Path, split: str, report: Progress) -> MeanPrecision:
    """COCO's average precision of a run's folder or a .tflite."""
    from ..models.data.coco import read_coco
    from ..models.evaluation.predictors import evaluate, run_predictor, tflite_predictor
    from ..models.training.run_folder import is_run, load_run

    examples = read_coco(data, split)
    if is_run(model):
        predictor = run_predictor(load_run(model))
    elif model.suffix == ".tflite" and model.is_file():
        predictor = tflite_predictor(model)
    else:
        raise InvalidInput(
            f"{model} is neither the folder of a finished training run nor a .tflite; make one "
            "with `mnasfpn train` or `mnasfpn export`"
        )
    return evaluate(predictor, examples, progress=lambda done, total: report(done, total, ""))


def export_model(
    model: str,
    precision: Precision,
    data: Path | None,
    split: str,
    images: int,
    out: Path,
    seed: int,
) -> ExportReport:
    """A run, or a named model with random weights, as .tflite.

    Without ``data`` the comparison is on crops of scikit-learn's two sample photographs; int8 needs
    images of what the detector will see.
    """
    from ..models.data.coco import read_coco
    from ..models.export.convert import sample_images
    from ..models.export.verify import export

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
        else _photographs(size, images, seed)
    )
    return export(detector, weights, out, chosen, precision)


def _trained(model: str, seed: int) -> tuple[Detector, Weights]:
    from ..models.graph.weights import random_weights
    from ..models.training.run_folder import is_run, load_run

    if is_run(model):
        run = load_run(model)
        return run.detector, run.weights
    detector = named_detector(model)
    return detector, random_weights(detector.graph(), seed)


def _photographs(size: int, count: int, seed: int) -> NDArray[np.float32]:
    """Random crops [count, size, size, 3] of real photographs, in [-1, 1]."""
    import numpy as np
    from sklearn.datasets import load_sample_images

    from ..models.data.pipeline import normalise

    photos = load_sample_images().images
    rng = np.random.default_rng(seed)
    crops = []
    for _ in range(count):
        photo = photos[rng.integers(len(photos))]
        side = min(*photo.shape[:2], size)
        top, left = (int(rng.integers(extent - side + 1)) for extent in photo.shape[:2])
        crop = photo[top : top + side, left : left + side]
        places = np.arange(size) * side // size  # nearest pixel where a photo is too small
        crops.append(normalise(crop[places][:, places]))
    return np.stack(crops)
