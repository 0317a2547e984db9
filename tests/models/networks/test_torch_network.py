"""The PyTorch network gives what the TensorFlow Lite file of the same Graph gives."""

from __future__ import annotations

import numpy as np
import pytest

from mnasfpn.errors import InvalidGraph, InvalidInput
from mnasfpn.models.detector import Backbone, Detector
from mnasfpn.models.genotype import Block, Genotype
from mnasfpn.models.graph.builder import GraphBuilder
from mnasfpn.models.graph.parts import features_read
from mnasfpn.models.graph.weights import random_weights
from mnasfpn.models.heads.predictor import SharedPredictor
from mnasfpn.models.networks.torch_network import TorchGraph, folded_norms
from mnasfpn.models.tflite.writer import write_tflite

GENOTYPE = Genotype(
    channels=16,
    repeats=2,
    blocks=(
        Block((0, 3), 4, expansion=32, merge="se"),  # finer and coarser than the block
        Block((0, 1, 4), 3, expansion=16, kernel=5),
        Block((5, 2), 4, expansion=32),
        Block((0, 3), 5, expansion=32, kernel=7),
        Block((4, 3), 6, expansion=16),
    ),
)
DETECTOR = Detector(
    Backbone("mobilenet_v2", 0.35), GENOTYPE, SharedPredictor(depth=16), classes=3, input_size=64
)


def tflite_outputs(graph, weights, image):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=write_tflite(graph, weights))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    return [
        interpreter.get_tensor(details["index"]) for details in interpreter.get_output_details()
    ]


def test_detector_equals_the_written_file():
    import torch

    graph = DETECTOR.graph()
    weights = random_weights(graph, seed=3, random_norm=True)
    image = np.random.default_rng(0).uniform(-1, 1, (1, 64, 64, 3)).astype(np.float32)
    network = TorchGraph(graph, weights).eval()
    with torch.no_grad():
        outputs = network({"image": torch.from_numpy(image.transpose(0, 3, 1, 2))})
    boxes, scores = tflite_outputs(graph, weights, image)
    np.testing.assert_allclose(outputs["predictor/boxes"], boxes, atol=1e-4)
    np.testing.assert_allclose(outputs["predictor/scores"], scores, atol=1e-4)


def test_weights_come_back_as_they_went_in():
    graph = DETECTOR.graph()
    weights = random_weights(graph, seed=3, random_norm=True)
    returned = TorchGraph(graph, weights).weights()
    assert returned.keys() == weights.keys()
    for key, value in weights.items():
        np.testing.assert_array_equal(returned[key], value)


def test_a_batch_is_computed_image_by_image():
    import torch

    graph = DETECTOR.graph()
    network = TorchGraph(graph, random_weights(graph, seed=1)).eval()
    images = torch.from_numpy(
        np.random.default_rng(0).uniform(-1, 1, (2, 3, 64, 64)).astype(np.float32)
    )
    with torch.no_grad():
        both = network({"image": images})["predictor/boxes"]
        second = network({"image": images[1:]})["predictor/boxes"]
    torch.testing.assert_close(both[1:], second, atol=1e-5, rtol=1e-4)


def test_training_moves_batch_norm_towards_the_batch():
    import torch

    builder = GraphBuilder()
    image = builder.input("image", (1, 2, 2, 1))
    from mnasfpn.models.graph.attributes import BatchNorm

    graph = builder.graph([builder.conv("conv", image, 1, norm=BatchNorm(1e-3, 0.9))])
    weights = random_weights(graph, seed=0)
    weights["conv/kernel"][:] = 1
    network = TorchGraph(graph, weights)
    network.train()({"image": torch.full((1, 1, 2, 2), 5.0)})
    assert network.weights()["conv/mean"][0] == pytest.approx(0.1 * 5)


def test_folded_norms_keep_the_features_of_a_trained_backbone():
    """In training mode, too; norms that are trained would renormalise them by the batch."""
    import torch

    graph = DETECTOR.graph()
    trained = random_weights(graph, seed=3, random_norm=True)
    folded = dict(trained)
    for layer in graph:
        norm = layer.attributes.norm
        if norm is None or layer.part != "backbone":
            continue
        gamma, beta, mean, variance = (
            trained[f"{layer.name}/{part}"] for part in ("gamma", "beta", "mean", "variance")
        )
        scale = gamma / np.sqrt(variance + norm.epsilon)
        kernel = trained[f"{layer.name}/kernel"]
        by = scale[:, None] if layer.op == "depthwise_conv" else scale
        folded[f"{layer.name}/kernel"] = kernel * by
        folded[f"{layer.name}/beta"] = beta - mean * scale
        folded[f"{layer.name}/gamma"] = np.ones_like(gamma)
        folded[f"{layer.name}/mean"] = np.zeros_like(mean)
        folded[f"{layer.name}/variance"] = np.full_like(variance, 1 - norm.epsilon)
    part = graph.prune(features_read(graph))
    images = torch.from_numpy(
        np.random.default_rng(0).uniform(-1, 1, (4, 3, 64, 64)).astype(np.float32)
    )
    found = folded_norms(part, folded)
    assert len(found) == sum(layer.attributes.norm is not None for layer in part)
    assert folded_norms(part, trained) == folded_norms(part, random_weights(part, 0)) == set()
    with torch.no_grad():
        wanted = TorchGraph(part, trained).eval()({"image": images})
        kept = TorchGraph(part, folded, found).train()({"image": images})
        lost = TorchGraph(part, folded).train()({"image": images})
    for name, value in wanted.items():
        torch.testing.assert_close(kept[name], value, atol=1e-3, rtol=1e-3)
        assert not torch.allclose(lost[name], value, atol=0.1)


def test_an_operator_without_training_is_refused_by_name():
    builder = GraphBuilder()
    image = builder.input("image", (1, 4, 4, 2))
    graph = builder.graph([builder.unary("soft", "softmax", image)])
    with pytest.raises(InvalidGraph, match=r"'soft'.*softmax.*Keras"):
        TorchGraph(graph, {})


def test_missing_weights_are_named():
    with pytest.raises(InvalidInput, match="missing"):
        TorchGraph(DETECTOR.graph(), {})
