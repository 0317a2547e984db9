"""Weights of a Graph as plain arrays: drawn, checked, and folded into what the runtime executes.

Keys are ``<layer>/kernel``, ``bias``, ``gamma``, ``beta``, ``mean`` and ``variance``. A kernel or
bias shared by several layers stands once, under the layer that owns it; batch norm is every
layer's own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeAlias

import numpy as np

from ...errors import InvalidInput
from ..arrays import Floats
from .attributes import Shape
from .graph import Graph
from .layer import Layer

Weights: TypeAlias = dict[str, Floats]
Folded: TypeAlias = dict[str, tuple[Floats, Floats]]

NORM_VECTORS = ("gamma", "beta", "mean", "variance")

# Standard deviation of a unit normal cut off at two: what Keras divides by in "he_normal".
TRUNCATED_STDDEV = 0.87962566103423978


def weight_shapes(graph: Graph) -> dict[str, Shape]:
    """Key -> shape of every array that the graph needs."""
    shapes: dict[str, Shape] = {}
    for layer in graph:
        if layer.weights is None:
            continue
        if layer.attributes.shares is None:
            shapes[f"{layer.name}/kernel"] = layer.weights
            if layer.attributes.bias:
                shapes[f"{layer.name}/bias"] = (layer.filters,)
        if layer.attributes.norm is not None:
            shapes |= {f"{layer.name}/{vector}": (layer.filters,) for vector in NORM_VECTORS}
    return shapes


def check_weights(graph: Graph, weights: Mapping[str, Floats]) -> None:
    """Every array is there, has its shape, and is finite; arrays of other layers may be there too.

    Raises:
        InvalidInput: names the first arrays that are missing, or the one that is wrong.
    """
    shapes = weight_shapes(graph)
    missing = [key for key in shapes if key not in weights]
    if missing:
        raise InvalidInput(
            f"{len(missing)} of {len(shapes)} weight arrays are missing: "
            f"{', '.join(missing[:3])}{', ...' if len(missing) > 3 else ''}; "
            "give the weights of this very graph (the same model, classes and pruning)"
        )
    for key, shape in shapes.items():
        array = np.asarray(weights[key])
        if array.shape != shape:
            raise InvalidInput(
                f"weights {key!r} have shape {array.shape}, expected {shape}; "
                "they belong to a model of another width or another number of classes"
            )
        if not np.isfinite(array).all() or (key.endswith("/variance") and array.min() < 0):
            raise InvalidInput(
                f"weights {key!r} hold values that cannot be (not finite, or a negative "
                "variance); expected finite numbers: train again from an earlier checkpoint"
            )


def random_weights(graph: Graph, seed: int, *, random_norm: bool = False) -> Weights:
    """Weights at the start of training, drawn as each layer's attributes say.

    Batch norm is the identity (gamma 1, beta 0, mean 0, variance 1).

    Args:
        random_norm: draw batch norm as after training instead: variances around those of what the
            layers would see, everything else around the identity. With it, a mistake in folding
            shows, and activations keep their scale through a deep network.
    """
    rng = np.random.default_rng(seed)
    weights: Weights = {}
    power: dict[str, float] = {}  # mean square of a layer's output, roughly
    for layer in graph:
        power[layer.name] = sum(power[name] for name in layer.inputs) or 1.0
        if layer.weights is None:
            continue
        if layer.attributes.shares is None:
            weights[f"{layer.name}/kernel"] = _initial_kernel(layer, rng)
            if layer.attributes.bias:
                value = layer.attributes.bias_init
                weights[f"{layer.name}/bias"] = np.full(layer.filters, value, np.float32)
        kernel = weights[f"{layer.weights_from}/kernel"]
        power[layer.name] *= float(np.square(kernel).sum()) / layer.filters
        if layer.attributes.norm is not None:
            weights |= _norm(layer, power[layer.name], rng if random_norm else None)
            power[layer.name] = 1.0
    return weights


def balanced_weights(graph: Graph, seed: int) -> Weights:
    """Drawn weights, scaled so that signals keep their size from layer to layer.

    The published initial values suit hundreds of thousands of steps: a predictor tower of standard
    deviation 0.01 passes next to nothing on for the first hundreds. Output convolutions keep
    theirs, so that training begins with no detections.
    """
    weights = random_weights(graph, seed)
    for layer in graph:
        if layer.weights is None or layer.attributes.shares or layer.attributes.bias:
            continue
        height, width, channels, _ = layer.weights
        fan_in = height * width * (1 if layer.op == "depthwise_conv" else channels)
        kernel = weights[f"{layer.name}/kernel"]
        weights[f"{layer.name}/kernel"] = kernel / kernel.std() * np.float32(np.sqrt(2 / fan_in))
    return weights


def _norm(layer: Layer, power: float, rng: np.random.Generator | None) -> Weights:
    """Batch norm vectors: the identity, or random ones for inputs of that mean square."""

    def around(value: float, spread: float, scale: float = 1.0) -> Floats:
        if rng is None:
            return np.full(layer.filters, value, np.float32)
        drawn = rng.uniform(value - spread, value + spread, layer.filters) * scale
        return drawn.astype(np.float32)

    return {
        f"{layer.name}/gamma": around(1.0, 0.2),
        f"{layer.name}/beta": around(0.0, 0.2),
        f"{layer.name}/mean": around(0.0, 0.2, math.sqrt(power)),
        f"{layer.name}/variance": around(1.0, 0.5, power),
    }


def _initial_kernel(layer: Layer, rng: np.random.Generator) -> Floats:
    """Keras' he_normal, truncated_normal and random_normal; fan-in as Keras counts it."""
    assert layer.weights is not None
    attributes = layer.attributes
    stddev = attributes.stddev
    if attributes.initializer == "he_normal":
        stddev = math.sqrt(2 / math.prod(layer.weights[:-1])) / TRUNCATED_STDDEV
    kernel = rng.standard_normal(math.prod(layer.weights), dtype=np.float32)
    if attributes.initializer != "normal":
        while (far := np.flatnonzero(np.abs(kernel) > 2)).size:
            kernel[far] = rng.standard_normal(far.size, dtype=np.float32)
    kernel *= np.float32(stddev)
    return kernel.reshape(layer.weights)


def fold(graph: Graph, weights: Mapping[str, Floats]) -> Folded:
    """Kernels and biases with batch norm multiplied in, as a runtime executes them.

    A kernel shared over levels folds to a different one for each level's batch norm; layers that
    share a kernel and have no batch norm get the very same array.

    Returns:
        Layer name -> (kernel of the layer's shape, bias of its filters), for layers with weights.

    Raises:
        InvalidInput: see :func:`check_weights`.
    """
    check_weights(graph, weights)
    zeros: dict[int, Floats] = {}
    arrays: dict[str, Floats] = {key: np.asarray(weights[key], np.float32) for key in weights}
    folded: Folded = {}
    for layer in graph:
        if layer.weights is None:
            continue
        kernel = arrays[f"{layer.weights_from}/kernel"]
        if layer.attributes.bias:
            bias = arrays[f"{layer.weights_from}/bias"]
        else:
            bias = zeros.setdefault(layer.filters, np.zeros(layer.filters, np.float32))
        if layer.attributes.norm is not None:
            gamma, beta, mean, variance = (arrays[f"{layer.name}/{v}"] for v in NORM_VECTORS)
            scale = gamma / np.sqrt(variance + np.float32(layer.attributes.norm.epsilon))
            bias = (bias - mean) * scale + beta
            # A depthwise kernel's two last axes together are the filters, a conv's last one is.
            kernel = kernel * (
                scale.reshape(kernel.shape[2:]) if layer.op == "depthwise_conv" else scale
            )
        if layer.attributes.shift:
            bias = bias + np.float32(layer.attributes.shift)
        folded[layer.name] = (kernel, bias)
    return folded


def benchmark_weights(graph: Graph, seed: int) -> Folded:
    """Folded random weights for measuring speed: drawn fast, and keeping activations in range.

    Weights at the start of training would not do: without batch statistics a deep network's
    activations shrink until they are denormal numbers, on which processors are slow. These are
    uniform with variance 2 / fan-in (He et al. 2015), so that activations keep their scale.

    Returns:
        As :func:`fold`, for the same graph; layers that share a kernel and have no batch norm
        get the same arrays.
    """
    layers = [layer for layer in graph if layer.weights is not None]
    sizes = [math.prod(layer.weights or ()) + layer.filters for layer in layers]
    drawn = np.random.default_rng(seed).random(sum(sizes), dtype=np.float32)
    drawn -= np.float32(0.5)
    folded: Folded = {}
    start = 0
    for layer, size in zip(layers, sizes, strict=True):
        assert layer.weights is not None
        values = drawn[start : start + size]
        start += size
        owner = graph[layer.weights_from]
        if owner.name in folded and layer.attributes.norm is owner.attributes.norm is None:
            folded[layer.name] = folded[owner.name]
            continue
        inputs = layer.weights[:2] if layer.op == "depthwise_conv" else layer.weights[:-1]
        kernel = values[: -layer.filters].reshape(layer.weights)
        kernel *= np.float32(2 * math.sqrt(6 / math.prod(inputs)))
        folded[layer.name] = (kernel, values[-layer.filters :])
    return folded
