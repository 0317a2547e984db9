"""Architectures as .tflite files, for :mod:`.foreign_models`: sets that were looked at by turns.

Random weights: what a network computes does not matter, only what it costs. Batch norms are not
left at their initial zeros and ones, which the converter would fold away.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

from ..models.graph.arithmetic import Arithmetic
from ..storage.atomic import write_atomically
from .written_models import ssdlite, written

Precision = Literal["float32", "float16", "hybrid", "int8", "uint8"]
IMAGES = 4  # to measure ranges on


@dataclass(frozen=True, slots=True)
class Architecture:
    """A network of keras.applications or of our own at one input size, in pixels.

    Those of :mod:`.handmade_models` are in Keras; a ``SSDLite`` is of :mod:`.written_models`.

    Args:
        precision: ``float16`` and ``hybrid`` (int8) only store weights so; ``uint8`` is written by
            :func:`.written_models.written`.
        options: of its constructor.
    """

    constructor: str
    size: int
    precision: Precision = "float32"
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def name(self) -> str:
        options = [f"{key}={value}" for key, value in self.options]
        precision = [] if self.precision == "float32" else [self.precision]
        return " ".join([self.constructor, *options, str(self.size), *precision])

    @property
    def file(self) -> str:
        return f"{self.name.replace(' ', '_').replace('=', '-')}.tflite"


@dataclass(frozen=True, slots=True)
class ModelSet:
    """Architectures that are judged together.

    Args:
        note: what was known of their measurements when the method was made.
    """

    name: str
    note: str
    architectures: tuple[Architecture, ...]


#: One of each family. MobileNetV2 is missing: profiles hold its kernels.
_FIRST = (
    Architecture("MobileNet", 224),
    Architecture("MobileNetV3Small", 224),
    Architecture("EfficientNetB0", 128),
    Architecture("EfficientNetV2B0", 128),
    Architecture("DenseNet121", 96),
    Architecture("NASNetMobile", 128),
    Architecture("Xception", 128),
    Architecture("InceptionV3", 128),
    Architecture("ConvNeXtTiny", 64),
    Architecture("ResNet50", 128),
    Architecture("ResNet50V2", 96),
    Architecture("VGG16", 64),
)
_FRESH = (
    Architecture("MobileNetV2", 160, options=(("alpha", 0.75),)),
    Architecture("MobileNetV3Large", 192),
    Architecture("MobileNetV3Small", 224, options=(("minimalistic", True),)),
    Architecture("EfficientNetB2", 160),
    Architecture("EfficientNetV2B1", 160),
    Architecture("DenseNet169", 128),
    Architecture("ResNet101", 96),
    Architecture("VGG19", 64),
    Architecture("InceptionResNetV2", 128),
    Architecture("NASNetLarge", 96),
    Architecture("SqueezeNet", 192),
    Architecture("ShuffleNet", 160),
    Architecture("GhostNet", 192),
    Architecture("RegNetX", 160),
    Architecture("UNet", 128),
    Architecture("MobileNetV2", 128, "float16", (("alpha", 1.4),)),
)
_LATER = (
    Architecture("MobileNetV2", 224, options=(("alpha", 0.5),)),
    Architecture("MobileNetV3Large", 160, options=(("minimalistic", True),)),
    Architecture("EfficientNetB1", 128),
    Architecture("EfficientNetV2B2", 96),
    Architecture("DenseNet201", 96),
    Architecture("ResNet152V2", 96),
    Architecture("ResNet50", 192, "float16"),
    Architecture("GhostNet", 128),
)
_LAST = (
    Architecture("MobileNet", 192, options=(("alpha", 0.5),)),
    Architecture("MobileNetV3Small", 160, options=(("alpha", 0.75),)),
    Architecture("EfficientNetB3", 96),
    Architecture("EfficientNetV2B3", 128),
    Architecture("DenseNet121", 160),
    Architecture("ResNet101V2", 96),
    Architecture("NASNetMobile", 160),
    Architecture("SqueezeNet", 128),
)


_WEAK = (
    Architecture("VGG19", 64, "int8"),
    Architecture("ShuffleNet", 160, "int8"),
    *(Architecture("MLPMixer", 224, precision) for precision in ("float32", "int8")),
    *(Architecture("FocusCSP", 224, precision) for precision in ("float32", "int8")),
    *(Architecture("SSDLite", 320, precision) for precision in ("float32", "int8", "uint8")),
    Architecture("SSDLite", 320, options=(("regular", True),)),
    *(Architecture(name, 224, "uint8") for name in ("MobileNet", "MobileNetV2")),
    Architecture("InceptionV3", 128, "uint8"),
)


def _in(precision: Precision, architectures: Iterable[Architecture]) -> tuple[Architecture, ...]:
    return tuple(replace(item, precision=precision) for item in architectures)


MODEL_SETS = (
    ModelSet(
        "first dozen",
        "two rules were written after looking at their residuals: that a group for each channel is "
        "a depthwise convolution, and how weights leave the caches",
        _FIRST,
    ),
    ModelSet(
        "fresh",
        "looked at before the method was changed: then 75 % were within 15 % (mean absolute error "
        "17.3 %), too slow where there are few weights and too fast where there are many, because "
        "one rate stood for all weights, and grouped convolutions were not known at all; and again "
        "while the law of cold weights was chosen",
        _FRESH,
    ),
    ModelSet(
        "int8",
        "looked at before the method was changed: then 76 % were within 15 % (mean absolute error "
        "19.5 %), from rare operators with too few samples, x * sigmoid(x) counted as two "
        "operators, and the rate of float32's weights; and again while the law of cold weights was "
        "chosen",
        _in("int8", (*_FIRST, *_FRESH[:3], _FRESH[10], _FRESH[12])),
    ),
    ModelSet(
        "int8 weights",
        "looked at before the method was changed: then 2 of 3 were within 15 %; and again while "
        "the law of cold weights was chosen",
        _in("hybrid", (_FIRST[0], _FIRST[9], _FRESH[10])),
    ),
    ModelSet(
        "later",
        "looked at while one of several laws of cold weights was chosen, of which others suited "
        "them as well",
        _LATER,
    ),
    ModelSet(
        "later, int8 and int8 weights",
        "looked at while one of several laws of cold weights was chosen",
        (*_in("int8", (*_LATER[:3], _FRESH[6], *_FRESH[13:15])), *_in("hybrid", _LATER[2:5])),
    ),
    ModelSet("last", "measured when the method was as it is, and not looked at before", _LAST),
    ModelSet(
        "last, int8",
        "measured when the method was as it is, and not looked at before",
        _in("int8", (*_LAST[:3], _LAST[5])),
    ),
    ModelSet(
        "weak spots",
        "chosen for what earlier profiles only bounded or missed: grouped convolutions and dense "
        "layers of few rows in int8, GELU, means, transposes, slices, suppression of boxes, uint8; "
        "looked at while those were made, with the features of grouped convolutions, transposes, "
        "slices and suppression",
        _WEAK,
    ),
)


def converted(
    folder: Path, architectures: Iterable[Architecture]
) -> Iterator[tuple[Architecture, Path]]:
    """Each architecture's file; those that are in the folder already are not made again."""
    folder.mkdir(parents=True, exist_ok=True)
    for architecture in architectures:
        path = folder / architecture.file
        if not path.is_file():
            write_atomically(path, _convert(architecture))
        yield architecture, path


def _convert(architecture: Architecture) -> bytes:
    if architecture.constructor == "SSDLite":
        precision = cast(Arithmetic, architecture.precision)
        return ssdlite(architecture.size, precision, **dict(architecture.options))
    if architecture.precision == "uint8":
        return written(_convert(replace(architecture, precision="float32")), "uint8")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras
    import numpy as np
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    model = _build(architecture)
    shape = (1, architecture.size, architecture.size, 3)
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.0, value.shape) for value in layer.get_weights()])

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32)])  # type: ignore[untyped-decorator]
    def network(image: Any) -> Any:
        return model(image, training=False)

    converter = tf.lite.TFLiteConverter.from_concrete_functions([network.get_concrete_function()])
    if architecture.precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if architecture.precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if architecture.precision == "int8":
        images = rng.normal(size=(IMAGES, *shape)).astype(np.float32)
        converter.representative_dataset = lambda: ([image] for image in images)
    content = bytes(converter.convert())
    keras.backend.clear_session()
    return content


def _build(architecture: Architecture) -> Any:
    import keras

    from .handmade_models import HANDMADE

    if architecture.constructor in HANDMADE:
        return HANDMADE[architecture.constructor](architecture.size)
    constructor = getattr(keras.applications, architecture.constructor)
    shape = (architecture.size, architecture.size, 3)
    return constructor(weights=None, input_shape=shape, **dict(architecture.options))
