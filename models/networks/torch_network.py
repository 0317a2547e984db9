"""A Graph as a PyTorch module: the network of the search's proxy task.

Keras builds what ships; the proxy task trains dozens of small networks for seconds each, where
tracing a graph costs more than training it. PyTorch runs the same Graph eagerly, and
:data:`mnasfpn.models.graph.weights.Weights` go from one to the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...errors import InvalidGraph
from ..graph.attributes import Attributes
from ..graph.graph import Graph
from ..graph.layer import Layer
from ..graph.operators import same_padding
from ..graph.weights import Weights, check_weights, weight_shapes

Tensor = Any  # torch.Tensor; torch is imported only where it is used


def to_nchw(images: np.ndarray[Any, Any]) -> Tensor:
    """Images [B, H, W, C] as a tensor [B, C, H, W] in the same memory, which suits a CPU best."""
    import torch

    return torch.from_numpy(images).permute(0, 3, 1, 2)


def _pad(x: Tensor, window: tuple[int, ...], layer: Layer, value: float = 0.0) -> Tensor:
    """TensorFlow's SAME padding of an NCHW tensor, which may be more after than before."""
    from torch.nn import functional

    attributes = layer.attributes
    if attributes.padding == "valid":
        return x
    widths: list[int] = []
    for size, kernel, stride, dilation in zip(
        reversed(x.shape[2:]),
        reversed(window[:2]),
        reversed(attributes.stride),
        reversed(attributes.dilation),
        strict=True,
    ):
        widths.extend(same_padding(size, (kernel - 1) * dilation + 1, stride))
    return functional.pad(x, widths, value=value) if any(widths) else x


def _convolve(x: Tensor, layer: Layer, kernel: Tensor, groups: int) -> Tensor:
    from torch.nn import functional

    attributes = layer.attributes
    assert layer.weights is not None
    if attributes.stride == (1, 1) and all(k % 2 for k in layer.weights[:2]):
        padding = tuple(
            (k - 1) * d // 2 for k, d in zip(layer.weights[:2], attributes.dilation, strict=True)
        )
        if attributes.padding == "valid":
            padding = (0, 0)
    else:
        x, padding = _pad(x, layer.weights, layer), (0, 0)
    return functional.conv2d(
        x,
        kernel,
        stride=attributes.stride,
        padding=padding,
        dilation=attributes.dilation,
        groups=groups,
    )


def _max_pool(x: Tensor, attributes: Attributes, layer: Layer) -> Tensor:
    from torch.nn import functional

    x = _pad(x, attributes.window, layer, float("-inf"))
    return functional.max_pool2d(x, attributes.window, attributes.stride)


def _reshape(x: Tensor, attributes: Attributes, layer: Layer) -> Tensor:
    assert attributes.target is not None
    if x.ndim == 4:
        x = x.permute(0, 2, 3, 1)
    x = x.reshape(x.shape[0], *attributes.target[1:])
    return x.permute(0, 3, 1, 2) if x.ndim == 4 else x


def _resize_nearest(x: Tensor, attributes: Attributes, layer: Layer) -> Tensor:
    from torch.nn import functional

    return functional.interpolate(x, size=attributes.target, mode="nearest")


def _add(inputs: list[Tensor], attributes: Attributes) -> Tensor:
    constant = attributes.constant
    return inputs[0] + (inputs[1] if constant is None else constant)


def _mul(inputs: list[Tensor], attributes: Attributes) -> Tensor:
    constant = attributes.constant
    return inputs[0] * (inputs[1] if constant is None else constant)


def _concat(inputs: list[Tensor], attributes: Attributes) -> Tensor:
    import torch

    rank = inputs[0].ndim
    axis = attributes.axis % rank
    return torch.cat(inputs, (0, 2, 3, 1)[axis] if rank == 4 else axis)


def _activation(name: str) -> Callable[[Tensor], Tensor]:
    from torch.nn import functional

    table: dict[str, Callable[[Tensor], Tensor]] = {
        "relu": functional.relu,
        "relu6": functional.relu6,
        "hard_swish": functional.hardswish,
    }
    return table[name]


_UNARY: dict[str, Callable[[Tensor, Attributes, Layer], Tensor]] = {
    "max_pool": _max_pool,
    "global_average_pool": lambda x, attributes, layer: x.mean((2, 3), keepdim=True),
    "global_max_pool": lambda x, attributes, layer: x.amax((2, 3), keepdim=True),
    "resize_nearest": _resize_nearest,
    "relu": lambda x, attributes, layer: x.clamp(min=0),
    "relu6": lambda x, attributes, layer: x.clamp(0, 6),
    "hard_swish": lambda x, attributes, layer: x * (x + 3).clamp(0, 6) / 6,
    "sigmoid": lambda x, attributes, layer: x.sigmoid(),
    "reshape": _reshape,
}
_JOINING: dict[str, Callable[[list[Tensor], Attributes], Tensor]] = {
    "add": _add,
    "mul": _mul,
    "concat": _concat,
}
_CONVOLUTIONS = ("conv", "depthwise_conv")


class TorchGraph:
    """A trainable PyTorch network of a Graph.

    Inputs and outputs of rank 4 are NCHW here; boxes and logits [B, N, ...] are as everywhere.

    Args:
        graph: pruned; its convolution, pooling, resizing and merging operators only.
        weights: values of all weights.

    Raises:
        InvalidGraph: the graph has an operator that is not trained here.
    """

    def __init__(self, graph: Graph, weights: Weights) -> None:
        import torch

        known = {"input", *_UNARY, *_JOINING, *_CONVOLUTIONS}
        for layer in graph:
            if layer.op not in known:
                raise InvalidGraph(
                    f"layer {layer.name!r}: PyTorch training has no {layer.op}; train with Keras"
                )
        self.graph = graph
        self._last_use = _last_use(graph)
        self.trained: dict[str, Tensor] = {}
        self.moving: dict[str, Tensor] = {}
        check_weights(graph, weights)
        for key in weight_shapes(graph):
            tensor = torch.tensor(np.array(_to_torch(graph, key, weights[key]), order="C"))
            if tensor.ndim == 4:
                tensor = tensor.contiguous(memory_format=torch.channels_last)
            if key.endswith(("/mean", "/variance")):
                self.moving[key] = tensor
            else:
                self.trained[key] = tensor.requires_grad_()

    def weights(self) -> Weights:
        """The present values, in Keras layout."""
        tensors = {**self.trained, **self.moving}
        return {
            key: np.array(_from_torch(self.graph, key, tensor.detach().numpy()), order="C")
            for key, tensor in tensors.items()
        }

    def __call__(self, inputs: dict[str, Tensor], training: bool = False) -> dict[str, Tensor]:
        """Values of the graph's outputs, by name."""
        values: dict[str, Tensor] = {}
        outputs: dict[str, Tensor] = {}
        for index, layer in enumerate(self.graph.layers):
            if layer.op == "input":
                values[layer.name] = inputs[layer.name]
            else:
                sources = [values[name] for name in layer.inputs]
                values[layer.name] = self._compute(layer, sources, training)
            if layer.name in self.graph.outputs:
                outputs[layer.name] = values[layer.name]
            for name in self._last_use.get(index, ()):
                del values[name]
        return outputs

    def _compute(self, layer: Layer, sources: list[Tensor], training: bool) -> Tensor:
        if layer.op in _CONVOLUTIONS:
            x = self._convolution(layer, sources[0], training)
        elif layer.op in _JOINING:
            x = _JOINING[layer.op](sources, layer.attributes)
        else:
            x = _UNARY[layer.op](sources[0], layer.attributes, layer)
        if layer.attributes.shift:
            x = x + layer.attributes.shift
        activation = layer.attributes.activation
        return _activation(activation)(x) if activation else x

    def _convolution(self, layer: Layer, x: Tensor, training: bool) -> Tensor:
        from torch.nn import functional

        owner, attributes = layer.weights_from, layer.attributes
        groups = x.shape[1] if layer.op == "depthwise_conv" else 1
        x = _convolve(x, layer, self.trained[f"{owner}/kernel"], groups)
        if attributes.bias:
            x = x + self.trained[f"{owner}/bias"][:, None, None]
        if attributes.norm is None:
            return x
        name = layer.name
        return functional.batch_norm(
            x,
            self.moving[f"{name}/mean"],
            self.moving[f"{name}/variance"],
            self.trained[f"{name}/gamma"],
            self.trained[f"{name}/beta"],
            training,
            1 - attributes.norm.momentum,
            attributes.norm.epsilon,
        )


def _last_use(graph: Graph) -> dict[int, list[str]]:
    """Position of a layer -> values nobody reads after it: training keeps what it needs itself."""
    last: dict[str, int] = {}
    for index, layer in enumerate(graph.layers):
        last[layer.name] = index
        for name in layer.inputs:
            last[name] = index
    found: dict[int, list[str]] = {}
    for name, index in last.items():
        found.setdefault(index, []).append(name)
    return found


def _to_torch(graph: Graph, key: str, value: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """(kh, kw, in, out) to (out, in, kh, kw); depthwise (kh, kw, in, m) to (in * m, 1, kh, kw)."""
    if not key.endswith("/kernel"):
        return value
    if graph[key.rsplit("/", 1)[0]].op == "depthwise_conv":
        height, width, channels, multiplier = value.shape
        return value.transpose(2, 3, 0, 1).reshape(channels * multiplier, 1, height, width)
    return value.transpose(3, 2, 0, 1)


def _from_torch(graph: Graph, key: str, value: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if not key.endswith("/kernel"):
        return value
    layer = graph[key.rsplit("/", 1)[0]]
    assert layer.weights is not None
    if layer.op == "depthwise_conv":
        height, width, channels, multiplier = layer.weights
        return value.reshape(channels, multiplier, height, width).transpose(2, 3, 0, 1)
    return value.transpose(2, 3, 1, 0)
