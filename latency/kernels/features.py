"""What a regression knows of a kernel: numbers that mean something to the machine that runs it."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from ...models.graph.operators import DETECTIONS
from .kernel import Kernel

Matrix = npt.NDArray[np.float64]

VECTOR_WIDTH = 16  # float32 lanes of the widest kernels in use; a multiple of all narrower ones
QUAD = 4  # input channels that integer kernels multiply at once
TILE_ROWS = 8  # output pixels of a matrix product computed together, roughly


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


def _group_madds(kernel: Kernel) -> float:
    """The same of a grouped convolution, whose vectors end with each group's channels."""
    if kernel.groups == 1:
        return 0.0
    filters, channels = kernel.output[-1] // kernel.groups, kernel.inputs[0][-1] // kernel.groups
    whole = padded(filters) * math.ceil(channels / QUAD) * QUAD
    return kernel.madds * whole / (filters * channels)


def _group_tiles(kernel: Kernel) -> int:
    """Products of a few rows each that a grouped convolution is made of."""
    return kernel.groups * math.ceil(kernel.rows / TILE_ROWS) if kernel.groups > 1 else 0


def _pieces(kernel: Kernel) -> float:
    """Runs of neighbouring elements that a transpose, slice or mean goes through one by one."""
    if kernel.op not in ("transpose", "slice", "mean"):
        return 0.0
    read = kernel.inputs[0] if kernel.op == "mean" else kernel.output
    return math.prod(read) / _run(kernel)


def _blocks(kernel: Kernel) -> int:
    """Transposes of two axes that one of many axes is made of."""
    blocks = 1
    for axis, source in enumerate(kernel.axes if kernel.op == "transpose" else ()):
        if axis != source:
            return blocks
        blocks *= kernel.output[axis]
    return 0


def _boxes(kernel: Kernel) -> int:
    """Boxes that are sorted by score: all, or all of each class."""
    if kernel.op not in DETECTIONS:
        return 0
    _, boxes, classes = kernel.inputs[1]
    return boxes * classes if kernel.op == "detections_regular" else boxes


def _box_pairs(kernel: Kernel) -> int:
    """Pairs of a box and one that is kept, if all that are asked for are found."""
    return _boxes(kernel) * kernel.output[1] if kernel.op in DETECTIONS else 0


def _block_elements(kernel: Kernel) -> int:
    """Elements of those blocks, if there are many: then none is large enough for vectors."""
    return math.prod(kernel.output) if _blocks(kernel) > 1 else 0


def _run(kernel: Kernel) -> int:
    """Elements of such a run."""
    shape, output = kernel.inputs[0], kernel.output
    if len(output) < len(shape) and kernel.op == "slice":  # one of an axis: all that is after it
        return math.prod(output)
    run = 1
    for axis in reversed(range(len(shape))):
        if _stays(kernel, axis):
            run *= shape[axis]
            continue
        # Of a border that is left out, what is between the borders is in one piece.
        in_one_piece = kernel.op == "slice" and kernel.stride == (1, 1)
        return run * output[axis] if in_one_piece else run
    return run


def _stays(kernel: Kernel, axis: int) -> bool:
    """Whether an axis of the input is whole and in its place."""
    if kernel.op == "transpose":
        return kernel.axes[axis] == axis
    if kernel.op == "mean":
        return axis not in kernel.axes
    return kernel.output[axis] == kernel.inputs[0][axis]


def _channels(shape: tuple[int, ...]) -> int:
    return shape[-1] if shape else 1


# Trees of stored profiles call features by their place here: new ones come last.
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
    "group_madds": (_group_madds, True),
    "group_tiles": (_group_tiles, True),
    "pieces": (_pieces, True),
    "blocks": (_blocks, True),
    "block_elements": (_block_elements, True),
    "boxes": (_boxes, True),
    "box_pairs": (_box_pairs, True),
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
