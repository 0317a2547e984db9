"""Architectures of keras.applications as .tflite files, for :mod:`.foreign_models`.

Random weights: what a network computes does not matter, only what it costs. Batch norms are not
left at their initial zeros and ones, which the converter would fold away.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..models.atomic import write_atomically


@dataclass(frozen=True, slots=True)
class Architecture:
    """A network of keras.applications at one input size, in pixels."""

    constructor: str
    size: int

    @property
    def name(self) -> str:
        return f"{self.constructor} {self.size}"

    @property
    def file(self) -> str:
        return f"{self.constructor}_{self.size}.tflite"


#: One of each family. MobileNetV2 is missing: profiles hold its kernels.
ARCHITECTURES = (
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


def converted(
    folder: Path, architectures: tuple[Architecture, ...] = ARCHITECTURES
) -> Iterator[tuple[Architecture, Path]]:
    """Each architecture's file; those that are in the folder already are not made again."""
    folder.mkdir(parents=True, exist_ok=True)
    for architecture in architectures:
        path = folder / architecture.file
        if not path.is_file():
            write_atomically(path, _convert(architecture))
        yield architecture, path


def _convert(architecture: Architecture) -> bytes:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras
    import numpy as np
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    shape = (architecture.size, architecture.size, 3)
    model = getattr(keras.applications, architecture.constructor)(weights=None, input_shape=shape)
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.0, value.shape) for value in layer.get_weights()])

    @tf.function(input_signature=[tf.TensorSpec((1, *shape), tf.float32)])  # type: ignore[untyped-decorator]
    def network(image: Any) -> Any:
        return model(image, training=False)

    converter = tf.lite.TFLiteConverter.from_concrete_functions([network.get_concrete_function()])
    content = bytes(converter.convert())
    keras.backend.clear_session()
    return content
