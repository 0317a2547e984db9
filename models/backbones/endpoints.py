"""What a backbone hands to a head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..graph import BatchNorm

BACKBONE_L2 = 4e-5  # depthwise included


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Layer names of a backbone's features.

    Args:
        c3, c4, c5: strides 8, 16 and 32, for pyramid heads.
        ssd: stride 16 and 32, for SSDLite.
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
