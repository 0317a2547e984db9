"""A detector's network in PyTorch as a predictor: what a training and its validation use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..arrays import Floats
from ..detector import Detector
from ..graph.weights import Weights
from .predictors import Predictor

if TYPE_CHECKING:
    import torch


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
