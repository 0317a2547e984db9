from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mnasfpn.models.data.coco import read_coco
from mnasfpn.models.data.images import load_image, normalise
from mnasfpn.models.detector import Backbone
from mnasfpn.models.genotype import Block
from mnasfpn.models.graph.parts import without_backbone
from mnasfpn.models.graph.weights import balanced_weights, check_weights, random_weights
from mnasfpn.models.networks.torch_network import TorchGraph, to_nchw
from mnasfpn.search.proxy.preparation import prepare_proxy
from mnasfpn.tests.search.proxy.tiny_proxy import GENOTYPE, SETTINGS

WITHOUT_C3 = replace(
    GENOTYPE,
    channels=24,  # unlike C3, which the cell residual would add otherwise
    blocks=(Block((1, 2), 3), Block((1, 4), 4), Block((2, 3), 5), Block((2, 3), 6)),
    repeats=1,
)


def test_the_same_seed_gives_the_same_result_and_another_one_another(task):
    first, again = task.train_and_score(GENOTYPE, 1), task.train_and_score(GENOTYPE, 1)
    assert (first.losses, first.map) == (again.losses, again.map)
    for key, value in first.weights.items():
        np.testing.assert_array_equal(again.weights[key], value)
    assert task.train_and_score(GENOTYPE, 2).losses != first.losses
    assert len(first.losses) == 4
    assert first.seconds > 0


def test_the_result_is_a_whole_detector_and_its_weights(task, dataset):
    """Head on stored features, and the detector on the images, give the same predictions."""
    import torch

    result = task.train_and_score(GENOTYPE)
    assert result.detector.head.repeats == 1  # the task's, not the genotype's
    assert result.detector.backbone == Backbone("mobilenet_v2", 0.35)
    graph = result.detector.graph()
    check_weights(graph, result.weights)
    data = read_coco(dataset, "val")
    images = np.stack([normalise(load_image(example, 64)) for example in data.examples])
    head = without_backbone(graph)
    features = {
        layer.name: task._validate.maps[layer.name].permute(0, 3, 1, 2) for layer in head.inputs
    }
    with torch.no_grad():
        whole = TorchGraph(graph, result.weights).eval()({"image": to_nchw(images)})
        parts = TorchGraph(head, result.weights).eval()(features)
    torch.testing.assert_close(
        parts["predictor/scores"], whole["predictor/scores"], atol=1e-5, rtol=1e-4
    )
    torch.testing.assert_close(
        parts["predictor/boxes"], whole["predictor/boxes"], atol=1e-4, rtol=1e-3
    )


def test_a_head_that_leaves_a_level_out_is_trained_on_the_others(task):
    graph = without_backbone(task.detector(WITHOUT_C3).graph())
    assert len(graph.inputs) == 2
    assert len(task.train_and_score(WITHOUT_C3).losses) == 4


def test_the_backbone_is_not_in_a_heads_graph(task):
    graph = task.detector(GENOTYPE).graph()
    head = without_backbone(graph)
    assert {layer.part for layer in head if layer.op != "input"} == {"head", "predictor"}
    assert [layer.shape[1] for layer in head.inputs] == [8, 4, 2]
    assert head.outputs == graph.outputs
    whole = sum(layer.madds for layer in graph if layer.part != "backbone")
    assert sum(layer.madds for layer in head) == whole


def test_repeats_may_be_the_genotypes_own(task, dataset, tmp_path):
    own = prepare_proxy(dataset, tmp_path / "own", replace(SETTINGS, repeats=None))
    assert own.detector(GENOTYPE).head.repeats == 3


def test_balanced_weights_keep_a_signal_alive(task):
    graph = without_backbone(task.detector(GENOTYPE).graph())
    weights, drawn = balanced_weights(graph, 3), random_weights(graph, 3)
    depthwise = weights["predictor/shared_tower0/level3/depthwise/kernel"]
    assert depthwise.std() == pytest.approx(np.sqrt(2 / 9), rel=1e-5)
    pointwise = weights["predictor/shared_tower0/level3/pointwise/kernel"]
    assert pointwise.std() == pytest.approx(np.sqrt(2 / 16), rel=1e-5)
    last = "predictor/class/level3/pointwise/kernel"
    np.testing.assert_array_equal(weights[last], drawn[last])


@pytest.mark.slow
def test_a_candidate_learns(task, dataset, tmp_path):
    settings = replace(SETTINGS, steps=40, batch_size=6)
    longer = prepare_proxy(dataset, tmp_path / "longer", settings)
    losses = longer.train_and_score(GENOTYPE).losses
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])
