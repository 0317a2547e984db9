"""What finds objects in images: a training run or a .tflite file of either form."""

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
from ..detection.anchors import anchors_for
from ..detection.suppression import Detections, NmsSettings, detect
from ..detector import Detector
from ..export.metadata import read_labels, read_metadata
from ..graph.weights import Weights
from ..tflite.flatbuffer import DamagedBuffer
from ..tflite.interpreter_process import InterpreterProcess, TensorDetails
from ..training.run_folder import TrainingRun, is_run, load_run

if TYPE_CHECKING:
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


def finder_of(model: Path, signature: str | None = None) -> Finder:
    """Of the folder of a finished training, or of an exported file of either form.

    Raises:
        InvalidInput, InvalidModelFile: as :func:`predictor_of`.
    """
    if is_run(model) or model.suffix != ".tflite" or not model.is_file():
        return finder(predictor_of(model, signature))
    file = _opened(model, 1, signature)
    return _nms_finder(file) if file.suppresses else finder(_raw_predictor(file))


def predictor_of(model: Path, signature: str | None = None) -> Predictor:
    """Of the folder of a finished training, or of an exported file of the raw form.

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
    """A .tflite file with outputs boxes [1, N, 4], scores [1, N, classes], in ai-edge-litert.

    It runs in a process of its own: files that the runtime dies of are refused like others.
    Files without metadata are those of 0.1.0, whose scores have a column for the background.
    Integer inputs and outputs are quantised and dequantised here, as an application would.

    Args:
        signature: to run, of a file that has several.

    Raises:
        InvalidModelFile: no TensorFlow Lite file, one that the runtime does not survive, or another
            input or outputs.
    """
    return _raw_predictor(_opened(model, threads, signature))


def _raw_predictor(file: _OpenFile) -> Predictor:
    if not _is_detector(file.shapes):
        raise InvalidModelFile(
            f"{file.name}: has inputs and outputs of shapes {file.shapes}; "
            "expected an image [1, S, S, 3], boxes [1, N, 4] and scores [1, N, classes]"
        )
    try:
        added = int(read_metadata(file.content) is not None)
    except DamagedBuffer as error:
        raise InvalidModelFile(f"{file.name}: its metadata is damaged: {error}") from None

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


def tflite_finder(
    model: bytes | str | os.PathLike[str], threads: int = 1, signature: str | None = None
) -> Finder:
    """A .tflite file that ends in TFLite_Detection_PostProcess, in ai-edge-litert.

    Raises:
        InvalidModelFile: no TensorFlow Lite file, one that the runtime does not survive, or another
            input or outputs.
    """
    return _nms_finder(_opened(model, threads, signature))


def _nms_finder(file: _OpenFile) -> Finder:
    if not file.suppresses:
        raise InvalidModelFile(
            f"{file.name}: has inputs and outputs of shapes {file.shapes}; expected an image "
            "[1, S, S, 3], locations [1, K, 4], classes [1, K], scores [1, K] and a count [1]"
        )

    def find(images: Floats) -> list[Detections]:
        (boxes,), (classes,), (scores,), (count,) = file.run(images)
        kept = slice(int(count))
        return [Detections(boxes[kept], scores[kept], classes[kept].astype(np.int64) + 1)]

    return Finder(file.shapes[0][1], len(read_labels(file.content)), find, batch_size=1)


@dataclass(frozen=True)
class _OpenFile:
    """A file in an interpreter.

    Args:
        name: what to call it.
        shapes: of its input and outputs.
        run: computes the outputs.
    """

    name: str
    content: bytes
    shapes: tuple[tuple[int, ...], ...]
    run: Callable[[Floats], list[Floats]]

    @property
    def suppresses(self) -> bool:
        """Whether it takes an image and gives locations, classes, scores and a count."""
        return [len(shape) for shape in self.shapes] == [4, 3, 2, 2, 1]


def _opened(
    model: bytes | str | os.PathLike[str], threads: int, signature: str | None
) -> _OpenFile:
    name = "the model" if isinstance(model, bytes) else str(model)
    content = model if isinstance(model, bytes) else Path(model).read_bytes()
    interpreter = InterpreterProcess(content, name, threads, signature)
    shapes = tuple(details.shape for details in (*interpreter.inputs, *interpreter.outputs))

    def run(images: Floats) -> list[Floats]:
        found = interpreter.run(_quantise(images, interpreter.inputs[0]))
        return [*map(_dequantise, found, interpreter.outputs)]

    return _OpenFile(name, content, shapes, run)


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
