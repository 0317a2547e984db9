"""A detector of 64 pixels whose outputs differ from anchor to anchor, and images to run it on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mnasfpn.models.data.coco import CocoSplit, read_coco
from mnasfpn.models.data.digits import DigitsSettings, write_digits
from mnasfpn.models.detector import Backbone, Detector
from mnasfpn.models.genotype import Block, Genotype
from mnasfpn.models.graph.weights import Weights, random_weights
from mnasfpn.models.heads.predictor import SharedPredictor
from mnasfpn.models.networks.torch_network import TorchGraph, to_nchw

BLOCKS = (
    Block((1, 2), 3, expansion=16),
    Block((1, 4), 4, expansion=16, kernel=5),
    Block((0, 3), 5, expansion=16),
    Block((2, 3), 6, expansion=16),
)
SIZE, CLASSES, BOXES = 64, 10, 765
DETECTOR = Detector(
    Backbone("mobilenet_v2", 0.35),
    Genotype(16, 1, BLOCKS),
    SharedPredictor(depth=16),
    classes=CLASSES,
    input_size=SIZE,
)
LABELS = tuple(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])


def visible_weights(detector: Detector = DETECTOR, seed: int = 0) -> Weights:
    """As after training: batch norm away from the identity, and outputs that differ from anchor to
    anchor by about 1, codes and logits. Weights as published would say the same everywhere."""
    import torch

    graph = detector.graph().prune(("predictor/boxes", "predictor/logits"))
    weights = random_weights(graph, seed, random_norm=True)
    image = np.random.default_rng(seed).uniform(-1, 1, graph.inputs[0].shape).astype(np.float32)
    last = [layer for layer in graph if layer.weights and layer.attributes.bias]
    for layer in last:
        if layer.attributes.shares is None:
            weights[f"{layer.name}/bias"][:] = 0
    with torch.inference_mode():
        found = TorchGraph(graph, weights).eval()({"image": to_nchw(image)})
    for layer in last:
        if layer.attributes.shares is None:
            output = "predictor/logits" if "/class/" in layer.name else "predictor/boxes"
            weights[f"{layer.name}/kernel"] /= np.float32(found[output].std())
            weights[f"{layer.name}/bias"][:] = -1 if "/class/" in layer.name else 0
    return weights


def digits(folder: Path, train: int = 4, validation: int = 3) -> tuple[CocoSplit, CocoSplit]:
    """Parts ``train`` and ``val``."""
    settings = DigitsSettings(train=train, validation=validation, size=SIZE, most=2, smallest=0.3)
    data = write_digits(folder / "digits", settings)
    return read_coco(data, "train"), read_coco(data, "val")
