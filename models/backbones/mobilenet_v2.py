"""MobileNetV2 (Sandler et al. 2018, Table 2); layer names follow keras.applications."""

from __future__ import annotations

from ..builder import GraphBuilder
from ..graph import BatchNorm
from ..rounding import round_channels
from .endpoints import Endpoints, conv_attributes

# expansion t, channels c, repeats n, stride s
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def mobilenet_v2(builder: GraphBuilder, image: str, width: float, norm: BatchNorm) -> Endpoints:
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
    features: dict[str, str] = {}
    block = 0
    for expansion, channels, repeats, first_stride in STAGES:
        filters = round_channels(channels * width)
        for repeat in range(repeats):
            name = f"backbone/block_{block}" if block else "backbone/expanded_conv"
            stride = first_stride if repeat == 0 else 1
            y = x
            if expansion > 1:
                y = builder.conv(
                    f"{name}_expand",
                    y,
                    expansion * builder.channels(x),
                    activation="relu6",
                    **attributes,
                )
                features[f"block_{block}_expand"] = y
            y = builder.depthwise(
                f"{name}_depthwise", y, 3, stride, activation="relu6", **attributes
            )
            y = builder.conv(f"{name}_project", y, filters, **attributes)
            if stride == 1 and builder.channels(x) == filters:
                y = builder.add(f"{name}_add", x, y)
            x = y
            features[f"block_{block}"] = x
            block += 1
    last = builder.conv(
        "backbone/Conv_1",
        x,
        round_channels(1280 * width) if width > 1 else 1280,
        activation="relu6",
        **attributes,
    )
    return Endpoints(
        c3=features["block_5"],
        c4=features["block_12"],
        c5=features["block_16"],
        ssd=(features["block_13_expand"], last),
    )
