"""What a regression knows of a kernel: numbers that mean something to the machine that runs it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from .kernels import Kernel

Matrix = npt.NDArray[np.float64]

VECTOR_WIDTH = 16  # float32 lanes of the widest kernels in use; a multiple of all narrower ones


def padded(channels: int) -> int:
    """Channels a vector kernel computes: the last vector is always whole."""
    return math.ceil(channels / VECTOR_WIDTH) * VECTOR_WIDTH


def _pixels(kernel: Kernel) -> int:
    return math.prod(kernel.output[1:-1])


def _vector_madds(kernel: Kernel) -> float:
    """Multiply-accumulates with the output channels filled up to whole vectors."""
    channels = kernel.output[-1] if kernel.output else 1
    return kernel.madds * padded(channels) / channels


def _window_reads(kernel: Kernel) -> int:
    """Elements that pools and depthwise convolutions touch."""
    return math.prod(kernel.output) * math.prod(kernel.window)


#: Name -> value, and whether a kernel with more of it can only be slower, all else equal.
FEATURES: dict[str, tuple[Callable[[Kernel], float], bool]] = {
    "vector_madds": (_vector_madds, True),
    "bytes_in": (lambda kernel: kernel.bytes_in, True),
    "bytes_out": (lambda kernel: kernel.bytes_out, True),
    "bytes_weights": (lambda kernel: kernel.bytes_weights, True),
    "window_reads": (_window_reads, True),
    "pixels": (_pixels, False),
    "channels_in": (lambda kernel: kernel.inputs[0][-1] if kernel.inputs[0] else 1, False),
    "channels_out": (lambda kernel: kernel.output[-1] if kernel.output else 1, False),
    "remainder_in": (lambda kernel: _remainder(kernel.inputs[0]), False),
    "remainder_out": (lambda kernel: _remainder(kernel.output), False),
    "window": (lambda kernel: math.prod(kernel.window), False),
    "stride": (lambda kernel: math.prod(kernel.stride), False),
    "inputs": (lambda kernel: len(kernel.inputs), False),
}
NAMES = tuple(FEATURES)
MONOTONE = tuple(monotone for _, monotone in FEATURES.values())


def _remainder(shape: tuple[int, ...]) -> int:
    return shape[-1] % VECTOR_WIDTH if shape else 0


def matrix(kernels: Sequence[Kernel]) -> Matrix:
    """[kernels, features] in the order of :data:`NAMES`."""
    rows = [[value(kernel) for value, _ in FEATURES.values()] for kernel in kernels]
    return np.asarray(rows, dtype=np.float64).reshape(len(kernels), len(NAMES))
