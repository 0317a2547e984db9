"""What a backbone hands to a head, and what all backbones have in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..graph.attributes import BatchNorm
from .rounding import round_channels

BACKBONE_L2 = 4e-5  # depthwise included


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Layer names of a backbone's features.

    Args:
        c3, c4, c5: strides 8, 16 and 32, for pyramid heads.
        ssd: stride 16 (expansion of the first stride-32 block) and stride 32 (last 1x1
            convolution), for SSDLite.
    """

    c3: str
    c4: str
    c5: str
    ssd: tuple[str, str]


def conv_attributes(norm: BatchNorm) -> dict[str, Any]:
    """Attributes shared by every convolution of a backbone: batch norm, initialiser, L2."""
    return {
        "norm": norm,
        "initializer": "truncated_normal",
        "stddev": 0.03,
        "l2": BACKBONE_L2,
    }


def last_channels(channels: int, width: float, halved: bool) -> int:
    """Channels of the last 1x1 convolution: never fewer than at width 1 unless halved."""
    return round_channels(channels * max(width, 1.0) * (0.5 if halved else 1.0))
