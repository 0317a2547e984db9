"""Detector: backbone, head and predictor as one value, and its Graph."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from ..errors import InvalidInput
from .backbones.mobilenet_v2 import mobilenet_v2
from .builder import GraphBuilder
from .genotype import Genotype
from .graph import Graph
from .heads.mnasfpn import NORM, mnasfpn_head
from .heads.predictor import SharedPredictor, shared_predictor

COCO_CLASSES = 90


@dataclass(frozen=True, slots=True)
class Backbone:
    """A classification network without its classifier.

    Args:
        name: ``mobilenet_v2``.
        width: multiplier of all channel counts, rounded to multiples of 8.
    """

    name: Literal["mobilenet_v2"] = "mobilenet_v2"
    width: float = 1.0

    def __post_init__(self) -> None:
        if not self.width > 0:
            raise InvalidInput(f"a backbone's width must be positive, got {self.width}")


@dataclass(frozen=True, slots=True)
class Detector:
    """Everything that decides a detector's structure.

    Args:
        backbone: feature extractor.
        head: a MnasFPN genotype.
        predictor: box and class predictor.
        classes: without background; class scores have ``classes + 1`` slots, background first.
        input_size: pixels of the square input, a multiple of 64 so that level 6 has whole cells.
    """

    backbone: Backbone
    head: Genotype
    predictor: SharedPredictor
    classes: int = COCO_CLASSES
    input_size: int = 320

    def __post_init__(self) -> None:
        if self.classes < 1:
            raise InvalidInput(f"a detector needs at least 1 class, got {self.classes}")
        if self.input_size < 64 or self.input_size % 64:
            raise InvalidInput(
                f"input size must be a multiple of 64 (stride of level 6), got {self.input_size}"
            )

    def graph(self) -> Graph:
        """The pruned graph from ``image`` [1, S, S, 3] in [-1, 1] to boxes and scores.

        Outputs are ``predictor/boxes`` [1, N, 4] and ``predictor/scores`` [1, N, classes + 1]:
        before box decoding and NMS, as the paper times it.
        """
        return _graph(self)


@lru_cache(maxsize=64)
def _graph(detector: Detector) -> Graph:
    builder = GraphBuilder()
    image = builder.input("image", (1, detector.input_size, detector.input_size, 3))
    endpoints = mobilenet_v2(builder, image, detector.backbone.width, NORM)
    features = mnasfpn_head(builder, endpoints, detector.head)
    outputs = shared_predictor(builder, features, detector.predictor, detector.classes + 1)
    return builder.graph(outputs).prune()
