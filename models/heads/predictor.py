"""The weight-shared box and class predictor on top of a feature pyramid (paper section 4.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...errors import InvalidGraph
from ..graph.attributes import BatchNorm
from ..graph.builder import GraphBuilder

TOWER_NORM = BatchNorm(epsilon=1e-3, momentum=0.997)
PREDICTOR_L2 = 4e-5
STDDEV = 0.01
CLASS_BIAS = -4.6  # sigmoid(-4.6) = 0.01: focal loss starts with rare positives
TOWER_CONVS = 4


@dataclass(frozen=True, slots=True)
class SharedPredictor:
    """Four separable convolutions, then one separable convolution each for boxes and classes.

    Convolution weights are shared over the levels, batch norm is not.

    Args:
        depth: D, channels of the tower.
        separate_towers: two towers, one for boxes and one for classes, instead of one for both.
        anchors: per location.
    """

    depth: int = 64
    separate_towers: bool = False
    anchors: int = 9

    def __post_init__(self) -> None:
        if self.depth < 1 or self.anchors < 1:
            raise InvalidGraph(
                "predictor depth and anchors must be at least 1, "
                f"got {self.depth} and {self.anchors}"
            )


def shared_predictor(
    builder: GraphBuilder, features: dict[int, str], predictor: SharedPredictor, slots: int
) -> tuple[str, str]:
    """Add the predictor for every level.

    Args:
        slots: class slots, background included.

    Returns:
        Names of ``boxes`` [1, N, 4] (encoded ty, tx, th, tw) and ``scores`` [1, N, slots]
        (sigmoid), levels in order, locations row by row, anchors innermost. The layer
        ``logits`` holds the scores before the sigmoid.
    """
    heads = {"box": 4 * predictor.anchors, "class": slots * predictor.anchors}
    first = next(iter(features))
    raw: dict[str, list[str]] = {kind: [] for kind in heads}
    for level, feature in features.items():
        towers = {}
        for kind in heads if predictor.separate_towers else ("shared",):
            towers[kind] = _tower(builder, kind, level, first, feature, predictor.depth)
        for kind, filters in heads.items():
            source = towers[kind if predictor.separate_towers else "shared"]
            x = _separable(
                builder,
                f"predictor/{kind}",
                level,
                first,
                source,
                filters,
                bias=True,
                bias_init=CLASS_BIAS if kind == "class" else 0.0,
            )
            _, height, width, _ = builder.shape(x)
            shape = (1, height * width * predictor.anchors, filters // predictor.anchors)
            raw[kind].append(builder.reshape(f"predictor/{kind}/level{level}/reshape", x, shape))
    return join_predictions(builder, raw["box"], raw["class"])


def join_predictions(
    builder: GraphBuilder, boxes: list[str], classes: list[str]
) -> tuple[str, str]:
    """Concatenate the maps' predictions; the names every detector's outputs have."""
    joined = builder.concat("predictor/boxes", boxes, axis=1)
    logits = builder.concat("predictor/logits", classes, axis=1)
    return joined, builder.unary("predictor/scores", "sigmoid", logits)


def _tower(
    builder: GraphBuilder, kind: str, level: int, first: int, feature: str, depth: int
) -> str:
    x = feature
    for step in range(TOWER_CONVS):
        x = _separable(
            builder,
            f"predictor/{kind}_tower{step}",
            level,
            first,
            x,
            depth,
            norm=TOWER_NORM,
            activation="relu6",
        )
    return x


def _separable(
    builder: GraphBuilder,
    name: str,
    level: int,
    first: int,
    source: str,
    filters: int,
    **pointwise: Any,
) -> str:
    """Depthwise 3x3 and pointwise; weights of ``level`` are those of the first level."""
    shares = {
        part: None if level == first else f"{name}/level{first}/{part}"
        for part in ("depthwise", "pointwise")
    }
    x = builder.depthwise(
        f"{name}/level{level}/depthwise",
        source,
        3,
        shares=shares["depthwise"],
        initializer="normal",
        stddev=STDDEV,
        l2=PREDICTOR_L2,
    )
    return builder.conv(
        f"{name}/level{level}/pointwise",
        x,
        filters,
        shares=shares["pointwise"],
        initializer="normal",
        stddev=STDDEV,
        l2=PREDICTOR_L2,
        **pointwise,
    )
