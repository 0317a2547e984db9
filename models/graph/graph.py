"""Graph: the one description of a network that everything else is read off.

Cost, latency, the Keras model and the benchmark file all come from the same tuple of layers, so a
number never describes another network than the one that ships. ``Graph.prune`` is the only place
where connectivity is decided.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from ...errors import InvalidGraph
from .layer import Layer
from .operators import OPS
from .prune import reached, without_others


@dataclass(frozen=True)
class Graph:
    """Layers in an order in which they can be computed, and the names of those that are outputs.

    Raises:
        InvalidGraph: a name occurs twice, an input is missing or comes later, a shape is not what
            the operator gives, or weights are shared between layers of different kernel shapes.
    """

    layers: tuple[Layer, ...]
    outputs: tuple[str, ...]
    _by_name: dict[str, Layer] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        known: dict[str, Layer] = {}
        for layer in self.layers:
            if layer.name in known:
                raise InvalidGraph(f"two layers are called {layer.name!r}; names must be unique")
            for name in (*layer.inputs, *filter(None, (layer.attributes.shares,))):
                if name not in known:
                    raise InvalidGraph(
                        f"layer {layer.name!r} reads {name!r}, which does not come before it"
                    )
            self._check(layer, known)
            known[layer.name] = layer
        for name in self.outputs:
            if name not in known:
                raise InvalidGraph(f"output {name!r} is not a layer of the graph")
        object.__setattr__(self, "_by_name", known)

    @staticmethod
    def _check(layer: Layer, known: dict[str, Layer]) -> None:
        shapes = tuple(known[name].shape for name in layer.inputs)
        try:
            expected = OPS[layer.op].shape(shapes, layer.attributes, layer.weights)
        except InvalidGraph as error:
            raise InvalidGraph(f"layer {layer.name!r}: {error}") from None
        if expected != layer.shape:
            raise InvalidGraph(
                f"layer {layer.name!r}: {layer.op} of {shapes} gives {expected}, not {layer.shape}"
            )
        owner = layer.attributes.shares
        if owner and known[owner].weights != layer.weights:
            raise InvalidGraph(
                f"layer {layer.name!r} shares the weights of {owner!r}, but their kernels are "
                f"{layer.weights} and {known[owner].weights}"
            )

    def __getitem__(self, name: str) -> Layer:
        try:
            return self._by_name[name]
        except KeyError:
            raise InvalidGraph(f"the graph has no layer {name!r}") from None

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    @property
    def inputs(self) -> tuple[Layer, ...]:
        return tuple(layer for layer in self.layers if layer.op == "input")

    def prune(self, outputs: Iterable[str] | None = None) -> Graph:
        """The graph of only those layers that reach an output, in the same order.

        This is the connectivity of the connectivity-based look-up table (paper section 3.3): a
        block that no output depends on costs nothing, here and therefore everywhere. If the owner
        of shared weights goes and a sharer stays, the first sharer becomes the owner.

        Args:
            outputs: names to keep instead of the graph's own outputs.
        """
        wanted = self.outputs if outputs is None else tuple(outputs)
        needed = reached(wanted, lambda name: self[name].inputs)
        if len(needed) == len(self.layers):
            return self if wanted == self.outputs else Graph(self.layers, wanted)
        return Graph(without_others(self.layers, needed), wanted)

    def merge_duplicates(self) -> Graph:
        """The graph in which nothing without weights is computed twice from the same inputs.

        Two blocks of a cell may down-sample the same feature: converters compute it once, and so
        do graphs of detectors. Prune first, so that what is unused leaves no trace.
        """
        first: dict[object, str] = {}
        merged: dict[str, str] = {}
        kept = []
        for layer in self.layers:
            inputs = tuple(merged.get(name, name) for name in layer.inputs)
            key = (layer.op, inputs, layer.attributes)
            if layer.weights is None and layer.inputs and key in first:
                merged[layer.name] = first[key]
                continue
            first.setdefault(key, layer.name)
            kept.append(layer if inputs == layer.inputs else replace(layer, inputs=inputs))
        if not merged:
            return self
        return Graph(tuple(kept), tuple(merged.get(name, name) for name in self.outputs))

    def consumers(self) -> dict[str, tuple[Layer, ...]]:
        """For each layer name, the layers that read it."""
        found: dict[str, list[Layer]] = {layer.name: [] for layer in self.layers}
        for layer in self.layers:
            for name in dict.fromkeys(layer.inputs):
                found[name].append(layer)
        return {name: tuple(layers) for name, layers in found.items()}
