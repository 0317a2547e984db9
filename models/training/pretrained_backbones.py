"""Trained backbone weights: from keras.applications, or from an .npz file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import InvalidInput, JobFailed
from ..arrays import Floats
from ..backbones.backbone import Backbone
from ..graph.graph import Graph
from ..graph.layer import Layer
from ..graph.weights import Weights, check_weights, weight_shapes
from .run_folder import load_weights

if TYPE_CHECKING:
    import keras

IMAGENET = "imagenet"
# Constructor in keras.applications, and the suffix of a convolution's batch norm layer there.
APPLICATIONS = {
    "mobilenet_v2": ("MobileNetV2", "_BN"),
    "mobilenet_v3_large": ("MobileNetV3Large", "_bn"),
    "mobilenet_v3_small": ("MobileNetV3Small", "_bn"),
}
APPLICATION_EPSILON = 1e-3
PREFIX = "backbone/"


def backbone_weights(graph: Graph, backbone: Backbone, source: str | Path) -> Weights:
    """Trained weights of a graph's ``backbone/...`` layers.

    They compute the same features whatever batch norm epsilon the graph has.

    Args:
        graph: of a detector, or of the backbone alone.
        source: ``imagenet`` (downloads through keras.applications), or the path of an .npz: either
            the weights of such a graph as they are (``backbone/<layer>/kernel``, ...), or arrays
            ``<keras.applications layer>/kernel`` with ``bias`` (batch norm folded in) or with
            ``gamma``, ``beta``, ``mean`` and ``variance`` as keras.applications trains them.

    Raises:
        InvalidInput: no such weights, or they do not fit the graph; the message names the array.
        JobFailed: the download failed.
    """
    part = _backbone_part(graph)
    if source == IMAGENET:
        weights = application_weights(part, application(backbone, IMAGENET))
    else:
        weights = load_weights(source)
        if not any(key.startswith(PREFIX) for key in weights):
            weights = _from_arrays(part, weights, str(source))
    check_weights(part, weights)
    return {key: np.asarray(weights[key], np.float32) for key in weight_shapes(part)}


def initial_weights(graph: Graph, backbone: Backbone, source: str | Path) -> Weights:
    """What a training may start from: a backbone's trained weights, or those of a detector.

    Args:
        graph: of the detector to train.
        source: as for :func:`backbone_weights`; or an .npz of another training's weights, which
            need not all fit (see :func:`.train.warm_start`).

    Raises:
        InvalidInput, JobFailed: as :func:`backbone_weights`.
    """
    if source != IMAGENET:
        weights = load_weights(source)
        if any(key.rpartition("/")[0] in graph for key in weights):
            return weights
    return backbone_weights(graph, backbone, source)


def application(backbone: Backbone, weights: str | None = None, size: int = 224) -> keras.Model:
    """The same backbone as keras.applications builds it, for images in [-1, 1].

    Raises:
        InvalidInput: keras.applications does not have this backbone, or no weights of this width.
        JobFailed: the download of the weights failed.
    """
    if backbone.name not in APPLICATIONS or backbone.halved:
        raise InvalidInput(
            f"keras.applications has no {'halved ' if backbone.halved else ''}{backbone.name}, "
            f"only {', '.join(APPLICATIONS)}; give weights as an .npz file"
        )
    import keras

    constructor, _ = APPLICATIONS[backbone.name]
    options: dict[str, Any] = (
        {} if backbone.name == "mobilenet_v2" else {"include_preprocessing": False}
    )
    try:
        return getattr(keras.applications, constructor)(
            input_shape=(size, size, 3),
            alpha=backbone.width,
            include_top=False,
            weights=weights,
            **options,
        )
    except ValueError as error:
        raise InvalidInput(
            f"keras.applications has no {weights} weights of {backbone.name} at width "
            f"{backbone.width}: {error}"
        ) from None
    except Exception as error:  # keras raises a bare Exception when a download fails
        raise JobFailed(
            f"the {weights} weights of {backbone.name} could not be downloaded ({error}); "
            "go online, or give weights as an .npz file"
        ) from error


def application_weights(graph: Graph, model: keras.Model) -> Weights:
    """Weights of a graph's backbone from a model of keras.applications of the same kind."""
    part = _backbone_part(graph)
    keras_layers = {layer.name: layer for layer in model.layers}
    arrays: dict[str, Floats] = {}
    for layer in _weighted(part):
        name = _short(layer)
        try:
            arrays[f"{name}/kernel"] = np.asarray(keras_layers[name].kernel)
            if layer.attributes.bias:
                arrays[f"{name}/bias"] = np.asarray(keras_layers[name].bias)
            if layer.attributes.norm is not None:
                norm = keras_layers[_norm_name(name, keras_layers)]
                for vector, variable in (
                    ("gamma", norm.gamma),
                    ("beta", norm.beta),
                    ("mean", norm.moving_mean),
                    ("variance", norm.moving_variance),
                ):
                    arrays[f"{name}/{vector}"] = np.asarray(variable)
        except KeyError as error:
            raise InvalidInput(
                f"the Keras model {model.name!r} has no layer {error.args[0]!r}; give the model of "
                "keras.applications that is this backbone"
            ) from None
    return _from_arrays(part, arrays, model.name)


def _norm_name(name: str, keras_layers: Mapping[str, Any]) -> str:
    """MobileNetV2's first batch norm alone has its affix in front."""
    names = [f"{name}{suffix}" for _, suffix in APPLICATIONS.values()]
    return next((n for n in (*names, f"bn_{name}") if n in keras_layers), names[0])


def _from_arrays(part: Graph, arrays: Mapping[str, Floats], where: str) -> Weights:
    """Keys and batch norm as the graph has them."""
    weights: Weights = {}

    def take(name: str, kind: str) -> Floats:
        try:
            return np.asarray(arrays[f"{name}/{kind}"], np.float32)
        except KeyError as error:
            raise InvalidInput(
                f"{where}: array {error.args[0]!r} is missing; expected the weights of this "
                "backbone, named as in keras.applications"
            ) from None

    for layer in _weighted(part):
        name, norm = _short(layer), layer.attributes.norm
        weights[f"{layer.name}/kernel"] = take(name, "kernel")
        if norm is None:
            weights[f"{layer.name}/bias"] = take(name, "bias")
        elif f"{name}/gamma" in arrays:
            variance = take(name, "variance")
            # As trained with its own epsilon, whatever ours is.
            correction = np.sqrt((variance + norm.epsilon) / (variance + APPLICATION_EPSILON))
            weights[f"{layer.name}/gamma"] = take(name, "gamma") * correction
            weights[f"{layer.name}/beta"] = take(name, "beta")
            weights[f"{layer.name}/mean"] = take(name, "mean")
            weights[f"{layer.name}/variance"] = variance
        else:
            bias = take(name, "bias")
            weights[f"{layer.name}/gamma"] = np.ones_like(bias)
            weights[f"{layer.name}/beta"] = bias
            weights[f"{layer.name}/mean"] = np.zeros_like(bias)
            weights[f"{layer.name}/variance"] = np.full_like(bias, 1 - norm.epsilon)
    return weights


def _backbone_part(graph: Graph) -> Graph:
    layers = tuple(layer for layer in graph if layer.op == "input" or layer.part == "backbone")
    return Graph(layers, (layers[-1].name,))


def _weighted(graph: Graph) -> list[Layer]:
    return [layer for layer in graph if layer.weights is not None]


def _short(layer: Layer) -> str:
    return layer.name.removeprefix(PREFIX)
