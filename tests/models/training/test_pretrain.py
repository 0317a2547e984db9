from __future__ import annotations

import numpy as np
import pytest

from mnasfpn.errors import InvalidInput
from mnasfpn.models.data.coco import read_coco
from mnasfpn.models.data.digits import DigitsSettings, write_digits
from mnasfpn.models.detector import Backbone, Detector
from mnasfpn.models.genotype import Genotype
from mnasfpn.models.heads.predictor import SharedPredictor
from mnasfpn.models.published import MNASFPN_BLOCKS
from mnasfpn.models.training.pretrain import PretrainSettings, object_crops, pretrain

pytest.importorskip("torch")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    settings = DigitsSettings(train=6, validation=3, size=64, most=2, smallest=0.3)
    return read_coco(
        write_digits(tmp_path_factory.mktemp("pretrain") / "digits", settings), "train"
    )


def test_crops_show_their_objects(data):
    crops, labels = object_crops(data, 32, 2, seed=0)
    assert crops.shape == (2 * sum(len(e.boxes) for e in data.examples), 32, 32, 3)
    expected = np.repeat(np.concatenate([e.labels for e in data.examples]), 2)
    np.testing.assert_array_equal(labels, expected)
    assert (crops.reshape(len(crops), -1).std(axis=1) > 5).all()


@pytest.mark.slow
def test_a_backbone_learns_to_tell_objects_apart(data):
    cell = Genotype(16, 1, MNASFPN_BLOCKS)
    graph = Detector(Backbone("mobilenet_v2", 0.35), cell, SharedPredictor(16), 10, 64).graph()
    read = {name for layer in graph if layer.part != "backbone" for name in layer.inputs}
    backbone = graph.prune(
        [layer.name for layer in graph if layer.part == "backbone" and layer.name in read]
    )
    shares = []
    pretrain(
        backbone,
        data,
        PretrainSettings(steps=60, batch_size=16, crop=32, variants=1),
        seed=0,
        progress=lambda done, total, right: shares.append(right),
    )
    assert len(shares) == 60
    assert np.mean(shares[-5:]) > 0.8


def test_impossible_settings_are_refused():
    with pytest.raises(InvalidInput, match="pre-training"):
        PretrainSettings(steps=-1)
