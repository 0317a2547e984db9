"""Detector: backbone, head and predictor as one value, and its Graph."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from ..errors import InvalidInput
from .backbones.backbone import Backbone as Backbone
from .backbones.backbone import add_backbone, backbone_norm
from .graph.builder import GraphBuilder
from .graph.graph import Graph
from .heads.cell import Cell
from .heads.mnasfpn import PYRAMID_NORM, mnasfpn_head
from .heads.nasfpn import NasFpn, nasfpn_head
from .heads.predictor import SharedPredictor, shared_predictor
from .heads.ssdlite import SsdLite, ssdlite

COCO_CLASSES = 90

Head = Cell | SsdLite


@dataclass(frozen=True, slots=True)
class Detector:
    """Everything that decides a detector's structure.

    Args:
        backbone: feature extractor.
        head: a MnasFPN genotype, a NAS-FPN cell, or SSDLite.
        predictor: box and class predictor on a pyramid; None for SSDLite, which has its own.
        classes: without background; class scores have ``classes + 1`` slots, background first.
        input_size: pixels of the square input, a multiple of 64 so that level 6 has whole cells.

    Raises:
        InvalidInput: a size is out of range, or head and predictor do not belong together.
    """

    backbone: Backbone
    head: Head
    predictor: SharedPredictor | None = None
    classes: int = COCO_CLASSES
    input_size: int = 320

    def __post_init__(self) -> None:
        if self.classes < 1:
            raise InvalidInput(f"a detector needs at least 1 class, got {self.classes}")
        if self.input_size < 64 or self.input_size % 64:
            raise InvalidInput(
                f"input size must be a multiple of 64 (stride of level 6), got {self.input_size}"
            )
        if isinstance(self.head, SsdLite) and self.predictor is not None:
            raise InvalidInput("SSDLite has its own predictors; leave the detector's predictor out")
        if not isinstance(self.head, SsdLite) and self.predictor is None:
            raise InvalidInput(
                "a pyramid head needs a predictor, such as SharedPredictor(depth=64)"
            )

    def graph(self) -> Graph:
        """The pruned graph from ``image`` [1, S, S, 3] in [-1, 1] to boxes and scores.

        Outputs are ``predictor/boxes`` [1, N, 4] and ``predictor/scores`` [1, N, classes + 1]:
        before box decoding and NMS, as the paper times it.
        """
        return _graph(self)

    def unpruned_graph(self) -> Graph:
        """The same with the head's unused blocks: what a count of all blocks would see."""
        written = _written(self)
        head = (layer.name for layer in written if layer.part == "head")
        return Graph(written.prune((*written.outputs, *head)).layers, written.outputs)


def default_detector(cell: Cell) -> Detector:
    """A cell on the paper's own backbone and predictor (Table 1, MobileNetV2 + MnasFPN)."""
    return Detector(Backbone(), cell, SharedPredictor())


@lru_cache(maxsize=64)
def _graph(detector: Detector) -> Graph:
    return _written(detector).prune().merge_duplicates()


def _written(detector: Detector) -> Graph:
    builder = GraphBuilder()
    image = builder.input("image", (1, detector.input_size, detector.input_size, 3))
    slots = detector.classes + 1
    if isinstance(detector.head, SsdLite):
        norm = backbone_norm(detector.backbone)
        endpoints = add_backbone(builder, image, detector.backbone, norm)
        return builder.graph(ssdlite(builder, endpoints, detector.head, slots, norm))
    assert detector.predictor is not None  # the constructor has checked
    endpoints = add_backbone(builder, image, detector.backbone, PYRAMID_NORM)
    if isinstance(detector.head, NasFpn):
        features = nasfpn_head(builder, endpoints, detector.head)
    else:
        features = mnasfpn_head(builder, endpoints, detector.head)
    return builder.graph(shared_predictor(builder, features, detector.predictor, slots))
