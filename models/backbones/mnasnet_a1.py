"""MnasNet-A1 (Tan et al. 2019, Figure 7)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ..graph.attributes import BatchNorm
from ..graph.builder import GraphBuilder
from .endpoints import Endpoints, conv_attributes, last_channels
from .rounding import round_channels


@dataclass(frozen=True, slots=True)
class Stage:
    """Inverted bottlenecks: expansion, kernel, output channels, repeats, stride, squeeze-excite."""

    expansion: int
    kernel: int
    channels: int
    repeats: int
    stride: int
    squeeze: bool


_STAGES = (
    Stage(1, 3, 16, 1, 1, False),  # the separable convolution, without skip
    Stage(6, 3, 24, 2, 2, False),
    Stage(3, 5, 40, 3, 2, True),
    Stage(6, 3, 80, 4, 2, False),
    Stage(6, 3, 112, 2, 1, True),
    Stage(6, 5, 160, 3, 2, True),
    Stage(6, 3, 320, 1, 1, False),
)


def mnasnet_a1(
    builder: GraphBuilder, image: str, width: float, norm: BatchNorm, halved: bool = False
) -> Endpoints:
    """Add the backbone to a graph.

    Returns:
        C3, C4, C5 (40, 112 and 320 channels at width 1), the expansion of the first stride-32
        block and the last 1x1 convolution for SSDLite.
    """
    attributes = conv_attributes(norm)
    x = builder.conv(
        "backbone/stem", image, round_channels(32 * width), 3, 2, activation="relu", **attributes
    )
    stride, block = 2, 0
    at_stride: dict[int, str] = {}
    for stage in _STAGES:
        for repeat in range(stage.repeats):
            if repeat == 1:
                stage = replace(stage, stride=1)
            before, stride = stride, stride * stage.stride
            share = 0.5 if halved and stride == 32 else 1.0
            filters = round_channels(stage.channels * width * share)
            expanded, x = _block(builder, f"backbone/block_{block}", x, stage, filters, attributes)
            at_stride[stride] = x
            if before < stride == 32:
                ssd_first = expanded
            block += 1
    filters = last_channels(1280, width, halved)
    last = builder.conv("backbone/head", x, filters, activation="relu", **attributes)
    return Endpoints(c3=at_stride[8], c4=at_stride[16], c5=at_stride[32], ssd=(ssd_first, last))


def _block(
    builder: GraphBuilder,
    name: str,
    x: str,
    stage: Stage,
    filters: int,
    attributes: dict[str, Any],
) -> tuple[str, str]:
    """Expand, depthwise, squeeze-excite, project; returns the expansion and the result."""
    channels = builder.channels(x)
    expanded = x
    if stage.expansion > 1:
        expanded = builder.conv(
            f"{name}_expand", x, stage.expansion * channels, activation="relu", **attributes
        )
    y = builder.depthwise(
        f"{name}_depthwise", expanded, stage.kernel, stage.stride, activation="relu", **attributes
    )
    if stage.squeeze:
        y = _squeeze_excite(builder, f"{name}_squeeze_excite", y, channels // 4, attributes)
    y = builder.conv(f"{name}_project", y, filters, **attributes)
    if stage.expansion > 1 and stage.stride == 1 and channels == filters:
        y = builder.add(f"{name}_add", x, y)
    return expanded, y


def _squeeze_excite(
    builder: GraphBuilder, name: str, source: str, squeezed: int, attributes: dict[str, Any]
) -> str:
    """Gate the channels; squeezed to a quarter of the block's input, not of its expansion."""
    biased = {**attributes, "norm": None, "bias": True}
    x = builder.unary(f"{name}_avg_pool", "global_average_pool", source)
    x = builder.conv(f"{name}_conv", x, max(1, squeezed), activation="relu", **biased)
    x = builder.conv(f"{name}_conv_1", x, builder.channels(source), **biased)
    x = builder.unary(f"{name}_gate", "sigmoid", x)
    return builder.mul(f"{name}_mul", source, x)
