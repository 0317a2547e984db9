"""SSDLite: six feature maps, each with its own separable box and class predictor.

Sandler et al. 2018, section 6.2; details as in the TensorFlow Object Detection API.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...errors import InvalidGraph
from ..backbones.endpoints import Endpoints, conv_attributes
from ..graph.attributes import BatchNorm
from ..graph.builder import GraphBuilder
from .predictor import CLASS_BIAS, join_predictions


@dataclass(frozen=True, slots=True)
class SsdLite:
    """The SSDLite head and predictors.

    Args:
        extra_depths: channels of the maps built on top of the backbone's two, each half the
            resolution of the one before.
        anchors: per location, for each map.
    """

    extra_depths: tuple[int, ...] = (512, 256, 256, 128)
    anchors: tuple[int, ...] = (3, 6, 6, 6, 6, 6)

    def __post_init__(self) -> None:
        if min(self.extra_depths, default=2) < 2 or min(self.anchors, default=1) < 1:
            raise InvalidGraph(
                "extra depths must be at least 2 and anchors at least 1, "
                f"got {list(self.extra_depths)} and {list(self.anchors)}"
            )
        maps = 2 + len(self.extra_depths)
        if len(self.anchors) != maps:
            raise InvalidGraph(
                f"2 backbone maps and {len(self.extra_depths)} extra ones need {maps} numbers of "
                f"anchors, got {list(self.anchors)}"
            )


def ssdlite(
    builder: GraphBuilder, endpoints: Endpoints, head: SsdLite, slots: int, norm: BatchNorm
) -> tuple[str, str]:
    """Add maps and predictors to a graph.

    Args:
        slots: class slots, background included.
        norm: batch norm of every convolution but the last ones.

    Returns:
        Names of ``boxes`` [1, N, 4] and ``scores`` [1, N, slots], maps in order, locations row by
        row, anchors innermost.
    """
    attributes = {**conv_attributes(norm), "activation": "relu6"}
    maps = list(endpoints.ssd)
    for index, depth in enumerate(head.extra_depths, start=3):
        maps.append(_extra_map(builder, f"head/map{index}", maps[-1], depth, attributes))
    raw: dict[str, list[str]] = {"box": [], "class": []}
    for index, (feature, anchors) in enumerate(zip(maps, head.anchors, strict=True), start=1):
        for kind, values in (("box", 4), ("class", slots)):
            name = f"predictor/{kind}/map{index}"
            raw[kind].append(_predict(builder, name, feature, anchors, values, attributes))
    return join_predictions(builder, raw["box"], raw["class"])


def _extra_map(
    builder: GraphBuilder, name: str, source: str, depth: int, attributes: dict[str, Any]
) -> str:
    """1x1 to half the depth, depthwise 3x3 with stride 2, 1x1 to the depth."""
    x = builder.conv(f"{name}/reduce", source, depth // 2, **attributes)
    x = builder.depthwise(f"{name}/depthwise", x, 3, 2, **attributes)
    return builder.conv(f"{name}/pointwise", x, depth, **attributes)


def _predict(
    builder: GraphBuilder,
    name: str,
    feature: str,
    anchors: int,
    values: int,
    attributes: dict[str, Any],
) -> str:
    """Depthwise 3x3, then a 1x1 convolution with bias to ``values`` numbers for each anchor."""
    x = builder.depthwise(f"{name}/depthwise", feature, 3, **attributes)
    last = {**attributes, "norm": None, "activation": None, "bias": True}
    bias_init = CLASS_BIAS if "/class/" in name else 0.0
    x = builder.conv(f"{name}/pointwise", x, anchors * values, bias_init=bias_init, **last)
    _, height, width, _ = builder.shape(x)
    return builder.reshape(f"{name}/reshape", x, (1, height * width * anchors, values))
