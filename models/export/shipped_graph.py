"""The network that ships: a detector's graph without the background's column of scores.

The paper's detectors have a class slot for the background, and are counted and timed with it. It
is trained to say nothing, nobody reads it, and MediaPipe refuses scores that have it. Left out are
the filters that compute it, so the other scores stay what they were.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..arrays import Floats
from ..detector import Detector
from ..graph.graph import Graph
from ..graph.layer import Layer
from ..graph.weights import Weights


def shipped_graph(detector: Detector) -> Graph:
    """From ``image`` [1, S, S, 3] in [-1, 1] to boxes [1, N, 4] and scores [1, N, classes]."""
    graph = detector.graph()
    slots = detector.classes + 1
    narrowed = _class_layers(graph)
    layers = (_narrowed(layer, slots) if layer.name in narrowed else layer for layer in graph)
    return Graph(tuple(layers), graph.outputs)


def shipped_weights(detector: Detector, weights: Weights) -> Weights:
    """Those of a detector, for its shipped graph."""
    graph = detector.graph()
    slots = detector.classes + 1
    kept = dict(weights)
    for name in _class_layers(graph):
        if graph[name].weights is None or graph[name].attributes.shares is not None:
            continue
        for key in (f"{name}/kernel", f"{name}/bias"):
            kept[key] = _without_first(weights[key], slots)
    return kept


def _class_layers(graph: Graph) -> frozenset[str]:
    """Layers whose last axis counts class slots: from the last convolutions to the scores."""
    found, waiting = set(), [graph.outputs[1]]
    while waiting:
        layer = graph[waiting.pop()]
        found.add(layer.name)
        if layer.weights is None:
            waiting.extend(layer.inputs)
    return frozenset(found)


def _narrowed(layer: Layer, slots: int) -> Layer:
    """With one slot less for each anchor."""

    def fewer(shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*shape[:-1], shape[-1] // slots * (slots - 1))

    attributes = layer.attributes
    if layer.op == "reshape":
        assert attributes.target is not None
        attributes = replace(attributes, target=fewer(attributes.target))
    weights = layer.weights and fewer(layer.weights)
    return replace(layer, shape=fewer(layer.shape), weights=weights, attributes=attributes)


def _without_first(array: Floats, slots: int) -> Floats:
    """[..., anchors * slots] without each anchor's first slot."""
    by_anchor = array.reshape(*array.shape[:-1], -1, slots)
    return np.ascontiguousarray(by_anchor[..., 1:]).reshape(*array.shape[:-1], -1)
