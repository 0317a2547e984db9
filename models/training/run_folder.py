"""A training run's folder: what was trained, how, how far it is, and its result.

``detector.json``, ``run.json`` (recipe, seed, classes), ``checkpoint.npz`` while training goes on,
``history.json``, and ``weights.npz`` once it has finished.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...errors import InvalidInput
from ...storage.atomic import write_atomically
from ..detector import Detector
from ..graph.weights import Weights
from ..model_files import load_detector, save
from .recipes import Recipe

RUN_SCHEMA = "mnasfpn-run-1"
DETECTOR, SETTINGS, HISTORY = "detector.json", "run.json", "history.json"
CHECKPOINT, WEIGHTS = "checkpoint.npz", "weights.npz"


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """What decides a training besides the detector and the images.

    Args:
        recipe: as it was when the training began.
        seed: of initial weights, order and augmentation.
        classes: names of labels 1, 2, ...
        images: number of training images.
        warm_started: weight arrays that came from elsewhere, of all.
        schema: of the file.
    """

    recipe: Recipe
    seed: int
    classes: tuple[str, ...]
    images: int
    warm_started: tuple[int, int] = (0, 0)
    schema: str = RUN_SCHEMA

    def __post_init__(self) -> None:
        if self.schema != RUN_SCHEMA:
            raise InvalidInput(
                f"field `schema` is {self.schema!r}, expected {RUN_SCHEMA!r}; train again"
            )


@dataclass(frozen=True, slots=True)
class StepLoss:
    """Losses of one step, counted from 1."""

    step: int
    classes: float
    boxes: float
    l2: float

    @property
    def total(self) -> float:
        return self.classes + self.boxes + self.l2


@dataclass(frozen=True)
class TrainingRun:
    """A finished training."""

    folder: Path
    detector: Detector
    settings: TrainingSettings
    weights: Weights
    history: tuple[StepLoss, ...]


def is_run(path: Path | str) -> bool:
    """Whether a folder was made by a training."""
    return (Path(path) / SETTINGS).is_file()


def load_run(folder: Path | str) -> TrainingRun:
    """A finished training.

    Raises:
        InvalidInput: no such folder, a damaged file, or a training that has not finished.
    """
    folder = Path(folder)
    settings = load_settings(folder)
    if not (folder / WEIGHTS).is_file():
        raise InvalidInput(
            f"{folder}: the training has not finished; run the same training again to resume it"
        )
    return TrainingRun(
        folder=folder,
        detector=load_detector(folder / DETECTOR),
        settings=settings,
        weights=load_weights(folder / WEIGHTS),
        history=load_history(folder),
    )


def start_run(folder: Path, detector: Detector, settings: TrainingSettings) -> None:
    """Make the folder, or check that it belongs to the same training.

    Raises:
        InvalidInput: the folder holds another training.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not is_run(folder):
        save(detector, folder / DETECTOR)
        write_atomically(folder / SETTINGS, msgspec.json.format(msgspec.json.encode(settings)))
        return
    found = (load_detector(folder / DETECTOR), load_settings(folder))
    if found != (detector, settings):
        what = "detector" if found[0] != detector else "recipe, seed, data or initial weights"
        raise InvalidInput(
            f"{folder} holds a training with another {what}; choose another folder, or remove it"
        )


def load_settings(folder: Path) -> TrainingSettings:
    """Of a training, finished or not; InvalidInput if the folder holds none."""
    path = folder / SETTINGS
    try:
        return msgspec.json.decode(path.read_bytes(), type=TrainingSettings)
    except (OSError, msgspec.DecodeError) as error:
        raise InvalidInput(f"{path}: not a training run ({error})") from None


def save_history(folder: Path, history: list[StepLoss]) -> None:
    """Losses of all steps so far, whole or not at all."""
    write_atomically(folder / HISTORY, msgspec.json.encode(history))


def load_history(folder: Path) -> tuple[StepLoss, ...]:
    """Inverse of :func:`save_history`; InvalidInput if the file is missing or damaged."""
    path = folder / HISTORY
    try:
        return msgspec.json.decode(path.read_bytes(), type=tuple[StepLoss, ...])
    except (OSError, msgspec.DecodeError) as error:
        raise InvalidInput(f"{path}: not the history of a training ({error})") from None


def save_weights(path: Path | str, weights: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays as .npz, whole or not at all."""
    buffer = io.BytesIO()
    np.savez(buffer, **weights)  # type: ignore[arg-type]
    write_atomically(path, buffer.getvalue())


def load_weights(path: str | os.PathLike[str]) -> Weights:
    """The arrays of an .npz file.

    Raises:
        InvalidInput: there is no such file, or it is none.
    """
    if not Path(path).is_file():
        raise InvalidInput(f"there is no weights file {str(path)!r}; give the path of an .npz")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {key: arrays[key] for key in arrays.files}
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise InvalidInput(
            f"{path}: not a readable .npz file ({error}); expected arrays written by numpy.savez"
        ) from None
