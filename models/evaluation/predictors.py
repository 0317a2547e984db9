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
from ..detector import Detector
from ..graph.weights import Weights
from ..tflite.interpreter_process import InterpreterProcess, TensorDetails
from ..training.run_folder import TrainingRun, is_run, load_run

if TYPE_CHECKING:
    import keras
    import torch

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


def predictor_of(model: Path, signature: str | None = None) -> Predictor:
    """Of the folder of a finished training, or of an exported file, which may have a signature.

    Raises:
        InvalidInput: it is neither, or a training with a signature.
        InvalidModelFile: as :func:`tflite_predictor`.
    """
    if is_run(model):
        if signature is not None:
            raise InvalidInput(
                f"{model} is a training run, which has no signature {signature!r}; leave it out"
            )
        return run_predictor(load_run(model))
    if model.suffix == ".tflite" and model.is_file():
        return tflite_predictor(model, signature=signature)
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
    return detector_predictor(run.detector, run.weights)


def detector_predictor(
    detector: Detector, weights: Weights, device: torch.device | None = None
) -> Predictor:
    """Images to codes and scores; the network as it is shipped, batch norm at its averages."""
    import torch

    from ..networks.torch_network import TorchGraph, to_nchw

    graph = detector.graph()
    boxes, scores = graph.outputs
    network = TorchGraph(graph, weights).eval().to(device or torch.device("cpu"))
    where = next(network.parameters()).device

    def predict(images: Floats) -> tuple[Floats, Floats]:
        with torch.inference_mode():
            found = network({"image": to_nchw(np.ascontiguousarray(images)).to(where)})
        return found[boxes].cpu().numpy(), found[scores].cpu().numpy()

    return Predictor(detector.input_size, graph[boxes].shape[1], graph[scores].shape[2], predict)


def tflite_predictor(
    model: bytes | str | os.PathLike[str], threads: int = 1, signature: str | None = None
) -> Predictor:
    """A .tflite file with outputs boxes [1, N, 4], scores [1, N, slots], in ai-edge-litert.

    It runs in a process of its own: files that the runtime dies of are refused like others.
    Integer inputs and outputs are quantised and dequantised here, as an application would.

    Args:
        signature: to run, of a file that has several.

    Raises:
        InvalidModelFile: no TensorFlow Lite file, one that the runtime does not survive, or another
            input or outputs.
    """
    name = "the model" if isinstance(model, bytes) else str(model)
    content = model if isinstance(model, bytes) else Path(model).read_bytes()
    interpreter = InterpreterProcess(content, name, threads, signature)
    shapes = [details.shape for details in (*interpreter.inputs, *interpreter.outputs)]
    if not _is_detector(shapes):
        raise InvalidModelFile(
            f"{name}: has inputs and outputs of shapes {shapes}; "
            "expected an image [1, S, S, 3], boxes [1, N, 4] and scores [1, N, classes + 1]"
        )

    def predict(images: Floats) -> tuple[Floats, Floats]:
        found = interpreter.run(_quantise(images, interpreter.inputs[0]))
        codes, scores = map(_dequantise, found, interpreter.outputs)
        return codes, scores

    return Predictor(shapes[0][1], shapes[1][1], shapes[2][2], predict, batch_size=1)


def _is_detector(shapes: list[tuple[int, ...]]) -> bool:
    if [len(shape) for shape in shapes] != [4, 3, 3]:
        return False
    image, boxes, scores = shapes
    return image[1] == image[2] and image[3] == 3 and boxes[2] == 4 and boxes[1] == scores[1]


def _quantise(values: Floats, details: TensorDetails) -> NDArray[Any]:
    if details.dtype == np.float32:
        return values
    limits = np.iinfo(details.dtype)
    stored = np.round(values / details.scale) + details.zero_point
    return np.asarray(np.clip(stored, limits.min, limits.max), details.dtype)


def _dequantise(values: NDArray[Any], details: TensorDetails) -> Floats:
    if details.dtype == np.float32:
        return np.asarray(values, np.float32)
    real = (values.astype(np.float32) - details.zero_point) * details.scale
    return np.asarray(real, np.float32)
