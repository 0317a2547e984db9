"""A detector and its weights as a .tflite file, by TensorFlow's converter.

The file holds the graph of :meth:`..detector.Detector.graph`: from the image to encoded boxes and
sigmoid scores, before decoding and suppression. Only builtin operators: a network that
needs others is an error, never a silent fallback.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ...errors import InvalidInput, JobFailed
from ..data.coco import CocoSplit
from ..data.pipeline import load_image, normalise
from ..detector import Detector
from ..graph.weights import Weights
from ..networks.keras_network import build_keras
from ..tflite.file import AlignedBuffer
from ..tflite.schema import IDENTIFIER

Floats = NDArray[np.float32]
Precision = Literal["float32", "float16", "int8"]
INPUT = "image"
OUTPUTS = ("boxes", "scores")  # in this order, whatever the converter makes of it
SIGNATURE = "serving_default"


def sample_images(data: CocoSplit, size: int, count: int, seed: int = 0) -> Floats:
    """Images [count, S, S, 3] in [-1, 1] drawn from a dataset, all of it if it has no more."""
    chosen = np.random.default_rng(seed).permutation(len(data))[:count]
    return np.stack([normalise(load_image(data.examples[index], size)) for index in chosen])


def sample_photographs(size: int, count: int, seed: int = 0) -> Floats:
    """Random crops [count, S, S, 3] in [-1, 1] of scikit-learn's two sample photographs."""
    from sklearn.datasets import load_sample_images

    photos = load_sample_images().images
    rng = np.random.default_rng(seed)
    crops = []
    for _ in range(count):
        photo = photos[rng.integers(len(photos))]
        side = min(*photo.shape[:2], size)
        top, left = (int(rng.integers(extent - side + 1)) for extent in photo.shape[:2])
        crop = photo[top : top + side, left : left + side]
        places = np.arange(size) * side // size  # nearest pixel where a photo is too small
        crops.append(normalise(crop[places][:, places]))
    return np.stack(crops)


def convert(
    detector: Detector,
    weights: Weights,
    precision: Precision = "float32",
    calibration: Floats | None = None,
) -> bytes:
    """The bytes of a .tflite file; input ``image``, outputs ``boxes`` and ``scores``, float32.

    Args:
        precision: ``float16`` stores weights in half the size, ``int8`` also computes with
            integers, with ranges measured on ``calibration``.
        calibration: [K, S, S, 3] in [-1, 1], real images; for ``int8`` only.

    Raises:
        InvalidInput: an unknown precision, or int8 without images of the input's size.
        JobFailed: the converter refused; its message is quoted.
    """
    import tensorflow as tf

    if precision not in get_args(Precision):
        raise InvalidInput(
            f"precision must be one of {', '.join(get_args(Precision))}, got {precision!r}"
        )
    size = detector.input_size
    if precision == "int8" and (calibration is None or calibration.shape[1:] != (size, size, 3)):
        got = "none" if calibration is None else f"an array of shape {calibration.shape}"
        raise InvalidInput(
            f"int8 needs real images [K, {size}, {size}, 3] to measure ranges on, got {got}; "
            "pass some of the training data"
        )
    model = build_keras(detector.graph(), weights)

    @tf.function(input_signature=[tf.TensorSpec((1, size, size, 3), tf.float32, name=INPUT)])  # type: ignore[untyped-decorator]
    def detect(image: Any) -> tuple[Any, Any]:
        boxes, scores = model(image, training=False)
        return boxes, scores

    converter = tf.lite.TFLiteConverter.from_concrete_functions([detect.get_concrete_function()])
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if precision == "int8":
        assert calibration is not None
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.representative_dataset = lambda: ([image[None]] for image in calibration)
    with _quiet():
        try:
            content = bytes(converter.convert())
        except Exception as error:  # the converter raises its own and plain Exceptions
            raise JobFailed(
                f"TensorFlow's converter refused the {precision} model: {error}"
            ) from error
    return name_outputs(content, OUTPUTS)


class _quiet:
    """The converter writes progress to the standard error of the process, past Python's."""

    def __enter__(self) -> None:
        self._kept = os.dup(2)
        self._nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(self._nowhere, 2)

    def __exit__(self, *error: object) -> None:
        os.dup2(self._kept, 2)
        os.close(self._kept)
        os.close(self._nowhere)


def name_outputs(content: bytes, names: Sequence[str]) -> bytes:
    """The same model with tensors called ``image``, ``boxes`` and ``scores``, and a signature.

    Applications read outputs by position or by signature; both say the same afterwards.

    Args:
        names: of the outputs in the order that the converter left them in; they come out in the
            order of ``OUTPUTS``.

    Raises:
        JobFailed: the model has another number of inputs or outputs.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content)
    (graph,) = model.subgraphs
    if len(graph.inputs) != 1 or sorted(names) != sorted(OUTPUTS) or len(graph.outputs) != 2:
        raise JobFailed(
            f"the converted model has {len(graph.inputs)} inputs and {len(graph.outputs)} outputs "
            f"called {list(names)}, expected 1 and {list(OUTPUTS)}"
        )
    by_name = dict(zip(names, graph.outputs, strict=True))
    graph.outputs = np.array([by_name[name] for name in OUTPUTS], np.int32)
    inputs = {INPUT: graph.inputs[0]}
    for name, index in (inputs | by_name).items():
        graph.tensors[index].name = name
    model.signatureDefs = [
        schema.SignatureDefT(
            signatureKey=SIGNATURE,
            inputs=[schema.TensorMapT(name=name, tensorIndex=i) for name, i in inputs.items()],
            outputs=[schema.TensorMapT(name=name, tensorIndex=by_name[name]) for name in OUTPUTS],
        )
    ]
    model.buffers = [
        buffer if buffer.data is None else AlignedBuffer(np.asarray(buffer.data, np.uint8))
        for buffer in model.buffers
    ]
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())
