"""A Graph as a PyTorch module: the network that is trained.

It runs the same Graph that is measured and shipped, and :data:`..graph.weights.Weights` go from one
to the other. This file needs PyTorch to be imported; it is imported where training begins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

from ...errors import InvalidGraph
from ..graph.attributes import Attributes, BatchNorm
from ..graph.graph import Graph
from ..graph.layer import Layer
from ..graph.operators import same_padding
from ..graph.weights import Weights, check_weights, weight_shapes


def to_nchw(images: np.ndarray[Any, Any]) -> Tensor:
    """Images [B, H, W, C] as a tensor [B, C, H, W] in the same memory, which suits a CPU best."""
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def _pad(x: Tensor, window: tuple[int, ...], layer: Layer, value: float = 0.0) -> Tensor:
    """TensorFlow's SAME padding of an NCHW tensor, which may be more after than before."""
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
    x = _pad(x, attributes.window, layer, float("-inf"))
    return functional.max_pool2d(x, attributes.window, attributes.stride)


def _reshape(x: Tensor, attributes: Attributes, layer: Layer) -> Tensor:
    assert attributes.target is not None
    if x.ndim == 4:
        x = x.permute(0, 2, 3, 1)
    x = x.reshape(x.shape[0], *attributes.target[1:])
    return x.permute(0, 3, 1, 2) if x.ndim == 4 else x


def _resize_nearest(x: Tensor, attributes: Attributes, layer: Layer) -> Tensor:
    return functional.interpolate(x, size=attributes.target, mode="nearest")


def _add(inputs: list[Tensor], attributes: Attributes) -> Tensor:
    constant = attributes.constant
    return inputs[0] + (inputs[1] if constant is None else constant)


def _mul(inputs: list[Tensor], attributes: Attributes) -> Tensor:
    constant = attributes.constant
    return inputs[0] * (inputs[1] if constant is None else constant)


def _concat(inputs: list[Tensor], attributes: Attributes) -> Tensor:
    rank = inputs[0].ndim
    axis = attributes.axis % rank
    return torch.cat(inputs, (0, 2, 3, 1)[axis] if rank == 4 else axis)


def _activation(name: str) -> Callable[[Tensor], Tensor]:
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


class TorchGraph(nn.Module):
    """A trainable PyTorch network of a Graph.

    Inputs and outputs of rank 4 are NCHW here; boxes and logits [B, N, ...] are as everywhere.
    Parameters and buffers have the keys of the weights. Batch norm in training takes its statistics
    over the batches of all processes, where several train together.

    Args:
        graph: pruned; its convolution, pooling, resizing and merging operators only.
        weights: values of all weights.
        fixed_norms: layers whose batch norm keeps its mean and variance in training too.

    Raises:
        InvalidGraph: the graph has an operator that is not trained here.
    """

    def __init__(self, graph: Graph, weights: Weights, fixed_norms: Iterable[str] = ()) -> None:
        super().__init__()
        known = {"input", *_UNARY, *_JOINING, *_CONVOLUTIONS}
        for layer in graph:
            if layer.op not in known:
                raise InvalidGraph(
                    f"layer {layer.name!r}: PyTorch training has no {layer.op}; train with Keras"
                )
        self.graph = graph
        self.fixed_norms = frozenset(fixed_norms)
        self._last_use = _last_use(graph)
        check_weights(graph, weights)
        for key in weight_shapes(graph):
            tensor = torch.tensor(np.array(_to_torch(graph, key, weights[key]), order="C"))
            if tensor.ndim == 4:
                tensor = tensor.contiguous(memory_format=torch.channels_last)
            if key.endswith(("/mean", "/variance")):
                self.register_buffer(key, tensor)
            else:
                self.register_parameter(key, nn.Parameter(tensor))

    def weights(self) -> Weights:
        """The present values, in Keras layout."""
        tensors = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        return {key: self.as_weight(key, tensor) for key, tensor in tensors.items()}

    def as_weight(self, key: str, tensor: Tensor) -> np.ndarray[Any, Any]:
        """One of the network's tensors, or another of its shape, in Keras layout."""
        return np.array(_from_torch(self.graph, key, tensor.detach().cpu().numpy()), order="C")

    def l2(self) -> Tensor:
        """Half the sum of squares of the kernels, each times its layer's L2."""
        terms = [
            layer.attributes.l2 / 2 * kernel.square().sum()
            for layer in self.graph
            if layer.weights is not None
            and layer.attributes.l2
            and not layer.attributes.shares
            and (kernel := self.get_parameter(f"{layer.name}/kernel")).requires_grad
        ]
        return torch.stack(terms).sum() if terms else torch.zeros(())

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Values of the graph's outputs, by name."""
        values: dict[str, Tensor] = {}
        outputs: dict[str, Tensor] = {}
        for index, layer in enumerate(self.graph.layers):
            if layer.op == "input":
                values[layer.name] = inputs[layer.name]
            else:
                sources = [values[name] for name in layer.inputs]
                values[layer.name] = self._compute(layer, sources)
            if layer.name in self.graph.outputs:
                outputs[layer.name] = values[layer.name]
            for name in self._last_use.get(index, ()):
                del values[name]
        return outputs

    def _compute(self, layer: Layer, sources: list[Tensor]) -> Tensor:
        if layer.op in _CONVOLUTIONS:
            x = self._convolution(layer, sources[0])
        elif layer.op in _JOINING:
            x = _JOINING[layer.op](sources, layer.attributes)
        else:
            x = _UNARY[layer.op](sources[0], layer.attributes, layer)
        if layer.attributes.shift:
            x = x + layer.attributes.shift
        activation = layer.attributes.activation
        return _activation(activation)(x) if activation else x

    def _convolution(self, layer: Layer, x: Tensor) -> Tensor:
        owner, attributes = layer.weights_from, layer.attributes
        groups = x.shape[1] if layer.op == "depthwise_conv" else 1
        x = _convolve(x, layer, self.get_parameter(f"{owner}/kernel"), groups)
        if attributes.bias:
            x = x + self.get_parameter(f"{owner}/bias")[:, None, None]
        return x if attributes.norm is None else self._normalised(layer.name, x, attributes.norm)

    def _normalised(self, name: str, x: Tensor, norm: BatchNorm) -> Tensor:
        mean, variance = self.get_buffer(f"{name}/mean"), self.get_buffer(f"{name}/variance")
        gamma, beta = self.get_parameter(f"{name}/gamma"), self.get_parameter(f"{name}/beta")
        training = self.training and name not in self.fixed_norms
        if training and distributed.is_initialized() and distributed.get_world_size() > 1:
            return _synchronised_norm(x, mean, variance, gamma, beta, norm)
        return functional.batch_norm(
            x, mean, variance, gamma, beta, training, 1 - norm.momentum, norm.epsilon
        )


def _synchronised_norm(
    x: Tensor, mean: Tensor, variance: Tensor, gamma: Tensor, beta: Tensor, norm: BatchNorm
) -> Tensor:
    """Batch norm over the batches of all processes; PyTorch's own needs CUDA."""
    from torch.distributed.nn.functional import all_reduce

    values = x.float()
    count = torch.full((1,), float(x.numel() // x.shape[1]), device=x.device)
    sums = torch.cat([values.sum((0, 2, 3)), values.square().sum((0, 2, 3)), count])
    sums = all_reduce(sums)
    total = sums[-1].detach()
    batch_mean, squares = (sums[:-1] / total).chunk(2)
    batch_variance = (squares - batch_mean.square()).clamp(min=0)
    with torch.no_grad():
        weight = 1 - norm.momentum
        mean.lerp_(batch_mean.to(mean.dtype), weight)
        variance.lerp_((batch_variance * total / (total - 1).clamp(min=1)).to(mean.dtype), weight)
    scale = gamma * (batch_variance + norm.epsilon).rsqrt()
    shift = beta - batch_mean * scale
    return (values * scale[:, None, None] + shift[:, None, None]).to(x.dtype)


def folded_norms(graph: Graph, weights: Weights) -> frozenset[str]:
    """Layers whose batch norm is the identity, as where it was folded into the kernel.

    Its mean of 0 and variance of 1 - epsilon are not those of the data: in training they would be
    replaced by what the data have, and the features destroyed. Such norms are to stay fixed.
    """
    return frozenset(
        layer.name
        for layer in graph
        if (norm := layer.attributes.norm) is not None
        and not weights[f"{layer.name}/mean"].any()
        and np.allclose(weights[f"{layer.name}/variance"], 1 - norm.epsilon, rtol=0, atol=1e-6)
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
