"""The channel rounding rule of the MobileNet family."""

from __future__ import annotations


def round_channels(channels: float, divisor: int = 8, least: int = 8) -> int:
    """Nearest multiple of ``divisor``, at least ``least``, never more than 10 % below the input."""
    rounded = max(least, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded
