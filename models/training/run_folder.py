"""A training run's folder: what was trained, how, how far it is, and its result.

``detector.json``, ``run.json`` (recipe, seed, classes, data), ``checkpoint.pt`` and ``best.npz``
while training goes on, ``history.csv`` with the losses of every step, ``validation.csv`` with the
average precision of some; and once it has finished ``weights.npz``, the best by validation or else
the last, and ``last.npz`` where that is another.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...errors import InvalidInput
from ...storage.atomic import write_atomically
from ..detector import Detector
from ..graph.weights import Weights
from ..model_files import load_detector, save
from .recipes import Recipe

if TYPE_CHECKING:
    from ..data.coco import CocoSplit

T = TypeVar("T")

RUN_SCHEMA = "mnasfpn-run-1"
DETECTOR, SETTINGS = "detector.json", "run.json"
HISTORY, VALIDATION = "history.csv", "validation.csv"
CHECKPOINT, BEST = "checkpoint.pt", "best.npz"
WEIGHTS, LAST = "weights.npz", "last.npz"
FEATURES = "features"


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """What decides a training besides the detector and the images.

    Args:
        recipe: as it was when the training began.
        seed: of initial weights, order and augmentation.
        classes: names of labels 1, 2, ...
        images: number of training images.
        warm_started: weight arrays that came from elsewhere, of all.
        data: digest of the training images and their boxes; empty in runs of 0.1.0.
        threads: of PyTorch on a CPU: another number rounds otherwise; 0 in runs of 0.1.0.
        schema: of the file.
    """

    recipe: Recipe
    seed: int
    classes: tuple[str, ...]
    images: int
    warm_started: tuple[int, int] = (0, 0)
    data: str = ""
    threads: int = 0
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


@dataclass(frozen=True, slots=True)
class Validated:
    """Average precision after so many steps, COCO's and at IoU 0.5."""

    step: int
    map: float
    map50: float


@dataclass(frozen=True)
class TrainingRun:
    """A finished training.

    Args:
        history: losses of every step; empty in runs of 0.1.0.
        validated: while it was trained.
    """

    folder: Path
    detector: Detector
    settings: TrainingSettings
    weights: Weights
    history: tuple[StepLoss, ...]
    validated: tuple[Validated, ...] = ()


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
        history=read_rows(folder / HISTORY, StepLoss),
        validated=read_rows(folder / VALIDATION, Validated),
    )


def start_run(folder: Path, detector: Detector, settings: TrainingSettings) -> None:
    """Make the folder, or check that it belongs to the same training.

    Raises:
        InvalidInput: the folder holds another training; the message says in what it differs.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not is_run(folder):
        save(detector, folder / DETECTOR)
        write_atomically(folder / SETTINGS, msgspec.json.format(msgspec.json.encode(settings)))
        return
    found = asdict(load_settings(folder)) | {"detector": load_detector(folder / DETECTOR)}
    asked = asdict(settings) | {"detector": detector}
    differ = [name for name in asked if found[name] != asked[name]]
    if differ:
        raise InvalidInput(
            f"{folder} holds a training with another {' and another '.join(differ)}; choose "
            "another folder, or remove it"
        )


def data_digest(data: CocoSplit) -> str:
    """Of what a training is shown: every image's file and size, and every box.

    The files' contents are not read; one that is replaced by another of the same name and length
    goes unseen.
    """
    digest = hashlib.sha256(repr(data.classes).encode())
    for example in data.examples:
        digest.update(repr((example.path.name, example.path.stat().st_size)).encode())
        digest.update(repr((example.size, example.as_seen)).encode())
        digest.update(example.boxes.tobytes() + example.labels.tobytes())
    return digest.hexdigest()


def load_settings(folder: Path) -> TrainingSettings:
    """Of a training, finished or not; InvalidInput if the folder holds none."""
    path = folder / SETTINGS
    try:
        return msgspec.json.decode(path.read_bytes(), type=TrainingSettings)
    except (OSError, msgspec.DecodeError) as error:
        raise InvalidInput(f"{path}: not a training run ({error})") from None


def write_rows(path: Path, rows: Sequence[Any], kind: type[Any]) -> None:
    """Dataclasses as a CSV table, whole or not at all."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([field.name for field in fields(kind)])
    writer.writerows(map(astuple, rows))
    write_atomically(path, text.getvalue())


def read_rows(path: Path, kind: type[T]) -> tuple[T, ...]:
    """Inverse of :func:`write_rows`; none where there is no such file.

    Raises:
        InvalidInput: it is damaged.
    """
    if not path.is_file():
        return ()
    try:
        with path.open(newline="") as file:
            return tuple(msgspec.convert(row, kind, strict=False) for row in csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise InvalidInput(f"{path}: not a table of {kind.__name__}: {error}") from None


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
