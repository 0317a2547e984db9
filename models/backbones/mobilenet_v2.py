"""MobileNetV2 (Sandler et al. 2018, Table 2); layer names follow keras.applications."""

from __future__ import annotations

from ..graph.attributes import BatchNorm
from ..graph.builder import GraphBuilder
from .endpoints import Endpoints, conv_attributes, last_channels
from .rounding import round_channels

# expansion t, channels c, repeats n, stride s
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def mobilenet_v2(
    builder: GraphBuilder, image: str, width: float, norm: BatchNorm, halved: bool = False
) -> Endpoints:
    """Add the backbone to a graph.

    Returns:
        C3, C4, C5 (block_5_add, block_12_add, block_16_project, strides 8, 16, 32), the first
        stride-32 block's expansion at stride 16 and the last 1x1 convolution for SSDLite.
    """
    attributes = conv_attributes(norm)
    x = builder.conv(
        "backbone/Conv1",
        image,
        round_channels(32 * width),
        3,
        2,
        activation="relu6",
        **attributes,
    )
    stride, block = 2, 0
    at_stride: dict[int, str] = {}
    for expansion, channels, repeats, first_stride in _STAGES:
        for repeat in range(repeats):
            name = f"backbone/block_{block}" if block else "backbone/expanded_conv"
            step = first_stride if repeat == 0 else 1
            before, stride = stride, stride * step
            share = 0.5 if halved and stride == 32 else 1.0
            # keras.applications cuts to an integer before it rounds, and its weights must fit.
            filters = round_channels(int(channels * width * share))
            y = x
            if expansion > 1:
                y = builder.conv(
                    f"{name}_expand",
                    y,
                    expansion * builder.channels(x),
                    activation="relu6",
                    **attributes,
                )
            if before < stride == 32:
                ssd_first = y
            y = builder.depthwise(f"{name}_depthwise", y, 3, step, activation="relu6", **attributes)
            y = builder.conv(f"{name}_project", y, filters, **attributes)
            if step == 1 and builder.channels(x) == filters:
                y = builder.add(f"{name}_add", x, y)
            x = y
            at_stride[stride] = x
            block += 1
    filters = last_channels(1280, width, halved)
    last = builder.conv("backbone/Conv_1", x, filters, activation="relu6", **attributes)
    return Endpoints(c3=at_stride[8], c4=at_stride[16], c5=at_stride[32], ssd=(ssd_first, last))
