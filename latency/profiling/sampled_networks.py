"""Random networks: whole models of no published architecture, to calibrate on.

What a kernel costs more in a model than alone - weights that have left the cache, tensors that were
just written - is learned from whole models. Heads teach it for one space; these teach it for
networks with megabytes of weights and every common kind of block.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...models.graph.arithmetic import Arithmetic, in_arithmetic
from ...models.graph.builder import GraphBuilder
from ...models.graph.costs import cost
from ...models.graph.graph import Graph

CLASSES = 1000
IMAGE_SIZES = (64, 96, 128, 160, 192, 224)
LEAST_MADDS, MOST_MADDS = 20_000_000, 900_000_000
LEAST_PARAMS, MOST_PARAMS = 1_000_000, 30_000_000
NONLINEARITIES = ("relu", "relu6", "hard_swish", "swish")


@dataclass(frozen=True, slots=True)
class Network:
    """A random network under the name that says how to draw it again."""

    name: str
    graph: Graph


def random_networks(
    count: int, seed: int, arithmetic: Arithmetic = "float32"
) -> tuple[Network, ...]:
    """Different networks, the same for the same seed; each the next draw of a usual size.

    Args:
        arithmetic: of the same networks.
    """
    rng = np.random.default_rng((seed, len(BLOCK_KINDS)))
    found: list[Network] = []
    while len(found) < count:
        graph = _Draft(rng, GraphBuilder()).graph()
        size = cost(graph)
        if LEAST_MADDS <= size.madds <= MOST_MADDS and LEAST_PARAMS <= size.params <= MOST_PARAMS:
            name = f"network/{seed}/{len(found)}"
            name += "" if arithmetic == "float32" else f" {arithmetic}"
            found.append(Network(name, in_arithmetic(graph, arithmetic)))
    return tuple(found)


@dataclass
class _Draft:
    """One network while it is drawn: stem, stages of one kind of block each, classifier."""

    rng: np.random.Generator
    builder: GraphBuilder
    activation: str = "relu"
    layers: int = 0

    def graph(self) -> Graph:
        self.activation = str(self.rng.choice(NONLINEARITIES))
        size = int(self.rng.choice(IMAGE_SIZES))
        x = self.builder.input("image", (1, size, size, 3))
        channels = 8 * int(self.rng.integers(2, 9))
        x = self.conv(x, channels, int(self.rng.choice((3, 3, 7))), stride=2)
        if self.rng.random() < 0.4:
            x = self.builder.max_pool(self.name(), x, 3, 2)
        for _ in range(int(self.rng.integers(3, 6))):
            block = BLOCK_KINDS[int(self.rng.integers(len(BLOCK_KINDS)))]
            channels = min(8 * round(channels * self.rng.uniform(1.2, 2.5) / 8), 1024)
            kernel = int(self.rng.choice((3, 3, 5, 7)))
            stride = 2 if self.builder.shape(x)[1] >= 8 else 1
            for _ in range(int(self.rng.integers(1, 5))):
                x = block(self, x, channels, kernel, stride)
                stride = 1
        return self.builder.graph((self.classifier(x),))

    def name(self) -> str:
        self.layers += 1
        return f"layer{self.layers}"

    def conv(self, x: str, channels: int, kernel: int = 1, stride: int = 1) -> str:
        return self.activated(self.linear(x, channels, kernel, stride))

    def linear(self, x: str, channels: int, kernel: int = 1, stride: int = 1) -> str:
        return self.builder.conv(self.name(), x, channels, kernel, stride, bias=True)

    def depthwise(self, x: str, kernel: int, stride: int = 1) -> str:
        return self.activated(self.builder.depthwise(self.name(), x, kernel, stride, bias=True))

    def grouped(self, x: str, filters: int, groups: int, kernel: int = 3, stride: int = 1) -> str:
        weights = (kernel, kernel, self.builder.channels(x) // groups, filters)
        options: dict[str, Any] = {"stride": (stride, stride), "groups": groups, "bias": True}
        return self.builder.add_layer(self.name(), "conv", (x,), weights, **options)

    def shuffled(self, x: str, groups: int) -> str:
        """Channels of all groups next to each other."""
        _, height, width, channels = shape = self.builder.shape(x)
        apart = (1, height, width, groups, channels // groups)
        x = self.builder.reshape(self.name(), x, apart)
        x = self.builder.unary(self.name(), "transpose", x, axes=(0, 1, 2, 4, 3))
        return self.builder.reshape(self.name(), x, shape)

    def activated(self, x: str) -> str:
        if self.activation != "swish":
            return self.builder.unary(self.name(), self.activation, x)
        return self.builder.mul(self.name(), x, self.builder.unary(self.name(), "sigmoid", x))

    def residual(self, x: str, result: str) -> str:
        if self.builder.shape(x) != self.builder.shape(result):
            return result
        return self.builder.add(self.name(), x, result)

    def classifier(self, x: str) -> str:
        _, height, width, channels = self.builder.shape(x)
        if self.rng.random() < 0.3:
            x = self.builder.reshape(self.name(), x, (1, height * width * channels))
        else:
            x = self.builder.unary(self.name(), "global_average_pool", x, keepdims=False)
        widths = [CLASSES]
        if self.rng.random() < 0.3:
            widths = [256 * int(self.rng.integers(2, 9)), CLASSES]
        for width in widths:
            weights = (self.builder.channels(x), width)
            x = self.builder.add_layer(self.name(), "fully_connected", (x,), weights, bias=True)
        return self.builder.unary(self.name(), "softmax", x)


DrawBlock = Callable[[_Draft, str, int, int, int], str]  # (draft, source, channels, kernel, stride)


def _plain(draft: _Draft, x: str, channels: int, kernel: int, stride: int) -> str:
    return draft.conv(x, channels, 3, stride)


def _bottleneck(draft: _Draft, x: str, channels: int, kernel: int, stride: int) -> str:
    inner = max(channels // 4, 16)
    result = draft.linear(draft.conv(draft.conv(x, inner), inner, 3, stride), channels)
    if draft.builder.shape(x) != draft.builder.shape(result):
        x = draft.linear(x, channels, 1, stride)
    return draft.activated(draft.residual(x, result))


def _grouped(draft: _Draft, x: str, channels: int, kernel: int, stride: int) -> str:
    """A bottleneck of as many channels inside, in groups of 16."""
    inner = max(channels // 16, 1) * 16
    wide = draft.conv(x, inner)
    inside = draft.activated(draft.grouped(wide, inner, inner // 16, stride=stride))
    result = draft.linear(inside, channels)
    if draft.builder.shape(x) != draft.builder.shape(result):
        x = draft.linear(x, channels, 1, stride)
    return draft.activated(draft.residual(x, result))


def _inverted(draft: _Draft, x: str, channels: int, kernel: int, stride: int) -> str:
    expanded = draft.builder.channels(x) * 4
    inner = draft.depthwise(draft.conv(x, expanded), kernel, stride)
    return draft.residual(x, draft.linear(inner, channels))


def _gated(draft: _Draft, x: str, channels: int, kernel: int, stride: int) -> str:
    """An inverted residual whose inner channels are weighted by what they hold."""
    expanded = draft.builder.channels(x) * 4
    inner = draft.depthwise(draft.conv(x, expanded), kernel, stride)
    gate = draft.builder.unary(draft.name(), "global_average_pool", inner, keepdims=True)
    gate = draft.linear(draft.conv(gate, max(expanded // 16, 8)), expanded)
    gate = draft.builder.unary(draft.name(), "sigmoid", gate)
    inner = draft.builder.mul(draft.name(), inner, gate)
    return draft.residual(x, draft.linear(inner, channels))


def _separable(draft: _Draft, x: str, channels: int, kernel: int, stride: int) -> str:
    return draft.conv(draft.depthwise(x, kernel, stride), channels)


def _dense(draft: _Draft, x: str, channels: int, kernel: int, stride: int) -> str:
    """Some new channels beside all old ones."""
    if stride == 2:
        x = _average_pool(draft, draft.linear(x, channels // 2), 2)
    new = draft.linear(draft.conv(x, 128), 32, 3)
    return draft.builder.concat(draft.name(), (x, new), 3)


def _branches(draft: _Draft, x: str, channels: int, kernel: int, stride: int) -> str:
    """Convolutions of several sizes and a pool, joined."""
    share = max(channels // 4, 8)
    parts = [
        draft.conv(x, share, 1, stride),
        draft.conv(draft.conv(x, share), share, 3, stride),
        draft.conv(draft.conv(draft.conv(x, share), share, 3), share, 3, stride),
        draft.conv(_average_pool(draft, x, stride), share),
    ]
    return draft.builder.concat(draft.name(), parts, 3)


def _shuffled(draft: _Draft, x: str, channels: int, kernel: int, stride: int) -> str:
    """Pointwise convolutions in groups, whose channels are shuffled between them."""
    groups = int(draft.rng.choice((2, 4, 8)))
    inner = max(channels // (4 * groups), 4) * groups
    channels = channels // groups * groups
    source = draft.linear(x, channels, 1, stride) if draft.builder.channels(x) % groups else x
    y = draft.shuffled(draft.activated(draft.grouped(source, inner, groups, 1)), groups)
    stride = stride if source == x else 1
    y = draft.builder.depthwise(draft.name(), y, 3, stride, bias=True)
    return draft.activated(draft.residual(source, draft.grouped(y, channels, groups, 1)))


def _perceptron(draft: _Draft, x: str, channels: int, kernel: int, stride: int) -> str:
    """A depthwise convolution and two products with a GELU between, beside what went in."""
    x = draft.linear(x, channels, 2, stride) if stride > 1 else draft.linear(x, channels)
    y = draft.builder.depthwise(draft.name(), x, 7, bias=True)
    y = draft.builder.unary(draft.name(), "gelu", draft.linear(y, 4 * channels))
    return draft.residual(x, draft.linear(y, channels))


def _half(draft: _Draft, x: str, channels: int, kernel: int, stride: int) -> str:
    """Convolutions of one half of the channels, beside the other half."""
    x = draft.conv(x, channels, 3 if stride > 1 else 1, stride)
    shape = draft.builder.shape(x)
    half = draft.builder.unary(draft.name(), "slice", x, target=(*shape[:3], channels // 2))
    return draft.builder.concat(draft.name(), (x, draft.conv(draft.conv(half, 64), 64, 3)), 3)


def _average_pool(draft: _Draft, x: str, stride: int) -> str:
    options: dict[str, Any] = {"window": (3, 3), "stride": (stride, stride)}
    return draft.builder.unary(draft.name(), "average_pool", x, **options)


BLOCK_KINDS: tuple[DrawBlock, ...] = (
    *(_plain, _bottleneck, _inverted, _gated),
    *(_separable, _dense, _branches, _grouped),
    *(_shuffled, _perceptron, _half),
)
