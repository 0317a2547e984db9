"""Backbone: a feature extractor as a value, and its layers in a graph."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from ...errors import InvalidInput
from ..graph.attributes import BatchNorm
from ..graph.builder import GraphBuilder
from ..graph.graph import Graph
from .endpoints import Endpoints
from .mnasnet_a1 import mnasnet_a1
from .mobilenet_v2 import mobilenet_v2
from .mobilenet_v3 import mobilenet_v3_large, mobilenet_v3_small

BackboneName = Literal["mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small", "mnasnet_a1"]
LEAST_SIZE = 32  # one position at stride 32


@dataclass(frozen=True, slots=True)
class Backbone:
    """A classification network without its classifier.

    Args:
        name: ``mobilenet_v2``, ``mobilenet_v3_large``, ``mobilenet_v3_small`` or ``mnasnet_a1``.
        width: multiplier of all channel counts, rounded to multiples of 8.
        halved: half the output channels in everything at stride 32 ("channel-halving",
            MobileNetV3 paper section 6.3).
    """

    name: BackboneName = "mobilenet_v2"
    width: float = 1.0
    halved: bool = False

    def __post_init__(self) -> None:
        known = get_args(BackboneName)
        if self.name not in known:
            raise InvalidInput(f"no backbone is called {self.name!r}; known: {', '.join(known)}")
        if not (self.width > 0 and math.isfinite(self.width)):
            raise InvalidInput(f"a backbone's width must be positive, got {self.width}")

    def graph(self, height: int, width: int) -> Graph:
        """The backbone alone; outputs are C3, C4, C5 and the last 1x1 convolution."""
        builder = GraphBuilder()
        image = builder.input("image", (1, height, width, 3))
        ends = add_backbone(builder, image, self, backbone_norm(self))
        return builder.graph((ends.c3, ends.c4, ends.c5, ends.ssd[1]))


V3_NORM = BatchNorm(epsilon=1e-3, momentum=0.99)  # section 6.1.1 of its paper
_BUILDERS: dict[str, tuple[Callable[..., Endpoints], BatchNorm]] = {
    "mobilenet_v2": (mobilenet_v2, BatchNorm(epsilon=1e-3, momentum=0.997)),
    "mobilenet_v3_large": (mobilenet_v3_large, V3_NORM),
    "mobilenet_v3_small": (mobilenet_v3_small, V3_NORM),
    "mnasnet_a1": (mnasnet_a1, BatchNorm(epsilon=1e-3, momentum=0.99)),
}


def backbone_norm(backbone: Backbone) -> BatchNorm:
    """Batch norm of the backbone's own paper; pyramid detectors use another."""
    return _BUILDERS[backbone.name][1]


def add_backbone(
    builder: GraphBuilder, image: str, backbone: Backbone, norm: BatchNorm
) -> Endpoints:
    """Add a backbone's layers, all called ``backbone/...``, to a graph.

    Args:
        image: name of the layer it reads, [1, H, W, 3] in [-1, 1].
        norm: batch norm of every convolution.

    Raises:
        InvalidInput: the image is smaller than 32x32 or has not 3 channels.
    """
    _, height, width, channels = builder.shape(image)
    if min(height, width) < LEAST_SIZE or channels != 3:
        raise InvalidInput(
            f"a backbone needs an image of at least {LEAST_SIZE}x{LEAST_SIZE} with 3 channels, "
            f"got {height}x{width} with {channels}"
        )
    build, _ = _BUILDERS[backbone.name]
    return build(builder, image, backbone.width, norm, backbone.halved)
