"""Every system of the paper as a value, by name, with the paper's own figures beside."""

from __future__ import annotations

import difflib
from dataclasses import replace

from ..errors import UnknownModel
from .backbones.backbone import Backbone
from .detector import Detector
from .genotype import Block, Genotype
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
    try:
        return PUBLISHED[name]
    except KeyError:
        pass
    near = difflib.get_close_matches(name.lower(), PUBLISHED, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise UnknownModel(
        f"no published model is called {name!r}; {hint}known: {', '.join(PUBLISHED)}"
    )
