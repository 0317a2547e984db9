"""One image of a dataset: resized as phones do it, normalised to [-1, 1]."""

from __future__ import annotations

import numpy as np

from ..arrays import Floats, Pixels
from .coco import Example
from .image_files import read_pixels

Window = tuple[int, int, int, int]  # left, top, right, bottom in pixels


def normalise(pixels: Pixels) -> Floats:
    """0..255 to -1..1."""
    return pixels.astype(np.float32) / 127.5 - 1


def load_image(example: Example, size: int) -> Pixels:
    """The whole image resized to [size, size, 3]; its aspect is not kept."""
    height, width = example.size
    return resized(open_image(example), (0, 0, width, height), size)


def open_image(example: Example) -> Pixels:
    """The image [H, W, 3] that the example's boxes are about.

    Raises:
        BadImage: its pixels are damaged; the message names the file.
    """
    return read_pixels(example.path, as_seen=example.as_seen)


def resized(pixels: Pixels, window: Window, size: int) -> Pixels:
    """The window of an image, at [size, size, 3].

    Bilinear between the four nearest pixels, with centres at half pixels and without a filter
    against aliasing: as TensorFlow's ``resize`` and the image processors of phones do it.
    """
    import torch

    left, top, right, bottom = window
    part = torch.tensor(pixels[top:bottom, left:right]).permute(2, 0, 1)[None].float()
    scaled = torch.nn.functional.interpolate(part, (size, size), mode="bilinear")
    return np.asarray(scaled.add_(0.5).to(torch.uint8)[0].permute(1, 2, 0).contiguous())
