"""Multiply-adds and parameters of a Graph, by the paper's counting conventions."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .graph import Graph
from .layer import Layer


@dataclass(frozen=True, slots=True)
class Cost:
    """What a graph costs, in the conventions in which papers count.

    Counted: multiply-accumulates of convolutions and dense products; every weight once, however
    many layers share it. Not counted: bias additions, batch norm, activations, adds, pools,
    resizing, gating, box decoding and NMS.

    Args:
        madds: multiply-accumulates of one inference.
        weights: kernel elements.
        biases: bias elements.
        norm_channels: channels of all batch norms; each has four vectors.
    """

    madds: int
    weights: int
    biases: int
    norm_channels: int

    @property
    def params(self) -> int:
        """Everything, batch norm's gamma, beta, mean and variance too (Keras ``count_params``)."""
        return self.weights + self.biases + 4 * self.norm_channels

    @property
    def params_without_norm(self) -> int:
        """Weights and biases: how the SSDLite papers count."""
        return self.weights + self.biases


def cost(graph: Graph) -> Cost:
    """Cost of all layers of a graph as it stands: prune first to leave out what is unused."""
    return layers_cost(graph.layers)


def cost_by_part(graph: Graph) -> dict[str, Cost]:
    """The same, for backbone, head and predictor apart (by the first part of layer names)."""
    parts: dict[str, list[Layer]] = {}
    for layer in graph:
        if layer.op != "input":
            parts.setdefault(layer.part, []).append(layer)
    return {part: layers_cost(tuple(layers)) for part, layers in parts.items()}


def layers_cost(layers: tuple[Layer, ...]) -> Cost:
    """Cost of some layers; weights shared with a layer outside count here."""
    owners = {layer.weights_from: layer for layer in layers if layer.weights is not None}
    return Cost(
        madds=sum(layer.madds for layer in layers),
        weights=sum(math.prod(layer.weights or ()) for layer in owners.values()),
        biases=sum(layer.filters for layer in owners.values() if layer.attributes.bias),
        norm_channels=sum(layer.filters for layer in layers if layer.attributes.norm is not None),
    )
