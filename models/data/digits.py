"""A small real detection task that needs no download: handwritten digits on photographs.

scikit-learn's handwritten digits (UCI optical recognition, 8x8 grey) are enlarged, coloured and
blended onto crops of scikit-learn's two sample photographs, and written in COCO's layout. Training
and validation share neither a digit sample nor a region of a photograph.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...errors import InvalidInput
from ...progress import Progress, silent
from ...storage.atomic import whole_or_nothing
from ..arrays import Indices, Pixels

CocoBox = tuple[int, int, int, int]  # x, y, width, height

TRAIN, VALIDATION = "train", "val"
TRAIN_SHARE = 0.75  # of the digit samples, and of each photograph's width
INK = 0.25  # coverage from which a pixel belongs to a digit's box
PLACES = 30  # tries to place a digit beside the others


@dataclass(frozen=True, slots=True)
class DigitsSettings:
    """What decides a digits dataset, byte for byte.

    Args:
        train, validation: number of images.
        size: pixels of the square images.
        most: digits per image, 1 .. most.
        smallest, largest: side of a digit relative to the image.
        seed: of everything random.
    """

    train: int = 768
    validation: int = 128
    size: int = 128
    most: int = 4
    smallest: float = 0.2
    largest: float = 0.6
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.train, self.validation, self.most) < 1:
            raise InvalidInput(
                "a digits dataset needs at least 1 image in each split and 1 digit in each image, "
                f"got {self.train}, {self.validation} and {self.most}"
            )
        if not 32 <= self.size <= 320:
            raise InvalidInput(
                f"digits images must have 32 to 320 pixels a side, got {self.size}: the "
                "photographs are 427 high"
            )
        if not 8 / self.size <= self.smallest <= self.largest <= 1:
            raise InvalidInput(
                f"digit sides must rise from at least 8 of {self.size} pixels up to 1, "
                f"got {self.smallest} and {self.largest}"
            )


def write_digits(
    folder: Path | str,
    settings: DigitsSettings | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write the dataset unless it is there already; returns its folder.

    The folder appears complete or not at all. It holds ``train.json``, ``val.json``, ``images/``
    and ``settings.json``.

    Args:
        progress: called after every image.

    Raises:
        InvalidInput: the folder holds something else.
    """
    settings = settings or DigitsSettings()
    folder = Path(folder)
    if folder.exists():
        _check_same(folder, settings)
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with whole_or_nothing(folder) as unfinished:
        _write(unfinished, settings, progress or silent)
    return folder


def _check_same(folder: Path, settings: DigitsSettings) -> None:
    try:
        found = msgspec.json.decode((folder / "settings.json").read_bytes(), type=DigitsSettings)
    except (OSError, msgspec.DecodeError) as error:
        raise InvalidInput(f"{folder} exists and is no digits dataset ({error})") from None
    if found != settings:
        raise InvalidInput(
            f"{folder} holds digits of {found}, asked for {settings}; choose another folder"
        )


def _write(folder: Path, settings: DigitsSettings, progress: Progress) -> None:
    from PIL import Image
    from sklearn.datasets import load_digits, load_sample_images

    (folder / "images").mkdir(parents=True)
    digits = load_digits()
    photos = [np.asarray(photo, np.uint8) for photo in load_sample_images().images]
    generator = np.random.default_rng(settings.seed)
    order = generator.permutation(len(digits.images))
    cut = int(len(order) * TRAIN_SHARE)
    total = settings.train + settings.validation
    done = 0
    for split, count, samples in (
        (TRAIN, settings.train, order[:cut]),
        (VALIDATION, settings.validation, order[cut:]),
    ):
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for index in range(1, count + 1):
            pixels = _background(photos, split, settings.size, generator)
            pixels, placed = _with_digits(pixels, digits, samples, settings, generator)
            for digit, box in placed:
                annotations.append(_annotation(len(annotations) + 1, index, digit, box))
            name = f"{split}_{index:05}.png"
            Image.fromarray(pixels).save(folder / "images" / name)
            images.append(
                {"id": index, "file_name": name, "width": settings.size, "height": settings.size}
            )
            done += 1
            progress(done, total, "images")
        categories = [{"id": digit + 1, "name": str(digit)} for digit in range(10)]
        instances = {"images": images, "annotations": annotations, "categories": categories}
        (folder / f"{split}.json").write_bytes(msgspec.json.encode(instances))
    (folder / "settings.json").write_bytes(msgspec.json.encode(settings))


def _annotation(number: int, image: int, digit: int, box: CocoBox) -> dict[str, Any]:
    return {
        "id": number,
        "image_id": image,
        "category_id": digit + 1,
        "bbox": list(box),
        "area": box[2] * box[3],
        "iscrowd": 0,
    }


def _background(
    photos: list[Pixels], split: str, size: int, generator: np.random.Generator
) -> Pixels:
    """A square crop of one photograph: of its left part for training, its right for validation."""
    photo = photos[generator.integers(len(photos))]
    height, width = photo.shape[:2]
    border = int(width * TRAIN_SHARE)
    part = photo[:, :border] if split == TRAIN else photo[:, border:]
    side = min(size, part.shape[1])
    top = generator.integers(height - side + 1)
    left = generator.integers(part.shape[1] - side + 1)
    crop = part[top : top + side, left : left + side]
    if side == size:
        return crop.copy()
    from PIL import Image

    return np.asarray(Image.fromarray(crop).resize((size, size), Image.Resampling.BILINEAR))


def _with_digits(
    pixels: Pixels,
    digits: Any,
    samples: Indices,
    settings: DigitsSettings,
    generator: np.random.Generator,
) -> tuple[Pixels, list[tuple[int, CocoBox]]]:
    """An image with 1 .. ``most`` of the samples on it, and which digits are where."""
    placed: list[tuple[int, CocoBox]] = []
    for _ in range(generator.integers(1, settings.most + 1)):
        sample = int(generator.choice(samples))
        taken = [box for _, box in placed]
        pixels, box = _paste(pixels, digits.images[sample], taken, settings, generator)
        if box is not None:
            placed.append((int(digits.target[sample]), box))
    return pixels, placed


def _paste(
    pixels: Pixels,
    digit: NDArray[np.float64],
    taken: list[CocoBox],
    settings: DigitsSettings,
    generator: np.random.Generator,
) -> tuple[Pixels, CocoBox | None]:
    """Blend a digit in where it does not touch another; None if there is no such place."""
    from PIL import Image

    smallest, largest = np.log(settings.smallest), np.log(settings.largest)
    side = int(settings.size * np.exp(generator.uniform(smallest, largest)))
    grey = Image.fromarray((digit / 16 * 255).astype(np.uint8))
    ink = np.asarray(grey.resize((side, side), Image.Resampling.BICUBIC), np.float32) / 255
    rows, columns = (np.flatnonzero((ink > INK).any(axis=axis)) for axis in (1, 0))
    top, left = int(rows[0]), int(columns[0])
    ink = ink[top : rows[-1] + 1, left : columns[-1] + 1]
    height, width = ink.shape
    for _ in range(PLACES):
        x = int(generator.integers(settings.size - width + 1))
        y = int(generator.integers(settings.size - height + 1))
        if not any(_touch((x, y, width, height), other) for other in taken):
            break
    else:
        return pixels, None
    patch = pixels[y : y + height, x : x + width].astype(np.float32)
    bright = patch.mean() > 127
    colour = generator.uniform(0, 60, 3) if bright else generator.uniform(195, 255, 3)
    blended = patch + ink[..., None] * (colour.astype(np.float32) - patch)
    result = pixels.copy()
    result[y : y + height, x : x + width] = np.clip(blended, 0, 255).astype(np.uint8)
    return result, (x, y, width, height)


def _touch(first: CocoBox, second: CocoBox) -> bool:
    return all(
        first[axis] < second[axis] + second[axis + 2]
        and second[axis] < first[axis] + first[axis + 2]
        for axis in (0, 1)
    )
