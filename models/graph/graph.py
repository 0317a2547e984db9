"""Graph: the one description of a network that everything else is read off.

Cost, latency, the Keras model and the benchmark file all come from the same tuple of layers, so a
number never describes another network than the one that ships. ``Graph.prune`` is the only place
where connectivity is decided.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from ...errors import InvalidGraph
from .ops import OPS, Shape

Activation = Literal["relu", "relu6"]
Initializer = Literal["he_normal", "truncated_normal", "normal"]


@dataclass(frozen=True, slots=True)
class BatchNorm:
    """Batch normalisation after a convolution; folded into it wherever the runtime is concerned.

    ``momentum`` is what Keras calls so (the decay of the moving averages).
    """

    epsilon: float = 1e-3
    momentum: float = 0.99


@dataclass(frozen=True, slots=True)
class Attributes:
    """Everything about a layer that is not its wiring, shape or weights.

    Only the fields that a layer's operator reads may differ from their defaults.
    """

    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: Literal["same", "valid"] = "same"
    window: tuple[int, int] = (1, 1)  # of a pool
    target: Shape | None = None  # of a resize (H, W), reshape, input or foreign operator
    axis: int = -1  # of a concat
    groups: int = 1  # of a conv
    keepdims: bool = True  # of a global pool; without, its output is (N, C)
    pads: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))  # (top, bottom), (left, right)
    constant: float | None = None  # second operand of a one-input add, sub or mul
    activation: Activation | None = None  # fused into conv, dense, add, sub, mul, pool
    bias: bool = False  # a trained bias vector
    shift: float = 0.0  # added to a convolution's result before its activation; in no parameter
    norm: BatchNorm | None = None
    shares: str | None = None  # kernel and bias are those of this layer
    initializer: Initializer = "he_normal"
    stddev: float = 0.0  # of the normal initialisers
    bias_init: float = 0.0
    l2: float = 0.0
    label: str = ""  # name of a foreign operator
    weights_dtype: str = "float32"  # of the stored kernel, in files that compress it


DEFAULT = Attributes()


@dataclass(frozen=True, slots=True)
class Layer:
    """One operator of a graph.

    Args:
        name: unique in its graph; its first path part says where it belongs
            (``backbone/...``, ``head/...``, ``predictor/...``).
        op: a key of :data:`mnasfpn.models.graph.ops.OPS`.
        inputs: names of the layers it reads.
        shape: output shape, NHWC with batch 1.
        weights: kernel shape or None: conv (kh, kw, in, out), depthwise (kh, kw, in, multiplier),
            dense (in, out).
        dtype: of the output; float32 unless the graph came from a quantised file.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    shape: Shape
    weights: Shape | None = None
    attributes: Attributes = DEFAULT
    dtype: str = "float32"

    def __post_init__(self) -> None:
        op = OPS.get(self.op)
        if op is None:
            raise InvalidGraph(
                f"layer {self.name!r}: no operator is called {self.op!r}; known: {', '.join(OPS)}"
            )
        least, most = op.arity
        if not least <= len(self.inputs) <= most:
            raise InvalidGraph(
                f"layer {self.name!r}: {self.op} takes {least} to {most} inputs, "
                f"got {len(self.inputs)}"
            )
        rank = None if self.weights is None else len(self.weights)
        if rank != op.weights_rank:
            raise InvalidGraph(
                f"layer {self.name!r}: {self.op} takes a kernel of rank {op.weights_rank}, "
                f"got {self.weights}"
            )
        if min(self.shape, default=1) < 1 or (self.weights and min(self.weights) < 1):
            raise InvalidGraph(
                f"layer {self.name!r}: sizes must be positive, got {self.shape}, {self.weights}"
            )

    @property
    def part(self) -> str:
        """``backbone``, ``head`` or ``predictor`` in a detector."""
        return self.name.split("/", 1)[0]

    @property
    def weights_from(self) -> str:
        """Name of the layer that owns this one's kernel and bias."""
        return self.attributes.shares or self.name

    @property
    def madds(self) -> int:
        """Multiply-accumulates of one inference (paper's convention, see :mod:`.ops`)."""
        return 0 if self.weights is None else OPS[self.op].madds(self.shape, self.weights)

    @property
    def filters(self) -> int:
        """Number of output channels, which is the length of bias and batch norm vectors."""
        return self.shape[-1]

    @property
    def elements(self) -> int:
        return math.prod(self.shape)


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
        needed: set[str] = set()
        stack = [self[name].name for name in wanted]
        while stack:
            name = stack.pop()
            if name not in needed:
                needed.add(name)
                stack.extend(self._by_name[name].inputs)
        if len(needed) == len(self.layers):
            return self if wanted == self.outputs else Graph(self.layers, wanted)
        owners: dict[str, str] = {}
        kept = []
        for layer in self.layers:
            if layer.name not in needed:
                continue
            owner = owners.setdefault(layer.weights_from, layer.name)
            shares = None if owner == layer.name else owner
            if shares != layer.attributes.shares:
                layer = replace(layer, attributes=replace(layer.attributes, shares=shares))
            kept.append(layer)
        return Graph(tuple(kept), wanted)

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
