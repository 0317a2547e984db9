"""What maps images to raw predictions: a training run, a Keras model or a .tflite file."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InvalidInput, InvalidModelFile
from ..arrays import Floats
from ..detection.anchors import anchors_for
from ..detection.suppression import Detections, NmsSettings, detect
from ..export.metadata import read_labels, read_metadata
from ..tflite.flatbuffer import DamagedBuffer
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


@dataclass(frozen=True)
class Finder:
    """Anything that maps images to detections.

    Args:
        input_size: pixels of the square input.
        classes: without background.
        find: images [B, S, S, 3] in [-1, 1] to the detections of each.
        batch_size: most images at a time.
    """

    input_size: int
    classes: int
    find: Callable[[Floats], list[Detections]]
    batch_size: int = BATCH


def finder(predictor: Predictor, settings: NmsSettings | None = None) -> Finder:
    """A predictor with COCO's usual suppression behind it."""
    anchors = anchors_for(predictor.input_size, predictor.boxes)

    def find(images: Floats) -> list[Detections]:
        predicted = zip(*predictor.predict(images), strict=True)
        return [detect(codes, scores, anchors, settings) for codes, scores in predicted]

    return Finder(predictor.input_size, predictor.slots - 1, find, predictor.batch_size)


def finder_of(model: Path) -> Finder:
    """Of the folder of a finished training, or of an exported file of either form.

    Raises:
        InvalidInput, InvalidModelFile: as :func:`predictor_of`.
    """
    if model.suffix == ".tflite" and model.is_file():
        with contextlib.suppress(InvalidModelFile):
            return tflite_finder(model)
    return finder(predictor_of(model))


def predictor_of(model: Path) -> Predictor:
    """Of the folder of a finished training, or of an exported file of the raw form.

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
    """A .tflite file with outputs boxes [1, N, 4], scores [1, N, classes], in ai-edge-litert.

    Files without metadata are those of 0.1.0, whose scores have a column for the background.
    Integer inputs and outputs are quantised and dequantised here, as an application would.

    Raises:
        InvalidModelFile: no TensorFlow Lite file, or another input or outputs.
    """
    name, content, file = _opened(model, threads)
    if not _is_detector(file.shapes):
        raise InvalidModelFile(
            f"{name}: has inputs and outputs of shapes {file.shapes}; "
            "expected an image [1, S, S, 3], boxes [1, N, 4] and scores [1, N, classes]"
        )
    try:
        added = int(read_metadata(content) is not None)
    except DamagedBuffer as error:
        raise InvalidModelFile(f"{name}: its metadata is damaged: {error}") from None

    def predict(images: Floats) -> tuple[Floats, Floats]:
        codes, scores = file.run(images)
        return codes, np.pad(scores, ((0, 0), (0, 0), (added, 0)))

    (_, size, _, _), (_, boxes, _), (_, _, columns) = file.shapes
    return Predictor(size, boxes, columns + added, predict, batch_size=1)


def _is_detector(shapes: tuple[tuple[int, ...], ...]) -> bool:
    if [len(shape) for shape in shapes] != [4, 3, 3]:
        return False
    image, boxes, scores = shapes
    return image[1] == image[2] and image[3] == 3 and boxes[2] == 4 and boxes[1] == scores[1]


def tflite_finder(model: bytes | str | os.PathLike[str], threads: int = 1) -> Finder:
    """A .tflite file that ends in TFLite_Detection_PostProcess, in ai-edge-litert.

    Raises:
        InvalidModelFile: no TensorFlow Lite file, or another input or outputs.
    """
    name, content, file = _opened(model, threads)
    if [len(shape) for shape in file.shapes] != [4, 3, 2, 2, 1]:
        raise InvalidModelFile(
            f"{name}: has inputs and outputs of shapes {file.shapes}; expected an image "
            "[1, S, S, 3], locations [1, K, 4], classes [1, K], scores [1, K] and a count [1]"
        )

    def find(images: Floats) -> list[Detections]:
        (boxes,), (classes,), (scores,), (count,) = file.run(images)
        kept = slice(int(count))
        return [Detections(boxes[kept], scores[kept], classes[kept].astype(np.int64) + 1)]

    return Finder(file.shapes[0][1], len(read_labels(content)), find, batch_size=1)


@dataclass(frozen=True)
class _OpenFile:
    """A file in an interpreter: shapes of its input and outputs, and what computes them."""

    shapes: tuple[tuple[int, ...], ...]
    run: Callable[[Floats], list[Floats]]


def _opened(model: bytes | str | os.PathLike[str], threads: int) -> tuple[str, bytes, _OpenFile]:
    """(what to call it, its bytes, the file)."""
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
    shapes = tuple(
        tuple(int(extent) for extent in details["shape"]) for details in (*inputs, *outputs)
    )

    def run(images: Floats) -> list[Floats]:
        interpreter.set_tensor(inputs[0]["index"], _quantise(images, inputs[0]))
        interpreter.invoke()
        return [_dequantise(interpreter.get_tensor(each["index"]), each) for each in outputs]

    return name, content, _OpenFile(shapes, run)


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
