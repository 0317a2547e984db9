"""One image: opened, resized, normalised to [-1, 1]."""

from __future__ import annotations

import numpy as np

from ...errors import InvalidInput
from ..arrays import Floats, Pixels
from .coco import Example

Window = tuple[float, float, float, float]  # left, top, right, bottom in pixels


def normalise(pixels: Pixels) -> Floats:
    """0..255 to -1..1."""
    return pixels.astype(np.float32) / 127.5 - 1


def load_image(example: Example, size: int) -> Pixels:
    """The whole image resized to [size, size, 3]; its aspect is not kept."""
    height, width = example.size
    return resized(open_image(example), (0, 0, width, height), size)


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


def resized(pixels: Pixels, window: Window, size: int) -> Pixels:
    """The window (left, top, right, bottom) in pixels, at [size, size, 3]."""
    from PIL import Image

    image = Image.fromarray(pixels)
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR, box=window))
