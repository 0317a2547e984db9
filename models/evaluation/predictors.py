"""What maps images to raw predictions: a training run, a Keras model or a .tflite file."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InvalidInput, InvalidModelFile
from ..arrays import Floats
from ..training.run_folder import TrainingRun, is_run, load_run

if TYPE_CHECKING:
    import keras

BATCH = 16


@dataclass(frozen=True)
class Predictor:
    """Anything that maps images to raw predictions.

    Args:
        input_size: pixels of the square input.
        boxes, slots: N and class slots of its outputs.
        predict: images [B, S, S, 3] in [-1, 1] to codes [B, N, 4] and scores [B, N, slots].
        batch_size: most images at a time.
    """

    input_size: int
    boxes: int
    slots: int
    predict: Callable[[Floats], tuple[Floats, Floats]]
    batch_size: int = BATCH


def predictor_of(model: Path) -> Predictor:
    """Of the folder of a finished training, or of an exported file.

    Raises:
        InvalidInput: it is neither.
        InvalidModelFile: as :func:`tflite_predictor`.
    """
    if is_run(model):
        return run_predictor(load_run(model))
    if model.suffix == ".tflite" and model.is_file():
        return tflite_predictor(model)
    raise InvalidInput(
        f"{model} is neither the folder of a finished training run nor a .tflite; make one "
        "with `mnasfpn train` or `mnasfpn export`"
    )


def keras_predictor(model: keras.Model) -> Predictor:
    """A Keras build of a detector's graph (outputs ``predictor/boxes``, ``predictor/scores``)."""
    import tensorflow as tf

    (_, size, _, _), ((_, boxes, _), (_, _, slots)) = model.input_shape, model.output_shape

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def compiled(images: Any) -> Any:
        return model(images, training=False)

    def predict(images: Floats) -> tuple[Floats, Floats]:
        codes, scores = compiled(images)
        return codes.numpy(), scores.numpy()

    return Predictor(size, boxes, slots, predict)


def run_predictor(run: TrainingRun) -> Predictor:
    """A finished training."""
    from .torch_predictor import detector_predictor

    return detector_predictor(run.detector, run.weights)


def tflite_predictor(model: bytes | str | os.PathLike[str], threads: int = 1) -> Predictor:
    """A .tflite file with outputs boxes [1, N, 4], scores [1, N, slots], in ai-edge-litert.

    Integer inputs and outputs are quantised and dequantised here, as an application would.

    Raises:
        InvalidModelFile: no TensorFlow Lite file, or another input or outputs.
    """
    from ai_edge_litert.interpreter import Interpreter

    name = "the model" if isinstance(model, bytes) else str(model)
    content = model if isinstance(model, bytes) else Path(model).read_bytes()
    try:
        interpreter = Interpreter(model_content=content, num_threads=threads)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise InvalidModelFile(
            f"{name}: cannot be run as a TensorFlow Lite file: {error}"
        ) from None
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    shapes = [tuple(details["shape"]) for details in (*inputs, *outputs)]
    if not _is_detector(shapes):
        raise InvalidModelFile(
            f"{name}: has inputs and outputs of shapes {[tuple(map(int, s)) for s in shapes]}; "
            "expected an image [1, S, S, 3], boxes [1, N, 4] and scores [1, N, classes + 1]"
        )

    def predict(images: Floats) -> tuple[Floats, Floats]:
        interpreter.set_tensor(inputs[0]["index"], _quantise(images, inputs[0]))
        interpreter.invoke()
        codes, scores = (
            _dequantise(interpreter.get_tensor(details["index"]), details) for details in outputs
        )
        return codes, scores

    return Predictor(int(shapes[0][1]), int(shapes[1][1]), int(shapes[2][2]), predict, batch_size=1)


def _is_detector(shapes: list[tuple[int, ...]]) -> bool:
    if [len(shape) for shape in shapes] != [4, 3, 3]:
        return False
    image, boxes, scores = shapes
    return image[1] == image[2] and image[3] == 3 and boxes[2] == 4 and boxes[1] == scores[1]


def _quantise(values: Floats, details: dict[str, Any]) -> NDArray[Any]:
    dtype = details["dtype"]
    if dtype == np.float32:
        return values
    scale, zero = details["quantization"]
    limits = np.iinfo(dtype)
    stored = np.clip(np.round(values / scale) + zero, limits.min, limits.max)
    return np.asarray(stored, dtype)


def _dequantise(values: NDArray[Any], details: dict[str, Any]) -> Floats:
    if details["dtype"] == np.float32:
        return np.asarray(values, np.float32)
    scale, zero = details["quantization"]
    return np.asarray((values.astype(np.float32) - zero) * scale, np.float32)
