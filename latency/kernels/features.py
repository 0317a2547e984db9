"""What a regression knows of a kernel: numbers that mean something to the machine that runs it."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from .kernel import Kernel

Matrix = npt.NDArray[np.float64]

VECTOR_WIDTH = 16  # float32 lanes of the widest kernels in use; a multiple of all narrower ones


def padded(channels: int) -> int:
    """Channels a vector kernel computes: the last vector is always whole."""
    return math.ceil(channels / VECTOR_WIDTH) * VECTOR_WIDTH


def _pixels(kernel: Kernel) -> int:
    return math.prod(kernel.output[1:-1])


def _vector_madds(kernel: Kernel) -> float:
    """Multiply-accumulates with the output channels filled up to whole vectors."""
    channels = _channels(kernel.output)
    return kernel.madds * padded(channels) / channels


def _window_reads(kernel: Kernel) -> int:
    """Elements that pools and depthwise convolutions touch."""
    return math.prod(kernel.output) * math.prod(kernel.window)


def _window_pixels(kernel: Kernel) -> int:
    """Window positions times window elements: addresses that are worked out, whatever the depth."""
    return _pixels(kernel) * math.prod(kernel.window)


def _clamped_bytes(kernel: Kernel) -> int:
    """Where an activation is not free, it is another pass over the output."""
    return kernel.bytes_out if kernel.activation else 0


def _beyond(cache_bytes: int) -> Callable[[Kernel], float]:
    """Bytes that do not fit into a cache of this size; which sizes matter, a device decides."""
    return lambda kernel: max(
        0, kernel.bytes_in + kernel.bytes_out + kernel.bytes_weights - cache_bytes
    )


def _channels(shape: tuple[int, ...]) -> int:
    return shape[-1] if shape else 1


#: Name -> value, and whether more of it is more work: then, all else equal, nothing gets faster.
KERNEL_FEATURES: dict[str, tuple[Callable[[Kernel], float], bool]] = {
    "vector_madds": (_vector_madds, True),
    "bytes_in": (lambda kernel: kernel.bytes_in, True),
    "bytes_out": (lambda kernel: kernel.bytes_out, True),
    "bytes_weights": (lambda kernel: kernel.bytes_weights, True),
    "bytes_beyond_256k": (_beyond(2**18), True),
    "bytes_beyond_1m": (_beyond(2**20), True),
    "bytes_beyond_2m": (_beyond(2**21), True),
    "bytes_beyond_4m": (_beyond(2**22), True),
    "clamped_bytes": (_clamped_bytes, True),
    "window_reads": (_window_reads, True),
    "window_pixels": (_window_pixels, True),
    "pixels": (_pixels, False),
    "channels_in": (lambda kernel: _channels(kernel.inputs[0]), False),
    "channels_out": (lambda kernel: _channels(kernel.output), False),
    "remainder_in": (lambda kernel: _channels(kernel.inputs[0]) % VECTOR_WIDTH, False),
    "remainder_out": (lambda kernel: _channels(kernel.output) % VECTOR_WIDTH, False),
    "window": (lambda kernel: math.prod(kernel.window), False),
    "stride": (lambda kernel: math.prod(kernel.stride), False),
    "inputs": (lambda kernel: len(kernel.inputs), False),
}
FEATURE_NAMES = tuple(KERNEL_FEATURES)
MONOTONE = tuple(monotone for _, monotone in KERNEL_FEATURES.values())


def feature_matrix(kernels: Sequence[Kernel]) -> Matrix:
    """[kernels, features] in the order of :data:`FEATURE_NAMES`."""
    rows = [_row(kernel) for kernel in kernels]
    return np.asarray(rows, dtype=np.float64).reshape(len(kernels), len(FEATURE_NAMES))


@functools.lru_cache(maxsize=1 << 16)  # networks repeat their kernels, and fits their networks
def _row(kernel: Kernel) -> tuple[float, ...]:
    return tuple(value(kernel) for value, _ in KERNEL_FEATURES.values())
