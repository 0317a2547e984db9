"""From a dataset to batches: decode, augment, resize, and assign what anchors should predict.

What is shown at a position of a training is a pure function of (seed, position), so a resumed
training sees exactly what an uninterrupted one would have seen, however many processes prepare it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ...errors import JobFailed
from ..arrays import Floats, Indices, Pixels
from ..detection.target_assignment import Assigner, Targets
from .augmentation import NO_AUGMENTATION, Augmentation, crop_boxes, crop_window, flip_boxes
from .coco import CocoSplit, Example
from .image_files import BadImage
from .images import open_image, resized

if TYPE_CHECKING:
    import torch

MOST_BOXES = 100  # ground truth boxes used of one image
EPOCHS_KEPT = 4  # permutations that one process remembers


@dataclass(frozen=True, slots=True)
class Sample:
    """What is shown at one position.

    Args:
        inputs: of the network, by name: images [S, S, 3] as bytes, or features [C, H, W].
        targets: of its anchors.
        name: of the image, for people.
    """

    inputs: dict[str, Any]
    targets: Targets
    name: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples together: inputs by name, codes [B, N, 4], labels [B, N], and their images' names."""

    inputs: dict[str, torch.Tensor]
    codes: torch.Tensor
    labels: torch.Tensor
    names: tuple[str, ...]


class Samples(Protocol):
    """What a training can be shown: sample of every position, without end."""

    def __getitem__(self, position: int) -> Sample:
        """The sample, the same every time.

        Raises:
            BadImage: its image cannot be read.
        """


class TrainingImages:
    """Images of a split, augmented, in a new order every epoch.

    Args:
        split: the dataset.
        size: pixels of the square network input.
        anchors: [N, 4] centre-size.
        seed: of order and augmentation.
        augmentation: what to change at random.
        skip_bad: show the next image of the order where one cannot be read.
    """

    def __init__(
        self,
        split: CocoSplit,
        size: int,
        anchors: Floats,
        seed: int = 0,
        augmentation: Augmentation = NO_AUGMENTATION,
        *,
        skip_bad: bool = False,
    ) -> None:
        self.examples, self.size, self.seed = split.examples, size, seed
        self.augmentation, self.skip_bad = augmentation, skip_bad
        self._assign = Assigner(anchors)

    def __getitem__(self, position: int) -> Sample:
        epoch, index = divmod(position, len(self.examples))
        order = epoch_order(len(self.examples), self.seed, epoch)
        for offset in range(len(self.examples) if self.skip_bad else 1):
            image = int(order[(index + offset) % len(order)])
            try:
                return self._sample(image, np.random.default_rng((self.seed, epoch, index)))
            except BadImage:
                if not self.skip_bad:
                    raise
        raise JobFailed(f"none of the {len(self.examples)} images can be read")

    def copy(self, number: int, image: int) -> Sample:
        """One of an image's copies: as it is, its mirror image if images are mirrored, and drawn
        ones."""
        if number == 0:
            return self._sample(image, None)
        if number == 1 and self.augmentation.flip:
            return self._sample(image, None, mirrored=True)
        return self._sample(image, np.random.default_rng((self.seed, number, image)))

    def _sample(
        self, image: int, generator: np.random.Generator | None, mirrored: bool = False
    ) -> Sample:
        example = self.examples[image]
        pixels, boxes, labels = self._changed(example, generator, mirrored)
        return Sample({"image": pixels}, self._assign(boxes, labels), str(example.path))

    def _changed(
        self, example: Example, generator: np.random.Generator | None, mirrored: bool
    ) -> tuple[Pixels, Floats, Indices]:
        height, width = example.size
        window = (0, 0, width, height)
        boxes, labels = example.boxes[:MOST_BOXES], example.labels[:MOST_BOXES]
        if generator is not None and self.augmentation.crop:
            window = crop_window(example.size, generator)
            boxes, labels = crop_boxes(boxes, labels, window, example.size)
        pixels = resized(open_image(example), window, self.size)
        if generator is not None and self.augmentation.flip:
            mirrored = generator.random() < 0.5
        if mirrored:
            pixels, boxes = np.ascontiguousarray(pixels[:, ::-1]), flip_boxes(boxes)
        return pixels, boxes, labels


@lru_cache(maxsize=EPOCHS_KEPT)
def epoch_order(count: int, seed: int, epoch: int) -> Indices:
    """The order of one epoch."""
    return np.random.default_rng((seed, epoch)).permutation(count)


def collate(samples: Sequence[Sample]) -> Batch:
    """Samples as a batch."""
    import torch

    def stacked(arrays: Sequence[Any]) -> torch.Tensor:
        return torch.from_numpy(np.stack(arrays))

    return Batch(
        {name: stacked([s.inputs[name] for s in samples]) for name in samples[0].inputs},
        stacked([sample.targets.codes for sample in samples]),
        stacked([sample.targets.labels for sample in samples]),
        tuple(sample.name for sample in samples),
    )


def batches(samples: Samples, positions: Sequence[range], workers: int = 0) -> Iterator[Batch]:
    """Batches of the given positions, prepared ahead by so many processes of PyTorch's loader.

    Raises:
        BadImage: an image cannot be read; the message names it.
        JobFailed: a process that prepares them died.
    """
    from torch.utils.data import DataLoader

    loader: Any = DataLoader(
        _Prepared(samples),
        batch_sampler=positions,
        collate_fn=_first_fault_or_batch,
        num_workers=workers,
        persistent_workers=False,
    )
    prepared = iter(loader)
    while True:
        try:
            batch = next(prepared, None)
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise JobFailed(
                f"a process that prepares images ended: {error}; the usual reason is too little "
                "memory: use fewer with --workers"
            ) from error
        if batch is None:
            return
        if isinstance(batch, BadImage):
            raise batch
        yield batch


@dataclass(frozen=True)
class _Prepared:
    """As the loader wants it. Faults are values here: it would rebuild exceptions and fail."""

    samples: Samples

    def __getitem__(self, position: int) -> Sample | BadImage:
        try:
            return self.samples[position]
        except BadImage as error:
            return error


def _first_fault_or_batch(samples: Sequence[Sample | BadImage]) -> Batch | BadImage:
    good: list[Sample] = []
    for sample in samples:
        if isinstance(sample, BadImage):
            return sample
        good.append(sample)
    return collate(good)
