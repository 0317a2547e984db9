"""A detector of 64 pixels whose outputs differ from anchor to anchor, and images to run it on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from mnasfpn.models.data.coco import CocoSplit, read_coco
from mnasfpn.models.data.digits import DigitsSettings, write_digits
from mnasfpn.models.detector import Backbone, Detector
from mnasfpn.models.export.judged_images import sample_photographs
from mnasfpn.models.genotype import Block, Genotype
from mnasfpn.models.graph.graph import Graph
from mnasfpn.models.graph.weights import Weights, balanced_weights
from mnasfpn.models.heads.predictor import SharedPredictor
from mnasfpn.models.networks.torch_network import TorchGraph, to_nchw

BLOCKS = (
    Block((1, 2), 3, expansion=16),
    Block((1, 4), 4, expansion=16, kernel=5),
    Block((0, 3), 5, expansion=16),
    Block((2, 3), 6, expansion=16),
)
SIZE, CLASSES, BOXES = 64, 10, 765
#: On the variances of batch norm: with 1 a network of random weights is chaotic, and makes of the
#: last bit of a pixel another answer; with 2 all images look alike to it.
CALM = 1.5
DETECTOR = Detector(
    Backbone("mobilenet_v2", 0.35),
    Genotype(16, 1, BLOCKS),
    SharedPredictor(depth=16),
    classes=CLASSES,
    input_size=SIZE,
)
LABELS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def visible_weights(detector: Detector = DETECTOR, seed: int = 0) -> Weights:
    """As after training: batch norm with the statistics of real images, and outputs that differ
    from anchor to anchor by about 1, codes and logits. Weights as published would say the same
    everywhere, and a comparison of files nothing."""
    import torch

    graph = detector.graph().prune(("predictor/boxes", "predictor/logits"))
    weights = balanced_weights(graph, seed)
    images = to_nchw(sample_photographs(detector.input_size, 8, seed))
    network = TorchGraph(_forgetful(graph), weights)
    last = [
        layer.name
        for layer in graph
        if layer.weights and layer.attributes.bias and not layer.attributes.shares
    ]
    with torch.inference_mode():
        network.train()({"image": images})
        weights = network.weights()
        rng = np.random.default_rng(seed)
        for key, value in weights.items():
            if key.endswith("/variance"):
                value *= np.float32(CALM)
            elif key.endswith("/beta"):
                value += rng.normal(0, 0.3, value.shape).astype(np.float32)
        for name in last:
            weights[f"{name}/bias"][:] = 0
        found = TorchGraph(graph, weights).eval()({"image": images})
    for name in last:
        class_scores = "/class/" in name
        spread = found["predictor/logits" if class_scores else "predictor/boxes"].std()
        weights[f"{name}/kernel"] /= np.float32(spread)
        weights[f"{name}/bias"][:] = -1.5 if class_scores else 0
    return weights


def _forgetful(graph: Graph) -> Graph:
    """Whose batch norm keeps the statistics of the last batch alone."""
    return Graph(
        tuple(
            layer
            if layer.attributes.norm is None
            else replace(
                layer,
                attributes=replace(
                    layer.attributes, norm=replace(layer.attributes.norm, momentum=0.0)
                ),
            )
            for layer in graph
        ),
        graph.outputs,
    )


def digits(folder: Path, train: int = 4, validation: int = 3) -> tuple[CocoSplit, CocoSplit]:
    """Parts ``train`` and ``val``."""
    settings = DigitsSettings(train=train, validation=validation, size=SIZE, most=2, smallest=0.3)
    data = write_digits(folder / "digits", settings)
    return read_coco(data, "train"), read_coco(data, "val")
