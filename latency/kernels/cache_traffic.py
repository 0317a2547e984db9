"""What a kernel alone keeps in the caches from one inference to the next, and a model does not."""

from __future__ import annotations

import math

from .features import VECTOR_WIDTH, padded
from .kernel import Kernel

MEGABYTE = 1e6
ADDRESS_BYTES = 8
ONE_ROW = 0.5  # share of a one-row product's weights that it does not wait for alone as well
MOST_TAPS = 25  # of a depthwise convolution that XNNPACK does not compute as a grouped one
MANY_TAPS = f" of more than {MOST_TAPS} taps"


def family(kernel: Kernel) -> str:
    """What shares the coefficients of a calibration: the kind, large depthwise windows apart."""
    large = kernel.op == "depthwise_conv" and _taps(kernel) > MOST_TAPS
    return kernel.kind + MANY_TAPS if large else kernel.kind


def kind_of(family: str) -> str:
    """The kind of kernels that a family is of."""
    return family.removesuffix(MANY_TAPS)


def cold_megabytes(kernel: Kernel) -> tuple[float, float, float]:
    """Megabytes of its tensors, weights and windows that a kernel finds in caches only alone.

    Windows are the tables of addresses through which convolutions and pools read their inputs: one
    for each output pixel and tap.
    """
    windows = kernel.rows * _taps(kernel) * ADDRESS_BYTES if _taps(kernel) > 1 else 0
    weights = packed_weights(kernel) * (ONE_ROW if kernel.rows == 1 else 1.0)
    tensors = kernel.bytes_in + kernel.bytes_out
    return tensors / MEGABYTE, weights / MEGABYTE, windows / MEGABYTE


def _taps(kernel: Kernel) -> int:
    return math.prod(kernel.window)


def packed_weights(kernel: Kernel) -> float:
    """Bytes of weights as vector kernels read them: every group's filters fill whole vectors."""
    if kernel.op == "conv" and kernel.groups > 1:
        filters = kernel.output[3] // kernel.groups
        return kernel.bytes_weights * padded(filters) / filters
    if kernel.op == "depthwise_conv" and _taps(kernel) > MOST_TAPS:
        return kernel.bytes_weights * VECTOR_WIDTH
    return kernel.bytes_weights
