"""The proxy task of a search: what a head is worth, in seconds on one core.

A backbone is taught the dataset once (:mod:`...models.training.pretrain`), then frozen, and its
features C3..C5 of every image are stored. A candidate trains only its head and predictor
on them and is scored by COCO's average precision on the validation split. Everything is seeded.

Candidates are trained by PyTorch, eagerly, on one thread. Keras, timed on two heads with every core
it wanted, built and compiled for 5 to 6 seconds before its first step and then took 45 to 58 ms a
step, 10 to 13 seconds for 120; the same two took PyTorch 4.6 and 6.4 seconds, scoring included.

On the default digits (two seeds each of the published cell and seven random heads, 4.6 to 14.8
seconds each) the published cell scored 0.27 and the random ones 0.01 to 0.16; the standard
deviation was 0.09 between heads and 0.016 between seeds, Kendall's tau between the seeds 0.86.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...errors import JobFailed
from ...models.data.coco import CocoSplit
from ...models.data.loading import Batch
from ...models.detection.anchors import anchors_for
from ...models.detection.losses import TRAINED_OUTPUTS
from ...models.detection.suppression import NmsSettings, detect
from ...models.detector import Detector
from ...models.evaluation.coco_metrics import mean_precision
from ...models.graph.graph import Graph
from ...models.graph.parts import without_backbone
from ...models.graph.weights import Weights, balanced_weights
from ...models.heads.cell import Cell
from ...models.networks.torch_threads import with_threads
from ...models.training.learning_rate import short_training
from ...models.training.run_folder import load_weights
from ...models.training.train import training_graph
from ..cells import with_repeats
from .proxy_settings import ProxySettings

if TYPE_CHECKING:
    from ...models.networks.torch_network import TorchGraph

BACKBONE, TRAIN_FEATURES, VALIDATION_FEATURES = "backbone.npz", "train.npz", "validation.npz"
CODES, LABELS = "codes", "labels"
FEATURE_BATCH = 32
# Far fewer boxes than COCO needs: proxy images are small and hold few objects.
NMS = NmsSettings(score=0.01, candidates=30)


@dataclass(frozen=True)
class ProxyResult:
    """What a candidate scored.

    Args:
        map: COCO's average precision on the validation split, 0 to 1.
        map50: the same at IoU 0.5.
        losses: of every step.
        seconds: for training and scoring.
        detector: what was trained.
        weights: all of its weights, backbone included.
    """

    map: float
    map50: float
    losses: tuple[float, ...]
    seconds: float
    detector: Detector
    weights: Weights = field(repr=False, compare=False)


@dataclass(frozen=True)
class _StoredMaps:
    """Backbone features [images, H, W, C] by layer name, and the targets of all images."""

    maps: dict[str, Any]
    codes: Any
    labels: Any

    def inputs(self, graph: Graph, chosen: Any) -> dict[str, Any]:
        """What a head's graph reads of the chosen images, NCHW."""
        return {
            layer.name: self.maps[layer.name][chosen].permute(0, 3, 1, 2) for layer in graph.inputs
        }


class ProxyTask:
    """A prepared proxy task; see :func:`~.preparation.prepare_proxy`."""

    def __init__(self, folder: Path, settings: ProxySettings, validation: CocoSplit) -> None:
        self.folder = folder
        self.settings = settings
        self.classes = len(validation.classes)
        self._validation = validation
        self._backbone = load_weights(folder / BACKBONE)
        self._train = _load_features(folder / TRAIN_FEATURES)
        self._validate = _load_features(folder / VALIDATION_FEATURES)

    def detector(self, cell: Cell) -> Detector:
        """The small detector that stands for a cell."""
        settings = self.settings
        return Detector(
            settings.backbone,
            cell if settings.repeats is None else with_repeats(cell, settings.repeats),
            settings.predictor,
            self.classes,
            settings.input_size,
        )

    def train_and_score(self, cell: Cell, seed: int = 0) -> ProxyResult:
        """Train a cell's head and predictor on the stored features, and score them.

        The same seed gives the same result on the same machine.

        Raises:
            JobFailed: the loss is no longer a number.
        """
        from ...models.networks.torch_network import TorchGraph

        started = time.perf_counter()
        detector = self.detector(cell)
        graph = without_backbone(training_graph(detector, self.settings.norm_momentum))
        with with_threads(1):
            network = TorchGraph(graph, balanced_weights(graph, seed))
            losses = self._fit(network, seed)
            found = self._detect(network)
        precision = mean_precision(self._validation, found)
        return ProxyResult(
            map=float(np.nan_to_num(precision.map)),
            map50=float(np.nan_to_num(precision.map50)),
            losses=tuple(losses),
            seconds=time.perf_counter() - started,
            detector=detector,
            weights={**self._backbone, **network.weights()},
        )

    def _fit(self, network: TorchGraph, seed: int) -> list[float]:
        import torch

        from ...models.training.trainer import DetectionTask, Trainer

        settings, features = self.settings, self._train
        trainer = Trainer(DetectionTask(network), settings.recipe, torch.device("cpu"))
        order = _order(len(features.labels), settings.steps * settings.batch_size, seed)
        losses = []
        for step in range(settings.steps):
            chosen = order[step * settings.batch_size : (step + 1) * settings.batch_size]
            batch = Batch(
                features.inputs(network.graph, chosen),
                features.codes[chosen],
                features.labels[chosen],
                (),
            )
            rate = settings.learning_rate * short_training(step, settings.steps)
            losses.append(sum(trainer.step([batch], rate).values()))
            if not np.isfinite(losses[-1]):
                raise JobFailed(
                    f"the proxy loss is {losses[-1]} at step {step + 1}; lower the learning rate "
                    f"({settings.learning_rate:g})"
                )
        network.eval()
        return losses

    def _detect(self, network: TorchGraph) -> dict[int, Any]:
        import torch

        anchors = anchors_for(self.settings.input_size, self._train.codes.shape[1])
        examples = self._validation.examples
        found = {}
        for first in range(0, len(examples), FEATURE_BATCH):
            part = slice(first, first + FEATURE_BATCH)
            inputs = self._validate.inputs(network.graph, part)
            with torch.no_grad():
                outputs = network(inputs)
            codes, logits = (outputs[name] for name in TRAINED_OUTPUTS)
            scores = logits.sigmoid()
            for example, code, score in zip(
                examples[part], codes.numpy(), scores.numpy(), strict=True
            ):
                found[example.image_id] = detect(code, score, anchors, NMS)
        return found


def _load_features(path: Path) -> _StoredMaps:
    import torch

    arrays = {key: torch.from_numpy(value) for key, value in load_weights(path).items()}
    return _StoredMaps(codes=arrays.pop(CODES), labels=arrays.pop(LABELS), maps=arrays)


def _order(images: int, count: int, seed: int) -> NDArray[np.int64]:
    """``count`` image indices: one permutation after another."""
    generator = np.random.default_rng((seed, 2))
    rounds = -(-count // images)
    return np.concatenate([generator.permutation(images) for _ in range(rounds)])[:count]
