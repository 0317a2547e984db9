"""Images that a file is judged on, or calibrated on: of a dataset, or two sample photographs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from ..arrays import Floats
from ..data.coco import CocoSplit
from ..data.images import load_image, normalise


@dataclass(frozen=True)
class HeldOut:
    """Images, one at a time.

    Args:
        size: pixels of the square input.
        split: with what is in them; None where nobody knows.
        photographs: [K, S, S, 3] instead, in [-1, 1].
    """

    size: int
    split: CocoSplit | None = None
    photographs: Floats | None = None

    def __len__(self) -> int:
        return len(self.split or ()) if self.photographs is None else len(self.photographs)

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """(height, width) of the images before they were resized."""
        if self.split is None:
            return ((self.size, self.size),) * len(self)
        return tuple(example.size for example in self.split.examples)

    def __iter__(self) -> Iterator[Floats]:
        """[1, S, S, 3] in [-1, 1]."""
        if self.photographs is not None:
            yield from self.photographs[:, None]
        elif self.split is not None:
            for example in self.split.examples:
                yield normalise(load_image(example, self.size))[None]


def drawn(split: CocoSplit, count: int, seed: int = 0) -> CocoSplit:
    """So many of a split's images, all if it has no more."""
    chosen = np.sort(np.random.default_rng(seed).permutation(len(split))[:count])
    return replace(split, examples=tuple(split.examples[index] for index in chosen))


def calibration_images(split: CocoSplit, size: int, count: int, seed: int = 0) -> Floats:
    """[K, S, S, 3] in [-1, 1] drawn from a split."""
    return np.concatenate(list(HeldOut(size, drawn(split, count, seed))))


def sample_photographs(size: int, count: int, seed: int = 0) -> Floats:
    """Random crops [count, S, S, 3] in [-1, 1] of scikit-learn's two sample photographs."""
    from sklearn.datasets import load_sample_images

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
