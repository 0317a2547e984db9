"""A detector's graph cut between its backbone and what reads it."""

from __future__ import annotations

from .attributes import Attributes
from .graph import Graph
from .layer import Layer


def features_read(graph: Graph) -> tuple[str, ...]:
    """Backbone layers that other parts read, in the order of the graph."""
    read = {name for layer in graph if layer.part != "backbone" for name in layer.inputs}
    return tuple(layer.name for layer in graph if layer.part == "backbone" and layer.name in read)


def without_backbone(graph: Graph) -> Graph:
    """A detector's graph without its backbone: the features that others read become inputs."""
    features = features_read(graph)
    layers = tuple(
        Layer(layer.name, "input", (), layer.shape, attributes=Attributes(target=layer.shape))
        if layer.name in features
        else layer
        for layer in graph
        if layer.name in features or layer.part not in ("backbone", "image")
    )
    return Graph(layers, graph.outputs)
