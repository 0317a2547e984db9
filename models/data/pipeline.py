"""From a dataset to batches: decode, augment, resize, normalise to [-1, 1], assign targets.

A batch is a pure function of (seed, step), so a resumed training sees exactly what an uninterrupted
one would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ...errors import InvalidInput
from ..detection.boxes import UNMATCHED, areas, encode, match
from .coco import CocoSplit, Example

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]

MOST_BOXES = 100  # ground truth boxes used of one image
CROP_AREA = (0.75, 1.0)
CROP_ASPECT = (0.75, 3.0)  # width / height
CROP_TRIES = 10
CACHE_BYTES = 512 * 2**20  # of decoded images at input size


@dataclass(frozen=True, slots=True)
class Targets:
    """What a batch should predict.

    Args:
        codes: [B, N, 4] encoded boxes; 0 where nothing is matched.
        labels: [B, N] 1 .. number of classes, or ``UNMATCHED`` (-1) for background.
    """

    codes: Floats
    labels: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Batch:
    """Images [B, S, S, 3] in [-1, 1] and their targets."""

    images: Floats
    targets: Targets


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Random changes to training images, those of the released MnasFPN training.

    Args:
        flip: mirror left to right, every other time.
        crop: keep 75 to 100 % of the area at an aspect of 0.75 to 3; boxes are cut to the crop and
            dropped when nothing is left of them.
    """

    flip: bool = True
    crop: bool = True


NO_AUGMENTATION = Augmentation(flip=False, crop=False)


def assign(boxes: NDArray[np.floating], labels: NDArray[np.int64], anchors: Floats) -> Targets:
    """Targets of one image, without the batch dimension.

    Args:
        boxes: [M, 4] (ymin, xmin, ymax, xmax) normalised; M may be 0.
        labels: [M] 1 .. number of classes.
        anchors: [N, 4] centre-size.
    """
    matches = match(boxes, anchors)
    positive = np.flatnonzero(matches != UNMATCHED)
    codes = np.zeros((len(anchors), 4), np.float32)
    wanted = np.full(len(anchors), UNMATCHED, np.int32)
    codes[positive] = encode(boxes[matches[positive]], anchors[positive])
    wanted[positive] = labels[matches[positive]]
    return Targets(codes, wanted)


def stack(targets: list[Targets]) -> Targets:
    """Targets of single images as those of a batch, [B, N, ...]."""
    return Targets(
        np.stack([each.codes for each in targets]), np.stack([each.labels for each in targets])
    )


def normalise(pixels: Pixels) -> Floats:
    """0..255 to -1..1."""
    return pixels.astype(np.float32) / 127.5 - 1


def load_image(example: Example, size: int) -> Pixels:
    """The whole image resized to [size, size, 3]; its aspect is not kept."""
    height, width = example.size
    return _resize(open_image(example), (0, 0, width, height), size)


def open_image(example: Example) -> Pixels:
    """The image [H, W, 3] as it is.

    Raises:
        InvalidInput: its size is not what the annotations are about.
    """
    from PIL import Image

    height, width = example.size
    with Image.open(example.path) as image:
        if image.size != (width, height):
            raise InvalidInput(
                f"{example.path} has {image.width} x {image.height} pixels, its annotations say "
                f"{width} x {height}; boxes would be off: correct the annotations, or the image"
            )
        return np.asarray(image.convert("RGB"))


def _resize(pixels: Pixels, window: tuple[float, float, float, float], size: int) -> Pixels:
    """The window (left, top, right, bottom) in pixels, at [size, size, 3]."""
    from PIL import Image

    image = Image.fromarray(pixels)
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box=window))


@dataclass
class Pipeline:
    """Batches of one split.

    Args:
        split: the dataset.
        size: pixels of the square network input.
        anchors: [N, 4] centre-size.
        batch_size: images per batch.
        seed: of order and augmentation.
        augmentation: what to change at random.
    """

    split: CocoSplit
    size: int
    anchors: Floats
    batch_size: int
    seed: int = 0
    augmentation: Augmentation = NO_AUGMENTATION
    _cache: dict[int, Pixels] = field(default_factory=dict, init=False, repr=False)

    def batch(self, step: int) -> Batch:
        """The batch of one step: each epoch is a new permutation of all images."""
        made = [self._make(position) for position in self._positions(step)]
        return Batch(
            np.stack([image for image, _ in made]), stack([targets for _, targets in made])
        )

    def batches(self, first: int, last: int) -> Iterator[Batch]:
        """Steps ``first`` to ``last - 1``; the next batch is made while one is in use."""
        with ThreadPoolExecutor(1) as pool:
            coming = pool.submit(self.batch, first) if first < last else None
            for step in range(first, last):
                assert coming is not None
                batch = coming.result()
                coming = pool.submit(self.batch, step + 1) if step + 1 < last else None
                yield batch

    def _positions(self, step: int) -> range:
        first = step * self.batch_size
        return range(first, first + self.batch_size)

    def _make(self, position: int) -> tuple[Floats, Targets]:
        """The ``position``-th image ever shown."""
        epoch, index = divmod(position, len(self.split))
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.split))
        example = self.split.examples[order[index]]
        generator = np.random.default_rng((self.seed, epoch, index))
        boxes, labels = example.boxes[:MOST_BOXES], example.labels[:MOST_BOXES]
        if self.augmentation.crop:
            window = crop_window(example.size, generator)
            pixels = _resize(open_image(example), window, self.size)
            boxes, labels = crop_boxes(boxes, labels, window, example.size)
        else:
            pixels = self._whole(example)
        if self.augmentation.flip and generator.random() < 0.5:
            pixels, boxes = pixels[:, ::-1], flip_boxes(boxes)
        return normalise(pixels), assign(boxes, labels, self.anchors)

    def _whole(self, example: Example) -> Pixels:
        """The whole image at input size, kept in memory while there is room."""
        cached = self._cache.get(example.image_id)
        if cached is None:
            cached = load_image(example, self.size)
            if (len(self._cache) + 1) * cached.nbytes <= CACHE_BYTES:
                self._cache[example.image_id] = cached
        return cached


def crop_window(
    size: tuple[int, int], generator: np.random.Generator
) -> tuple[float, float, float, float]:
    """A random window (left, top, right, bottom) in pixels within (height, width).

    Area and aspect are drawn until the window fits; the whole image if it never does.
    """
    height, width = size
    for _ in range(CROP_TRIES):
        area = generator.uniform(*CROP_AREA) * height * width
        aspect = generator.uniform(*CROP_ASPECT)
        crop_h, crop_w = np.sqrt(area / aspect), np.sqrt(area * aspect)
        if crop_h <= height and crop_w <= width:
            left = generator.uniform(0, width - crop_w)
            top = generator.uniform(0, height - crop_h)
            return float(left), float(top), float(left + crop_w), float(top + crop_h)
    return 0.0, 0.0, float(width), float(height)


def crop_boxes(
    boxes: Floats,
    labels: NDArray[np.int64],
    window: tuple[float, float, float, float],
    size: tuple[int, int],
) -> tuple[Floats, NDArray[np.int64]]:
    """Boxes relative to a window of the image, cut to it; those outside are dropped."""
    height, width = size
    left, top, right, bottom = window
    low = np.array([top / height, left / width], np.float32)
    sides = np.array([(bottom - top) / height, (right - left) / width], np.float32)
    moved = (boxes.reshape(-1, 2, 2) - low) / sides
    cut = np.clip(moved, 0, 1).reshape(-1, 4).astype(np.float32)
    seen = areas(cut) > 0
    return cut[seen], labels[seen]


def flip_boxes(boxes: Floats) -> Floats:
    """Mirrored left to right."""
    flipped = boxes.copy()
    flipped[:, 1], flipped[:, 3] = 1 - boxes[:, 3], 1 - boxes[:, 1]
    return flipped
