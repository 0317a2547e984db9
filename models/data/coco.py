"""Datasets in COCO's layout: an instances JSON and a folder of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...errors import InvalidInput

# Where a split's JSON and images may lie below the dataset's folder, in the order tried.
LAYOUTS = (
    ("annotations/instances_{split}.json", "{split}"),  # COCO itself
    ("{split}.json", "images"),
    ("annotations/{split}.json", "images"),
)


class ImageEntry(msgspec.Struct):
    """One file; its size is in pixels."""

    id: int
    file_name: str
    width: int
    height: int


class Annotation(msgspec.Struct):
    """COCO's ``bbox`` is (x, y, width, height) in pixels."""

    image_id: int
    category_id: int
    bbox: tuple[float, float, float, float]
    iscrowd: int = 0


class Category(msgspec.Struct):
    """One class; ids may have gaps."""

    id: int
    name: str


class Instances(msgspec.Struct):
    """The part of COCO's instances file that detection reads; other fields are ignored."""

    images: list[ImageEntry]
    annotations: list[Annotation]
    categories: list[Category]


@dataclass(frozen=True)
class Example:
    """One image and what is in it.

    Args:
        image_id: as in the JSON.
        path: image file.
        size: (height, width) in pixels.
        boxes: [M, 4] (ymin, xmin, ymax, xmax), normalised, all of positive area.
        labels: [M] 1 .. number of classes.
    """

    image_id: int
    path: Path
    size: tuple[int, int]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class CocoSplit:
    """One split of a dataset.

    Args:
        annotations: the instances JSON, for the evaluation.
        examples: every image, annotated or not, by id.
        classes: names of labels 1, 2, ...
        category_ids: of labels 1, 2, ... in the JSON.
        skipped: boxes left out because no area of theirs lies within the image, or because they
            mark a crowd.
    """

    annotations: Path
    examples: tuple[Example, ...]
    classes: tuple[str, ...]
    category_ids: tuple[int, ...]
    skipped: int

    def __len__(self) -> int:
        return len(self.examples)


def read_coco(folder: Path | str, split: str) -> CocoSplit:
    """One split of a dataset in COCO's layout (any of ``LAYOUTS``).

    Boxes are cut to the image. Those without area are skipped and counted.

    Raises:
        InvalidInput: there is no such split, the JSON is damaged or refers to what it does not
            define, or image files are missing.
    """
    annotations, images = _locate(Path(folder), split)
    instances = _decode(annotations)
    categories = sorted(instances.categories, key=lambda category: category.id)
    if not categories or not instances.images:
        raise InvalidInput(f"{annotations}: a dataset needs at least one category and one image")
    label_of = {category.id: label for label, category in enumerate(categories, start=1)}
    by_image: dict[int, list[Annotation]] = {image.id: [] for image in instances.images}
    for index, annotation in enumerate(instances.annotations):
        if annotation.image_id not in by_image or annotation.category_id not in label_of:
            raise InvalidInput(
                f"{annotations}: annotation {index} refers to image {annotation.image_id} and "
                f"category {annotation.category_id}, at least one of which the file does not define"
            )
        by_image[annotation.image_id].append(annotation)
    examples = tuple(
        _example(image, by_image[image.id], images, label_of)
        for image in sorted(instances.images, key=lambda image: image.id)
    )
    _check_files(examples, images)
    kept = sum(len(example.boxes) for example in examples)
    return CocoSplit(
        annotations=annotations,
        examples=examples,
        classes=tuple(category.name for category in categories),
        category_ids=tuple(category.id for category in categories),
        skipped=len(instances.annotations) - kept,
    )


def _locate(folder: Path, split: str) -> tuple[Path, Path]:
    for instances, images in LAYOUTS:
        path = folder / instances.format(split=split)
        if path.is_file():
            return path, folder / images.format(split=split)
    tried = ", ".join(instances.format(split=split) for instances, _ in LAYOUTS)
    raise InvalidInput(
        f"{folder} holds no split {split!r} in COCO's layout; expected one of {tried} there"
    )


def _decode(path: Path) -> Instances:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Instances)
    except (msgspec.DecodeError, OSError) as error:
        raise InvalidInput(f"{path} is not a COCO instances file: {error}") from None


def _example(
    image: ImageEntry, annotations: Sequence[Annotation], folder: Path, label_of: dict[int, int]
) -> Example:
    if image.width < 1 or image.height < 1:
        raise InvalidInput(
            f"image {image.file_name!r} has size {image.width} x {image.height}; "
            "both must be positive"
        )
    boxes, labels = [], []
    for annotation in annotations:
        x, y, width, height = annotation.bbox
        corners = (
            max(y / image.height, 0.0),
            max(x / image.width, 0.0),
            min((y + height) / image.height, 1.0),
            min((x + width) / image.width, 1.0),
        )
        if not annotation.iscrowd and corners[2] > corners[0] and corners[3] > corners[1]:
            boxes.append(corners)
            labels.append(label_of[annotation.category_id])
    return Example(
        image_id=image.id,
        path=folder / image.file_name,
        size=(image.height, image.width),
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        labels=np.array(labels, np.int64),
    )


def _check_files(examples: Sequence[Example], folder: Path) -> None:
    missing = [example.path.name for example in examples if not example.path.is_file()]
    if missing:
        raise InvalidInput(
            f"{folder}: {len(missing)} of {len(examples)} images are missing, the first is "
            f"{missing[0]!r}; put the image files there"
        )
