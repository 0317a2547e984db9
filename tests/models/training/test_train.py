"""Training with Keras: the loss falls, few images are learnt by heart, and a stop loses nothing."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from mnasfpn.errors import InvalidInput, JobFailed
from mnasfpn.models.data.augmentation import NO_AUGMENTATION
from mnasfpn.models.data.coco import read_coco
from mnasfpn.models.data.digits import DigitsSettings, write_digits
from mnasfpn.models.detector import Backbone, Detector
from mnasfpn.models.genotype import Block, Genotype
from mnasfpn.models.graph.weights import random_weights
from mnasfpn.models.heads.predictor import SharedPredictor
from mnasfpn.models.training.recipes import Recipe
from mnasfpn.models.training.run_folder import load_run, load_weights
from mnasfpn.models.training.train import train, training_graph, warm_start

BLOCKS = (
    Block((1, 2), 3, expansion=16),
    Block((1, 4), 4, expansion=16),
    Block((2, 3), 5, expansion=16),
    Block((2, 3), 6, expansion=16),
)
DETECTOR = Detector(
    Backbone("mobilenet_v2", 0.35),
    Genotype(16, 1, BLOCKS),
    SharedPredictor(depth=16),
    classes=10,
    input_size=64,
)
RECIPE = Recipe(
    "test",
    source="this test",
    batch_size=2,
    unit="steps",
    length=4,
    learning_rate=1e-3,
    warmup=2,
    schedule="cosine",
    clip_norm=10.0,
    norm_momentum=0.9,
    optimizer="adam",
    augmentation=NO_AUGMENTATION,
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "digits"
    settings = DigitsSettings(train=6, validation=2, size=64, most=2, smallest=0.3)
    return read_coco(write_digits(folder, settings), "train")


@pytest.mark.slow
@pytest.mark.usefixtures("uncompiled")
def test_a_training_stopped_and_resumed_equals_one_in_one_go(data, tmp_path):
    whole = train(DETECTOR, data, RECIPE, tmp_path / "whole", seed=4)

    def stop(loss, total):
        assert total == 4
        if loss.step == 2:
            os.kill(os.getpid(), signal.SIGINT)  # Ctrl-C

    stopped = tmp_path / "stopped"
    with pytest.raises(JobFailed, match="after 2 of 4 steps"):
        train(DETECTOR, data, RECIPE, stopped, seed=4, progress=stop)
    with pytest.raises(InvalidInput, match="not finished"):
        load_run(stopped)
    steps = []
    resumed = train(
        DETECTOR, data, RECIPE, stopped, seed=4, progress=lambda loss, total: steps.append(loss)
    )
    assert [loss.step for loss in steps] == [3, 4]
    assert [loss.step for loss in resumed.history] == [1, 2, 3, 4]
    np.testing.assert_allclose(
        [loss.total for loss in resumed.history],
        [loss.total for loss in whole.history],
        rtol=1e-4,
    )
    for key, value in whole.weights.items():
        np.testing.assert_allclose(resumed.weights[key], value, rtol=1e-3, atol=1e-4)
    assert not (stopped / "checkpoint.npz").exists()
    # a finished training is returned as it is
    again = train(DETECTOR, data, RECIPE, stopped, seed=4, progress=pytest.fail)
    assert again.history == resumed.history
    # and its folder is not given to another one
    with pytest.raises(InvalidInput, match="another recipe, seed"):
        train(DETECTOR, data, RECIPE, stopped, seed=5)
    with pytest.raises(InvalidInput, match="another detector"):
        train(replace(DETECTOR, predictor=SharedPredictor(24)), data, RECIPE, stopped, seed=4)


def test_classes_must_agree(data, tmp_path):
    with pytest.raises(InvalidInput, match="3 classes and the data 10"):
        train(replace(DETECTOR, classes=3), data, RECIPE, tmp_path / "run")


@pytest.mark.slow
@pytest.mark.usefixtures("uncompiled")
def test_a_loss_that_is_no_number_stops_the_training(data, tmp_path):
    wild = replace(RECIPE, optimizer="sgd", learning_rate=1e30, warmup=0, clip_norm=None)
    with pytest.raises(JobFailed, match="lower learning rate"):
        train(DETECTOR, data, wild, tmp_path / "run")


def test_warm_start_takes_what_fits():
    graph = training_graph(DETECTOR)
    other = random_weights(training_graph(replace(DETECTOR, classes=3)), seed=9)
    weights, given = warm_start(graph, 0, other)
    drawn = random_weights(graph, 0)
    assert given == len(weights) - 2  # all but the class convolution's kernel and bias
    conv = "backbone/Conv1/kernel"
    np.testing.assert_array_equal(weights[conv], other[conv])
    last = "predictor/class/level3/pointwise/kernel"
    np.testing.assert_array_equal(weights[last], drawn[last])
    with pytest.raises(InvalidInput, match="none of the 1 initial"):
        warm_start(graph, 0, {"nonsense/kernel": np.zeros(3, np.float32)})


def test_norm_momentum_changes_only_that():
    graph, other = training_graph(DETECTOR), training_graph(DETECTOR, 0.5)
    norms = [layer.attributes.norm for layer in other if layer.attributes.norm]
    assert {norm.momentum for norm in norms} == {0.5}
    assert {norm.epsilon for norm in norms} == {1e-2, 1e-3}
    assert [layer.name for layer in graph] == [layer.name for layer in other]


@pytest.mark.parametrize("damage", [b"", b"not a zip file", None])
def test_damaged_weights_are_refused(tmp_path, damage):
    path = tmp_path / "weights.npz"
    if damage is not None:
        path.write_bytes(damage)
    with pytest.raises(InvalidInput, match=r"no weights file|not a readable \.npz"):
        load_weights(path)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="not a training run"):
        load_run(tmp_path)
    (tmp_path / "run.json").write_bytes(msgspec.json.encode({"schema": "other"}))
    with pytest.raises(InvalidInput, match="not a training run"):
        load_run(tmp_path)
