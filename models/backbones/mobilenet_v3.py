"""MobileNetV3 (Howard et al. 2019, Tables 1 and 2); layer names follow keras.applications."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ..graph.attributes import BatchNorm
from ..graph.builder import GraphBuilder
from .endpoints import Endpoints, conv_attributes
from .rounding import round_channels

SQUEEZE_RATIO = 0.25


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """One bottleneck: kernel, expansion ratio, output channels, squeeze-excite, hard-swish, stride.

    Ratios rather than expanded sizes, because other widths round the product.
    """

    kernel: int
    expansion: float
    channels: int
    squeeze: bool
    swish: bool
    stride: int


LARGE_BOTTLENECKS = (
    Bottleneck(3, 1, 16, False, False, 1),
    Bottleneck(3, 4, 24, False, False, 2),
    Bottleneck(3, 3, 24, False, False, 1),
    Bottleneck(5, 3, 40, True, False, 2),
    Bottleneck(5, 3, 40, True, False, 1),
    Bottleneck(5, 3, 40, True, False, 1),
    Bottleneck(3, 6, 80, False, True, 2),
    Bottleneck(3, 2.5, 80, False, True, 1),
    Bottleneck(3, 2.3, 80, False, True, 1),
    Bottleneck(3, 2.3, 80, False, True, 1),
    Bottleneck(3, 6, 112, True, True, 1),
    Bottleneck(3, 6, 112, True, True, 1),
    Bottleneck(5, 6, 160, True, True, 2),
    Bottleneck(5, 6, 160, True, True, 1),
    Bottleneck(5, 6, 160, True, True, 1),
)
SMALL_BOTTLENECKS = (
    Bottleneck(3, 1, 16, True, False, 2),
    Bottleneck(3, 72 / 16, 24, False, False, 2),
    Bottleneck(3, 88 / 24, 24, False, False, 1),
    Bottleneck(5, 4, 40, True, True, 2),
    Bottleneck(5, 6, 40, True, True, 1),
    Bottleneck(5, 6, 40, True, True, 1),
    Bottleneck(5, 3, 48, True, True, 1),
    Bottleneck(5, 3, 48, True, True, 1),
    Bottleneck(5, 6, 96, True, True, 2),
    Bottleneck(5, 6, 96, True, True, 1),
    Bottleneck(5, 6, 96, True, True, 1),
)


def mobilenet_v3_large(
    builder: GraphBuilder, image: str, width: float, norm: BatchNorm, halved: bool = False
) -> Endpoints:
    """Add MobileNetV3-Large: C3, C4, C5 are the last bottlenecks of strides 8, 16 and 32."""
    return _mobilenet_v3(builder, image, LARGE_BOTTLENECKS, width, norm, halved)


def mobilenet_v3_small(
    builder: GraphBuilder, image: str, width: float, norm: BatchNorm, halved: bool = False
) -> Endpoints:
    """Add MobileNetV3-Small: C3, C4, C5 are the last bottlenecks of strides 8, 16 and 32."""
    return _mobilenet_v3(builder, image, SMALL_BOTTLENECKS, width, norm, halved)


def minimalistic(builder: GraphBuilder, image: str, width: float, norm: BatchNorm) -> Endpoints:
    """Add MobileNetV3-Large "minimalistic": 3x3 kernels, no squeeze-excite, ReLU throughout."""
    rows = tuple(replace(row, kernel=3, squeeze=False, swish=False) for row in LARGE_BOTTLENECKS)
    return _mobilenet_v3(builder, image, rows, width, norm, halved=False)


def _mobilenet_v3(
    builder: GraphBuilder,
    image: str,
    rows: tuple[Bottleneck, ...],
    width: float,
    norm: BatchNorm,
    halved: bool,
) -> Endpoints:
    attributes = conv_attributes(norm)
    # The stem keeps its 16 channels at every width, as in keras.applications.
    swish = rows[-1].swish
    x = _activated(builder, "backbone/conv", builder.conv, (image, 16, 3, 2), swish, attributes)
    stride = 2
    at_stride: dict[int, str] = {}
    for index, row in enumerate(rows):
        name = f"backbone/expanded_conv_{index}" if index else "backbone/expanded_conv"
        before, stride = stride, stride * row.stride
        share = 0.5 if halved and stride == 32 else 1.0
        filters = round_channels(row.channels * width * share)
        expanded, x = _bottleneck(builder, name, x, row, filters, attributes)
        at_stride[stride] = x
        if before < stride == 32:
            ssd_first = expanded
    filters = round_channels(builder.channels(x) * 6)
    last = _activated(builder, "backbone/conv_1", builder.conv, (x, filters), swish, attributes)
    return Endpoints(c3=at_stride[8], c4=at_stride[16], c5=at_stride[32], ssd=(ssd_first, last))


def _bottleneck(
    builder: GraphBuilder,
    name: str,
    x: str,
    row: Bottleneck,
    filters: int,
    attributes: dict[str, Any],
) -> tuple[str, str]:
    """Expand, depthwise, squeeze-excite, project; returns the expansion and the result."""
    expanded = x
    if row.expansion != 1:
        size = round_channels(builder.channels(x) * row.expansion)
        expanded = _activated(
            builder, f"{name}_expand", builder.conv, (x, size), row.swish, attributes
        )
    y = _activated(
        builder,
        f"{name}_depthwise",
        builder.depthwise,
        (expanded, row.kernel, row.stride),
        row.swish,
        attributes,
    )
    if row.squeeze:
        y = _squeeze_excite(builder, f"{name}_squeeze_excite", y, attributes)
    y = builder.conv(f"{name}_project", y, filters, **attributes)
    if row.stride == 1 and builder.channels(x) == filters:
        y = builder.add(f"{name}_add", x, y)
    return expanded, y


def _activated(
    builder: GraphBuilder,
    name: str,
    convolution: Any,
    arguments: tuple[Any, ...],
    swish: bool,
    attributes: dict[str, Any],
) -> str:
    """A convolution and its activation: ReLU is fused, hard-swish is an operator of its own."""
    activation = None if swish else "relu"
    x: str = convolution(name, *arguments, activation=activation, **attributes)
    return builder.unary(f"{name}_hard_swish", "hard_swish", x) if swish else x


def _squeeze_excite(
    builder: GraphBuilder, name: str, source: str, attributes: dict[str, Any]
) -> str:
    """Gate the channels; hard-sigmoid as the runtime has it: relu6(x + 3) / 6.

    A converter folds the 3 into the convolution's bias.
    """
    channels = builder.channels(source)
    biased = {**attributes, "norm": None, "bias": True}
    squeezed = round_channels(channels * SQUEEZE_RATIO)
    x = builder.unary(f"{name}_avg_pool", "global_average_pool", source)
    x = builder.conv(f"{name}_conv", x, squeezed, activation="relu", **biased)
    x = builder.conv(f"{name}_conv_1", x, channels, shift=3.0, activation="relu6", **biased)
    x = builder.unary(f"{name}_gate", "mul", x, constant=1 / 6)
    return builder.mul(f"{name}_mul", source, x)
