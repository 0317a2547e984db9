"""Classification networks whose Pixel 1 latencies are published, as graphs."""

from __future__ import annotations

from ...errors import InvalidInput
from ...latency.fitting.lookup_tables import LutEntry
from ...models.backbones.backbone import Backbone, add_backbone, backbone_norm
from ...models.backbones.endpoints import Endpoints
from ...models.backbones.mobilenet_v3 import minimalistic
from ...models.graph.attributes import BatchNorm
from ...models.graph.builder import GraphBuilder
from ...models.graph.graph import Graph
from .figures import number

NORM = BatchNorm()
IMAGENET_CLASSES = 1001  # with background, as the released checkpoints have them
V3_FEATURES = 1280  # between pooling and classifier of MobileNetV3-Large

ARCHITECTURES = {
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
    if name not in ARCHITECTURES:
        raise InvalidInput(f"no classifier is called {name!r}; known: {', '.join(ARCHITECTURES)}")
    builder = GraphBuilder()
    image = builder.input("image", (1, resolution, resolution, 3))
    ends = _backbone(builder, image, name, width)
    x = builder.unary("pool", "global_average_pool", ends.ssd[1])
    if ARCHITECTURES[name] == "mobilenet_v3":
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


def lut_entry(row: dict[str, str]) -> LutEntry:
    """One row of a CSV file that holds a ProxylessNAS or Once-for-all look-up table.

    Args:
        row: with layer, hin, win, cin, hout, wout, cout, mean_ms, std_ms, count; for blocks also
            expand, kernel, stride, idskip, and where the table knows them se and hswish.

    Raises:
        InvalidInput: a cell is no number, or the row describes no layer.
    """

    def whole(column: str) -> int:
        return int(number(row, column))

    def optional(column: str) -> int | None:
        return whole(column) if row.get(column) else None

    pixels = () if row["layer"] == "Logits" else (whole("hout"), whole("wout"))
    return LutEntry(
        layer=row["layer"],
        input=(whole("hin"), whole("win"), whole("cin")),
        output=(*pixels, whole("cout")),
        mean_ms=number(row, "mean_ms"),
        std_ms=number(row, "std_ms"),
        count=whole("count"),
        expand=optional("expand"),
        kernel=optional("kernel"),
        stride=optional("stride"),
        idskip=optional("idskip"),
        se=optional("se"),
        hs=optional("hswish"),
    )
