"""From a dataset to batches: decode, augment, resize, normalise to [-1, 1], assign targets.

A batch is a pure function of (seed, step), so a resumed training sees exactly what an uninterrupted
one would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from ..arrays import Floats, Pixels
from ..detection.target_assignment import Targets, assign, stack
from .augmentation import NO_AUGMENTATION, Augmentation, crop_boxes, crop_window, flip_boxes
from .coco import CocoSplit, Example
from .images import load_image, normalise, open_image, resized

MOST_BOXES = 100  # ground truth boxes used of one image
CACHE_BYTES = 512 * 2**20  # of decoded images at input size


@dataclass(frozen=True, slots=True)
class Batch:
    """Images [B, S, S, 3] in [-1, 1] and their targets."""

    images: Floats
    targets: Targets


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
            pixels = resized(open_image(example), window, self.size)
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
