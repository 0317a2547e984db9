"""Random changes to a training image, and to its boxes with it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..arrays import Floats, Indices
from ..detection.box_coding import areas
from .images import Window

CROP_AREA = (0.75, 1.0)
CROP_ASPECT = (0.75, 3.0)  # width / height
CROP_TRIES = 100


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


def crop_window(size: tuple[int, int], generator: np.random.Generator) -> Window:
    """A random window (left, top, right, bottom) of whole pixels within (height, width).

    As TensorFlow's ``sample_distorted_bounding_box`` draws it: an aspect, then one of the heights
    that the range of areas and the image allow at this aspect. Tried again while none fits; the
    whole image if none ever does.
    """
    height, width = size
    least, most = (share * height * width for share in CROP_AREA)
    for _ in range(CROP_TRIES):
        aspect = generator.uniform(*CROP_ASPECT)
        highest = round(math.sqrt(most / aspect))
        if highest * aspect > width:
            highest = int((width + 0.5) / aspect)
            highest -= highest * aspect > width
        highest = min(highest, height)
        lowest = min(round(math.sqrt(least / aspect)), highest)
        crop_h = int(generator.integers(lowest, highest + 1))
        area = crop_h * round(crop_h * aspect)
        crop_h += (area < least) - (area > most)  # by rounding
        crop_w = round(crop_h * aspect)
        if least <= crop_h * crop_w <= most and crop_w <= width and crop_h <= height:
            left = int(generator.integers(max(width - crop_w, 1)))
            top = int(generator.integers(max(height - crop_h, 1)))
            return left, top, left + crop_w, top + crop_h
    return 0, 0, width, height


def crop_boxes(
    boxes: Floats,
    labels: Indices,
    window: Window,
    size: tuple[int, int],
) -> tuple[Floats, Indices]:
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
