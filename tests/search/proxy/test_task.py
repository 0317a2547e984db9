from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mnasfpn.errors import InvalidInput
from mnasfpn.models.data.coco import read_coco
from mnasfpn.models.data.digits import DigitsSettings, write_digits
from mnasfpn.models.data.images import load_image, normalise
from mnasfpn.models.detector import Backbone
from mnasfpn.models.genotype import Block, Genotype
from mnasfpn.models.graph.weights import check_weights, random_weights
from mnasfpn.models.heads.predictor import SharedPredictor
from mnasfpn.models.networks.torch_network import TorchGraph, to_nchw
from mnasfpn.models.published import MNASFPN_BLOCKS
from mnasfpn.models.training.pretrain import PretrainSettings, object_crops, pretrain
from mnasfpn.search.proxy.task import (
    ProxySettings,
    balanced_weights,
    prepare_proxy,
    without_backbone,
)

SETTINGS = ProxySettings(
    input_size=64,
    predictor=SharedPredictor(depth=16),
    steps=4,
    batch_size=2,
    pretrain=PretrainSettings(steps=3, batch_size=4, crop=32, variants=1),
)
GENOTYPE = Genotype(16, 3, tuple(replace(block, expansion=16) for block in MNASFPN_BLOCKS))
WITHOUT_C3 = replace(
    GENOTYPE,
    channels=24,  # unlike C3, which the cell residual would add otherwise
    blocks=(Block((1, 2), 3), Block((1, 4), 4), Block((2, 3), 5), Block((2, 3), 6)),
    repeats=1,
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    settings = DigitsSettings(train=6, validation=3, size=64, most=2, smallest=0.3)
    return write_digits(tmp_path_factory.mktemp("proxy") / "digits", settings)


@pytest.fixture(scope="module")
def task(dataset, tmp_path_factory):
    return prepare_proxy(dataset, tmp_path_factory.mktemp("task") / "proxy", SETTINGS)


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
        whole = TorchGraph(graph, result.weights)({"image": to_nchw(images)})
        parts = TorchGraph(head, result.weights)(features)
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


def test_a_prepared_task_is_opened_not_made_again(task, dataset):
    def fail(what, done, total):
        pytest.fail(f"{what} must not run again")

    again = prepare_proxy(dataset, task.folder, SETTINGS, progress=fail)
    assert again.train_and_score(GENOTYPE, 5).losses == task.train_and_score(GENOTYPE, 5).losses


def test_a_task_of_other_settings_or_data_is_refused(task, dataset, tmp_path):
    with pytest.raises(InvalidInput, match="other settings"):
        prepare_proxy(dataset, task.folder, replace(SETTINGS, steps=5))
    other = write_digits(
        tmp_path / "other", DigitsSettings(train=6, validation=3, size=64, smallest=0.3, seed=9)
    )
    with pytest.raises(InvalidInput, match="other data"):
        prepare_proxy(other, task.folder, SETTINGS)


def test_a_folder_of_something_else_is_refused(dataset, tmp_path):
    (tmp_path / "proxy").mkdir()
    with pytest.raises(InvalidInput, match="not a prepared proxy task"):
        prepare_proxy(dataset, tmp_path / "proxy", SETTINGS)


def test_an_interrupt_leaves_nothing_behind(dataset, tmp_path):
    def stop(what, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_proxy(dataset, tmp_path / "proxy", SETTINGS, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_balanced_weights_keep_a_signal_alive(task):
    graph = without_backbone(task.detector(GENOTYPE).graph())
    weights, drawn = balanced_weights(graph, 3), random_weights(graph, 3)
    depthwise = weights["predictor/shared_tower0/level3/depthwise/kernel"]
    assert depthwise.std() == pytest.approx(np.sqrt(2 / 9), rel=1e-5)
    pointwise = weights["predictor/shared_tower0/level3/pointwise/kernel"]
    assert pointwise.std() == pytest.approx(np.sqrt(2 / 16), rel=1e-5)
    last = "predictor/class/level3/pointwise/kernel"
    np.testing.assert_array_equal(weights[last], drawn[last])


def test_crops_show_their_objects(dataset):
    data = read_coco(dataset, "train")
    crops, labels = object_crops(data, 32, 2, seed=0)
    assert crops.shape == (2 * sum(len(e.boxes) for e in data.examples), 32, 32, 3)
    expected = np.repeat(np.concatenate([e.labels for e in data.examples]), 2)
    np.testing.assert_array_equal(labels, expected)
    assert (crops.reshape(len(crops), -1).std(axis=1) > 5).all()


@pytest.mark.slow
def test_a_backbone_learns_to_tell_objects_apart(task, dataset):
    graph = task.detector(GENOTYPE).graph()
    backbone = graph.prune([layer.name for layer in without_backbone(graph).inputs])
    shares = []
    pretrain(
        backbone,
        read_coco(dataset, "train"),
        PretrainSettings(steps=60, batch_size=16, crop=32, variants=1),
        seed=0,
        progress=lambda done, total, right: shares.append(right),
    )
    assert len(shares) == 60
    assert np.mean(shares[-5:]) > 0.8


@pytest.mark.slow
def test_a_candidate_learns(task, dataset, tmp_path):
    settings = replace(SETTINGS, steps=40, batch_size=6)
    longer = prepare_proxy(dataset, tmp_path / "longer", settings)
    losses = longer.train_and_score(GENOTYPE).losses
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])


def test_impossible_settings_are_refused():
    with pytest.raises(InvalidInput, match="at least 1 step"):
        replace(SETTINGS, steps=0)
    with pytest.raises(InvalidInput, match="pre-training"):
        PretrainSettings(steps=-1)
