"""Graph -> Keras model with the same parameters, and weights to and from it.

What the runtime fuses stands apart here: every convolution, its batch norm and its activation are
three layers, and a kernel shared over levels is one Keras layer called several times, each call
followed by its level's own batch norm.

Keras does not allow ``/`` in layer names: the Keras layer of ``head-c6-conv`` is ``head.c6.conv``,
its batch norm ``head-c6-conv-norm``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import InvalidInput
from ..arrays import Floats
from ..graph.attributes import Attributes
from ..graph.graph import Graph
from ..graph.layer import Layer
from ..graph.weights import NORM_VECTORS, Weights, check_weights

if TYPE_CHECKING:
    import keras

NORM_SUFFIX = "-norm"
#: Last part of a weight's key -> attribute of the Keras layer.
NORM_VARIABLES = dict(
    zip(NORM_VECTORS, ("gamma", "beta", "moving_mean", "moving_variance"), strict=True)
)


def keras_name(name: str) -> str:
    """Name of the Keras layer for a layer of a graph."""
    return name.replace("/", "-")


def build_keras(graph: Graph, weights: Mapping[str, Floats] | None = None) -> keras.Model:
    """A Keras 3 model of the graph, built of Keras' own layers only, for any batch size.

    Converted for batch 1, Keras' addition of two 1x1 maps becomes a reshape and an addition; that
    is the one thing in which a conversion differs from :func:`..tflite.writer.write_tflite`, and
    only a level of one pixel (input size 64) has such maps.

    Args:
        graph: to train on other outputs than it has (``predictor/logits`` for a loss that takes
            logits), give ``graph.prune(outputs)``: the layers and their names stay the same.
        weights: None leaves what the layers' initialisers draw.

    Returns:
        A functional model; its inputs and outputs are the graph's, in its order (lists, unless
        there is one). Parameters as in :class:`..graph.costs.Cost`; regularisers (L2) and
        initialisers from the layers' attributes.

    Raises:
        InvalidInput: an operator has no Keras layer here, or weights do not fit.
    """
    import keras

    values: dict[str, Any] = {}
    shared: dict[str, Any] = {}
    for layer in graph:
        if layer.op == "input":
            values[layer.name] = keras.Input(layer.shape[1:], name=keras_name(layer.name))
            continue
        inputs = [values[name] for name in layer.inputs]
        x = _apply(layer, inputs, shared)
        if layer.attributes.norm is not None:
            norm = layer.attributes.norm
            x = keras.layers.BatchNormalization(
                momentum=norm.momentum,
                epsilon=norm.epsilon,
                name=keras_name(layer.name) + NORM_SUFFIX,
            )(x)
        if layer.attributes.shift:
            x = _named(keras.ops.add(x, layer.attributes.shift), f"{layer.name}/shift")
        if layer.attributes.activation is not None:
            x = _activation(layer.attributes.activation, f"{layer.name}/activation")(x)
        values[layer.name] = x
    inputs = [values[layer.name] for layer in graph.inputs]
    outputs = [values[name] for name in graph.outputs]
    model = keras.Model(
        inputs[0] if len(inputs) == 1 else inputs, outputs[0] if len(outputs) == 1 else outputs
    )
    if weights is not None:
        set_keras_weights(model, graph, weights)
    return model


def keras_weights(model: keras.Model, graph: Graph) -> Weights:
    """The weights of a model built from this graph (or from one that it was pruned from)."""
    return {key: variable.numpy() for key, variable in _variables(model, graph).items()}


def set_keras_weights(model: keras.Model, graph: Graph, weights: Mapping[str, Floats]) -> None:
    """Copy weights into a model built from this graph (or from one that it was pruned from).

    Raises:
        InvalidInput: see :func:`..graph.weights.check_weights`.
    """
    check_weights(graph, weights)
    for key, variable in _variables(model, graph).items():
        variable.assign(np.asarray(weights[key], np.float32).reshape(variable.shape))


def _variables(model: keras.Model, graph: Graph) -> dict[str, Any]:
    """Weight key -> Keras variable."""
    by_name = {layer.name: layer for layer in model.layers}
    found: dict[str, Any] = {}
    for layer in graph:
        if layer.weights is None:
            continue
        name = keras_name(layer.name)
        try:
            if layer.attributes.shares is None:
                found[f"{layer.name}/kernel"] = by_name[name].kernel
                if layer.attributes.bias:
                    found[f"{layer.name}/bias"] = by_name[name].bias
            if layer.attributes.norm is not None:
                norm = by_name[name + NORM_SUFFIX]
                found |= {f"{layer.name}/{k}": getattr(norm, v) for k, v in NORM_VARIABLES.items()}
        except KeyError as error:
            raise InvalidInput(
                f"the Keras model has no layer {error.args[0]!r}; "
                "give the model that was built from this graph"
            ) from None
    return found


def _apply(layer: Layer, inputs: list[Any], shared: dict[str, Any]) -> Any:
    """The operator alone, without batch norm and activation.

    Args:
        shared: Keras layers with weights by the name of their owner, added to here.
    """
    constant = layer.attributes.constant
    if layer.weights is not None:
        owner = layer.weights_from
        if owner not in shared:
            shared[owner] = _WEIGHTED[layer.op](layer)
        return shared[owner](*inputs)
    if layer.op in _JOINING and len(inputs) > 1:
        return _JOINING[layer.op](layer)(inputs)
    if layer.op in _PLAIN:
        return _PLAIN[layer.op](layer)(*inputs)
    if layer.op in _WITH_CONSTANT and constant is not None:
        import keras

        operation = getattr(keras.ops, _WITH_CONSTANT[layer.op])
        return _named(operation(*inputs, constant), layer.name)
    if layer.op == "concat":
        return inputs[0]
    raise InvalidInput(
        f"layer {layer.name!r}: operator {layer.attributes.label or layer.op!r} cannot be built in "
        f"Keras; these can: {', '.join((*_WEIGHTED, *_JOINING, *_PLAIN))}"
        " (with one input: and a known constant)"
    )


def _named(x: Any, name: str) -> Any:
    """What an operation of Keras returned, the operation called like the layer it stands for.

    Operations cannot be given a name, and the one they choose ("add") may be some layer's.
    """
    x._keras_history.operation.name = keras_name(name)
    return x


def _initializer(attributes: Attributes) -> Any:
    import keras

    stddev = attributes.stddev
    return {
        "he_normal": lambda: keras.initializers.HeNormal(),
        "truncated_normal": lambda: keras.initializers.TruncatedNormal(stddev=stddev),
        "normal": lambda: keras.initializers.RandomNormal(stddev=stddev),
    }[attributes.initializer]()


def _convolution(layer: Layer) -> Any:
    import keras

    attributes = layer.attributes
    assert layer.weights is not None
    l2 = keras.regularizers.L2(attributes.l2) if attributes.l2 else None
    common: dict[str, Any] = {
        "kernel_size": layer.weights[:2],
        "strides": attributes.stride,
        "padding": attributes.padding,
        "dilation_rate": attributes.dilation,
        "use_bias": attributes.bias,
        "bias_initializer": keras.initializers.Constant(attributes.bias_init),
        "name": keras_name(layer.name),
    }
    if layer.op == "depthwise_conv":
        return keras.layers.DepthwiseConv2D(
            depth_multiplier=layer.weights[3],
            depthwise_initializer=_initializer(attributes),
            depthwise_regularizer=l2,
            **common,
        )
    return keras.layers.Conv2D(
        filters=layer.filters,
        groups=attributes.groups,
        kernel_initializer=_initializer(attributes),
        kernel_regularizer=l2,
        **common,
    )


def _dense(layer: Layer) -> Any:
    import keras

    attributes = layer.attributes
    return keras.layers.Dense(
        layer.filters,
        use_bias=attributes.bias,
        kernel_initializer=_initializer(attributes),
        bias_initializer=keras.initializers.Constant(attributes.bias_init),
        kernel_regularizer=keras.regularizers.L2(attributes.l2) if attributes.l2 else None,
        name=keras_name(layer.name),
    )


def _activation(kind: str, name: str) -> Any:
    import keras

    limit = {"relu": None, "relu6": 6.0}[kind]
    return keras.layers.ReLU(max_value=limit, name=keras_name(name))


def _pool(layer: Layer) -> Any:
    import keras

    kinds = {
        "max_pool": keras.layers.MaxPooling2D,
        "average_pool": keras.layers.AveragePooling2D,
    }
    attributes = layer.attributes
    return kinds[layer.op](
        attributes.window, attributes.stride, attributes.padding, name=keras_name(layer.name)
    )


def _resize(layer: Layer) -> Callable[[Any], Any]:
    """The operation, because both layers that Keras has for it would do harm here.

    A converter turns UpSampling2D into a reshape and a tile; Resizing, called without ``training``,
    switches batch norm after it to training.
    """
    import keras

    kind = {"resize_nearest": "nearest", "resize_bilinear": "bilinear"}[layer.op]
    return lambda x: _named(
        keras.ops.image.resize(x, layer.attributes.target, interpolation=kind), layer.name
    )


def _layer(kind: str, **arguments: Callable[[Layer], Any]) -> Callable[[Layer], Any]:
    """A Keras layer by name, with arguments read off the layer of the graph."""

    def make(layer: Layer) -> Any:
        import keras

        values = {key: value(layer) for key, value in arguments.items()}
        return getattr(keras.layers, kind)(name=keras_name(layer.name), **values)

    return make


def _keepdims(layer: Layer) -> bool:
    return layer.attributes.keepdims


_WEIGHTED: dict[str, Callable[[Layer], Any]] = {
    "conv": _convolution,
    "depthwise_conv": _convolution,
    "fully_connected": _dense,
}
_JOINING: dict[str, Callable[[Layer], Any]] = {  # layers that take a list
    "add": _layer("Add"),
    "sub": _layer("Subtract"),
    "mul": _layer("Multiply"),
    "concat": _layer("Concatenate", axis=lambda layer: layer.attributes.axis),
}
_WITH_CONSTANT = {"add": "add", "sub": "subtract", "mul": "multiply"}  # of keras.ops
_PLAIN: dict[str, Callable[[Layer], Any]] = {
    "max_pool": _pool,
    "average_pool": _pool,
    "global_average_pool": _layer("GlobalAveragePooling2D", keepdims=_keepdims),
    "global_max_pool": _layer("GlobalMaxPooling2D", keepdims=_keepdims),
    "resize_nearest": _resize,
    "resize_bilinear": _resize,
    "relu": lambda layer: _activation("relu", layer.name),
    "relu6": lambda layer: _activation("relu6", layer.name),
    "hard_swish": _layer("Activation", activation=lambda layer: "hard_silu"),
    "sigmoid": _layer("Activation", activation=lambda layer: "sigmoid"),
    "softmax": _layer("Activation", activation=lambda layer: "softmax"),
    "reshape": _layer("Reshape", target_shape=lambda layer: layer.shape[1:]),
    "pad": _layer("ZeroPadding2D", padding=lambda layer: layer.attributes.pads),
}
