"""Classification networks whose Pixel 1 latencies are published, as graphs."""

from __future__ import annotations

from ...errors import InvalidInput
from ...models.backbones.backbone import Backbone, add_backbone, backbone_norm
from ...models.backbones.endpoints import Endpoints
from ...models.backbones.mobilenet_v3 import minimalistic
from ...models.builder import GraphBuilder
from ...models.graph import BatchNorm, Graph

NORM = BatchNorm()
IMAGENET_CLASSES = 1001  # with background, as the released checkpoints have them
V3_FEATURES = 1280  # between pooling and classifier of MobileNetV3-Large

FAMILIES = {
    "mobilenet_v2": "mobilenet_v2",
    "mnasnet_a1": "mnasnet_a1",
    "mobilenet_v3_large": "mobilenet_v3",
    "mobilenet_v3_large_minimalistic": "mobilenet_v3",
}


def classifier(name: str, width: float, resolution: int) -> Graph:
    """A whole ImageNet classifier from image to softmax.

    Raises:
        InvalidInput: no such network is known here.
    """
    if name not in FAMILIES:
        raise InvalidInput(f"no classifier is called {name!r}; known: {', '.join(FAMILIES)}")
    builder = GraphBuilder()
    image = builder.input("image", (1, resolution, resolution, 3))
    ends = _backbone(builder, image, name, width)
    x = builder.unary("pool", "global_average_pool", ends.ssd[1])
    if FAMILIES[name] == "mobilenet_v3":
        x = builder.conv("features", x, V3_FEATURES, bias=True)
        if name == "mobilenet_v3_large":
            x = builder.unary("features_hard_swish", "hard_swish", x)
    weights = (builder.channels(x), IMAGENET_CLASSES)
    x = builder.add_layer("logits", "fully_connected", (x,), weights, bias=True)
    return builder.graph((builder.unary("softmax", "softmax", x),))


def _backbone(builder: GraphBuilder, image: str, name: str, width: float) -> Endpoints:
    if name == "mobilenet_v3_large_minimalistic":
        return minimalistic(builder, image, width, NORM)
    backbone = Backbone(name, width)  # type: ignore[arg-type]
    return add_backbone(builder, image, backbone, backbone_norm(backbone))


def proxylessnas_block(row: dict[str, str]) -> Graph | None:
    """One row of the ProxylessNAS / Once-for-all look-up table as a graph.

    Args:
        row: with hin, win, cin, cout, and for blocks expand, kernel, stride, idskip.

    Returns:
        None for rows that are no network of their own (pooling alone).
    """
    builder = GraphBuilder()
    cin, cout = int(row["cin"]), int(row["cout"])
    x = builder.input("input", (1, int(row["hin"]), int(row["win"]), cin))
    layer = row["layer"]
    if layer == "Conv":
        return builder.graph((builder.conv("conv", x, cout, 3, 2, norm=NORM, activation="relu6"),))
    if layer.startswith("Conv_"):
        return builder.graph((builder.conv("conv", x, cout, norm=NORM, activation="relu6"),))
    if layer == "Logits":
        x = builder.unary("pool", "global_average_pool", x)
        return builder.graph(
            (builder.add_layer("logits", "fully_connected", (x,), (cin, cout), bias=True),)
        )
    if layer != "expanded_conv":
        return None
    expansion, kernel, stride = (int(row[key]) for key in ("expand", "kernel", "stride"))
    y = x
    if expansion > 1:
        y = builder.conv("expand", y, cin * expansion, norm=NORM, activation="relu6")
    y = builder.depthwise("depthwise", y, kernel, stride, norm=NORM, activation="relu6")
    y = builder.conv("project", y, cout, norm=NORM)
    if row["idskip"] == "1":
        y = builder.add("add", x, y)
    return builder.graph((y,))
