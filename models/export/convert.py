"""A detector and its weights as the bytes of a .tflite file, in one of its precisions.

float32 and float16 come from the writer that also makes the files that are measured, without
TensorFlow. Precisions with integers come from TensorFlow's converter, of the same graph. Only
builtin operators: a network that needs others is an error, never a silent fallback.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np

from ...errors import InvalidInput, JobFailed
from ..arrays import Floats
from ..detector import Detector
from ..graph.graph import Graph
from ..graph.weights import Weights
from ..networks.keras_network import build_keras
from ..tflite.model_object import unpack
from ..tflite.schema import SIGNATURE
from ..tflite.writer import write_tflite
from .float16 import halve_weights
from .shipped_graph import shipped_graph, shipped_weights

#: ``dynamic``: weights are int8, everything else float32. ``int8``: all computation, with float32
#: input and outputs.
Precision = Literal["float32", "float16", "dynamic", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
INPUT = "image"
OUTPUTS = ("boxes", "scores")  # in this order, whatever the converter makes of it


def raw_model(
    detector: Detector,
    weights: Weights,
    precision: Precision = "float32",
    calibration: Floats | None = None,
) -> Any:
    """The raw form as a ``ModelT``: input ``image``, outputs ``boxes`` and ``scores``, float32.

    Args:
        weights: of the detector's own graph, as training has them.
        calibration: [K, S, S, 3] in [-1, 1], real images to measure ranges on; for ``int8`` only.

    Raises:
        InvalidInput: an unknown precision, or int8 without images of the input's size.
        JobFailed: weights do not fit float16, or the converter refused; its message is quoted.
    """
    _check(precision, detector.input_size, calibration)
    graph, weights = shipped_graph(detector), shipped_weights(detector, weights)
    if precision in ("float32", "float16"):
        model = unpack(write_tflite(graph, weights))
    else:
        model = unpack(convert(graph, weights, precision, calibration))
    if precision == "float16":
        halve_weights(model)
    name_outputs(model, OUTPUTS)
    return model


def convert(
    graph: Graph,
    weights: Weights,
    precision: Precision = "float32",
    calibration: Floats | None = None,
) -> bytes:
    """What TensorFlow's converter makes of the Keras build of a graph.

    Raises:
        JobFailed: it refused; its message is quoted.
    """
    import tensorflow as tf

    inference = _inference(graph, weights)  # a traced function does not keep its variables
    converter = tf.lite.TFLiteConverter.from_concrete_functions([inference.get_concrete_function()])
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
            return bytes(converter.convert())
        except Exception as error:  # the converter raises its own and plain Exceptions
            raise JobFailed(
                f"TensorFlow's converter refused the {precision} model: {error}"
            ) from error


def _check(precision: Precision, size: int, calibration: Floats | None) -> None:
    if precision not in PRECISIONS:
        raise InvalidInput(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}")
    if precision == "int8" and (calibration is None or calibration.shape[1:] != (size, size, 3)):
        got = "none" if calibration is None else f"an array of shape {calibration.shape}"
        raise InvalidInput(
            f"int8 needs real images [K, {size}, {size}, 3] to measure ranges on, got {got}; "
            "pass some of the training data"
        )


def _inference(graph: Graph, weights: Weights) -> Any:
    """The Keras build as a function of one image."""
    import tensorflow as tf

    (image,) = graph.inputs
    model = build_keras(graph, weights)

    @tf.function(input_signature=[tf.TensorSpec(image.shape, tf.float32, name=INPUT)])  # type: ignore[untyped-decorator]
    def detect(image: Any) -> tuple[Any, Any]:
        boxes, scores = model(image, training=False)
        return boxes, scores

    return detect


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


def name_outputs(model: Any, names: Sequence[str]) -> None:
    """Call the tensors of a ``ModelT`` ``image``, ``boxes`` and ``scores``, and so its signature.

    Applications read outputs by position or by signature; both say the same afterwards.

    Args:
        names: of the outputs in the order that the converter left them in; they come out in the
            order of ``OUTPUTS``.

    Raises:
        JobFailed: the model has another number of inputs or outputs.
    """
    (graph,) = model.subgraphs
    if len(graph.inputs) != 1 or sorted(names) != sorted(OUTPUTS) or len(graph.outputs) != 2:
        raise JobFailed(
            f"the converted model has {len(graph.inputs)} inputs and {len(graph.outputs)} outputs "
            f"called {list(names)}, expected 1 and {list(OUTPUTS)}"
        )
    by_name = dict(zip(names, graph.outputs, strict=True))
    graph.outputs = np.array([by_name[name] for name in OUTPUTS], np.int32)
    for name, index in {INPUT: graph.inputs[0], **by_name}.items():
        graph.tensors[index].name = name
    sign(model)


def sign(model: Any) -> None:
    """Give a ``ModelT`` the one signature that has the names of its inputs and outputs."""
    from ai_edge_litert import schema_py_generated as schema

    (graph,) = model.subgraphs

    def named(indices: Any) -> list[Any]:
        return [schema.TensorMapT(graph.tensors[i].name, int(i)) for i in indices]

    model.signatureDefs = [
        schema.SignatureDefT(named(graph.inputs), named(graph.outputs), SIGNATURE)
    ]
