"""GraphBuilder: write a network down as a list of calls; shapes follow from the operators."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ...errors import InvalidGraph
from .attributes import Activation, Attributes, Shape
from .graph import Graph
from .layer import Layer
from .operators import OPS


@dataclass
class GraphBuilder:
    """Collects layers. Every method adds one layer, called ``name``, and returns that name."""

    _layers: dict[str, Layer] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Layer:
        return self._layers[name]

    def shape(self, name: str) -> Shape:
        return self._layers[name].shape

    def channels(self, name: str) -> int:
        return self._layers[name].shape[-1]

    def graph(self, outputs: Iterable[str]) -> Graph:
        return Graph(tuple(self._layers.values()), tuple(outputs))

    def add_layer(
        self, name: str, op: str, inputs: tuple[str, ...], weights: Shape | None, **attributes: Any
    ) -> str:
        """Any operator; the methods below are shorter ways to say the common ones."""
        if name in self._layers:
            raise InvalidGraph(f"two layers are called {name!r}; names must be unique")
        values = Attributes(**attributes)
        shapes = tuple(self._layers[source].shape for source in inputs)
        try:
            shape = OPS[op].shape(shapes, values, weights)
        except InvalidGraph as error:
            raise InvalidGraph(f"layer {name!r}: {error}") from None
        self._layers[name] = Layer(name, op, inputs, shape, weights, values)
        return name

    def input(self, name: str, shape: Shape) -> str:
        return self.add_layer(name, "input", (), None, target=shape)

    def conv(
        self,
        name: str,
        source: str,
        filters: int,
        kernel: int = 1,
        stride: int = 1,
        **attributes: Any,
    ) -> str:
        weights = (kernel, kernel, self.channels(source), filters)
        stride_2d = (stride, stride)
        return self.add_layer(name, "conv", (source,), weights, stride=stride_2d, **attributes)

    def depthwise(
        self, name: str, source: str, kernel: int, stride: int = 1, **attributes: Any
    ) -> str:
        weights = (kernel, kernel, self.channels(source), 1)
        stride_2d = (stride, stride)
        return self.add_layer(
            name, "depthwise_conv", (source,), weights, stride=stride_2d, **attributes
        )

    def max_pool(self, name: str, source: str, kernel: int, stride: int) -> str:
        return self.add_layer(
            name, "max_pool", (source,), None, window=(kernel, kernel), stride=(stride, stride)
        )

    def resize_nearest(self, name: str, source: str, height: int, width: int) -> str:
        return self.add_layer(name, "resize_nearest", (source,), None, target=(height, width))

    def add(self, name: str, *sources: str, activation: Activation | None = None) -> str:
        return self.add_layer(name, "add", sources, None, activation=activation)

    def mul(self, name: str, *sources: str) -> str:
        return self.add_layer(name, "mul", sources, None)

    def unary(self, name: str, op: str, source: str, **attributes: Any) -> str:
        return self.add_layer(name, op, (source,), None, **attributes)

    def reshape(self, name: str, source: str, shape: Shape) -> str:
        return self.add_layer(name, "reshape", (source,), None, target=shape)

    def concat(self, name: str, sources: Iterable[str], axis: int) -> str:
        return self.add_layer(name, "concat", tuple(sources), None, axis=axis)
