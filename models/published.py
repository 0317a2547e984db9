"""Every system of the paper as a value, by name, with the paper's own figures beside."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from typing import Literal

from ..errors import UnknownModel
from .backbones.backbone import Backbone
from .detector import Detector
from .genotype import Block, Genotype
from .graph.costs import cost
from .heads.nasfpn import NasFpn, Node
from .heads.predictor import SharedPredictor
from .heads.ssdlite import SsdLite

# The cell of Figure 2 and of the authors' release; its only internal block is at level 4.
MNASFPN_BLOCKS = (
    Block(inputs=(1, 2), level=4, expansion=256),
    Block(inputs=(0, 4), level=3, expansion=128),
    Block(inputs=(5, 4), level=4, expansion=128),
    Block(inputs=(4, 3), level=5, expansion=128, kernel=5),
    Block(inputs=(4, 3), level=6, expansion=96),
)
# The same cell with every channel count times 0.7, rounded as the backbone's.
MNASFPN_BLOCKS_07 = tuple(
    replace(block, expansion=expansion)
    for block, expansion in zip(MNASFPN_BLOCKS, (176, 88, 88, 88, 64), strict=True)
)

# NAS-FPN's 7-node cell (levels 3..7). Lite has no level 7: its node goes, and the level-6 output
# reads level 6 instead of it.
NASFPN_NODES = (
    Node((1, 3), 4, "se"),
    Node((1, 5), 4),
    Node((0, 6), 3),
    Node((6, 7), 4),
    Node((7, 8), 5, "se"),
    Node((6, 9), 7, "se"),
    Node((9, 10), 6, "se"),
)
NASFPN_LITE_NODES = (
    Node((1, 3), 4, "se"),
    Node((1, 4), 4),
    Node((0, 5), 3),
    Node((5, 6), 4),
    Node((6, 7), 5, "se"),
    Node((8, 5), 6, "se"),
)

V2, V3 = Backbone("mobilenet_v2"), Backbone("mobilenet_v3_large")
TABLE_1_PREDICTOR = SharedPredictor(depth=64)
TABLE_3_PREDICTOR = SharedPredictor(depth=48, separate_towers=True)


def _mnasfpn(repeats: int = 4, sdo: bool = True) -> Genotype:
    return Genotype(channels=48, repeats=repeats, blocks=MNASFPN_BLOCKS, sdo=sdo)


PUBLISHED: dict[str, Detector] = {
    "mobilenetv3-ssdlite-halved": Detector(replace(V3, halved=True), SsdLite()),
    "mobilenetv3-ssdlite": Detector(V3, SsdLite()),
    "mobilenetv2-ssdlite": Detector(V2, SsdLite(), classes=80),
    "mnasneta1-ssdlite": Detector(Backbone("mnasnet_a1"), SsdLite()),
    "mobilenetv2-nasfpnlite": Detector(
        V2, NasFpn(channels=64, repeats=6, nodes=NASFPN_LITE_NODES), TABLE_1_PREDICTOR
    ),
    "mobilenetv2-mnasfpn-0.7": Detector(
        Backbone("mobilenet_v2", width=0.7),
        Genotype(channels=32, repeats=4, blocks=MNASFPN_BLOCKS_07),
        SharedPredictor(depth=48),
    ),
    "mobilenetv3-mnasfpn": Detector(V3, _mnasfpn(), TABLE_1_PREDICTOR),
    "mobilenetv2-mnasfpn": Detector(V2, _mnasfpn(), TABLE_1_PREDICTOR),
    "mobilenetv2-mnasfpn-x4": Detector(V2, _mnasfpn(4), TABLE_3_PREDICTOR),
    "mobilenetv2-mnasfpn-x5": Detector(V2, _mnasfpn(5), TABLE_3_PREDICTOR),
    "mobilenetv2-mnasfpn-x4-nosdo": Detector(V2, _mnasfpn(4, sdo=False), TABLE_3_PREDICTOR),
    "mobilenetv2-mnasfpn-x5-nosdo": Detector(V2, _mnasfpn(5, sdo=False), TABLE_3_PREDICTOR),
}


def published(name: str) -> Detector:
    """The detector of that name.

    Raises:
        UnknownModel: no system is called so; the message suggests the nearest and lists all.
    """
    if name in PUBLISHED:
        return PUBLISHED[name]
    near = difflib.get_close_matches(name.lower(), PUBLISHED, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise UnknownModel(
        f"no published model is called {name!r}; {hint}known: {', '.join(PUBLISHED)}"
    )


Convention = Literal["weights and biases", "all"]


@dataclass(frozen=True, slots=True)
class PaperFigures:
    """What the paper prints for a system.

    Args:
        table: of the paper.
        madds_b: multiply-accumulates, in billions.
        params_m: parameters, in millions.
        map_percent: mAP on COCO; test-dev in Table 1, val2017 in Table 3.
        latency_ms: on a Pixel 1, one thread, batch 1, up to NMS.
        counting: which parameters the figure counts; ``all`` includes batch norm's four vectors.
        note: where our count has to differ, and why.
    """

    table: Literal[1, 3]
    madds_b: float
    params_m: float
    map_percent: float
    latency_ms: int
    counting: Convention = "all"
    note: str = ""


_SSD: Convention = "weights and biases"
PAPER: dict[str, PaperFigures] = {
    "mobilenetv3-ssdlite-halved": PaperFigures(1, 0.51, 3.22, 22.0, 119, _SSD),
    "mobilenetv3-ssdlite": PaperFigures(1, 0.62, 4.97, 22.0, 137, _SSD),
    "mobilenetv2-ssdlite": PaperFigures(
        1, 0.8, 4.3, 22.1, 163, _SSD, "80 classes: with 90 it would be 0.804 B and 4.450 M"
    ),
    "mnasneta1-ssdlite": PaperFigures(
        1, 0.8, 4.9, 23.0, 174, _SSD, "the MobileNetV3 paper prints it as 0.84 B and 4.88 M"
    ),
    "mobilenetv2-nasfpnlite": PaperFigures(
        1,
        0.98,
        2.02,
        25.1,
        202,
        note=(
            "no detector as described has both figures: MobileNetV2 up to C5 and 64-channel "
            "lateral convolutions take 0.578 B and 1.809 M weights, six cells with one separable "
            "block a level at least 0.060 B and 0.112 M; the 0.104 M weights then left are used "
            "at most 2125 times each, which makes 0.859 B at most"
        ),
    ),
    "mobilenetv2-mnasfpn-0.7": PaperFigures(
        1, 0.53, 1.29, 23.8, 121, note="a predictor of depth 64 would give 0.569 B and 1.293 M"
    ),
    "mobilenetv3-mnasfpn": PaperFigures(1, 0.77, 3.46, 25.5, 168),
    "mobilenetv2-mnasfpn": PaperFigures(1, 0.92, 2.50, 26.1, 183),
    "mobilenetv2-mnasfpn-x4": PaperFigures(3, 0.90, 2.5, 24.9, 187),
    "mobilenetv2-mnasfpn-x5": PaperFigures(3, 0.94, 2.6, 25.5, 196),
    "mobilenetv2-mnasfpn-x4-nosdo": PaperFigures(3, 0.94, 2.5, 24.9, 195),
    "mobilenetv2-mnasfpn-x5-nosdo": PaperFigures(3, 1.0, 2.6, 25.5, 207),
}


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """A system as built here, beside the paper's figures.

    Args:
        madds, params: counted on the graph, parameters by ``paper.counting``.
        madds_deviation_percent, params_deviation_percent: ours from the paper's rounded figure.
    """

    name: str
    madds: int
    params: int
    madds_deviation_percent: float
    params_deviation_percent: float
    paper: PaperFigures


def published_table() -> tuple[PublishedRow, ...]:
    """One row for each system, in the order of the paper's Tables 1 and 3."""
    return tuple(_row(name, paper) for name, paper in PAPER.items())


def _row(name: str, paper: PaperFigures) -> PublishedRow:
    counted = cost(PUBLISHED[name].graph())
    params = counted.params if paper.counting == "all" else counted.params_without_norm
    return PublishedRow(
        name,
        counted.madds,
        params,
        round(100 * (counted.madds / (paper.madds_b * 1e9) - 1), 2),
        round(100 * (params / (paper.params_m * 1e6) - 1), 2),
        paper,
    )
