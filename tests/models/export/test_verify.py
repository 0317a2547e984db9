"""Differences are reported as large as they are, and a file that is not good enough has faults."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mnasfpn.errors import JobFailed
from mnasfpn.models.evaluation.predictors import detector_predictor
from mnasfpn.models.export.export import Shipment, tflite_files
from mnasfpn.models.export.judged_images import HeldOut, sample_photographs
from mnasfpn.models.export.metadata import with_labels
from mnasfpn.models.export.verify import TOLERANCES, Comparison, Precisions, compare
from mnasfpn.models.graph.weights import random_weights
from mnasfpn.models.tflite.model_object import pack, unpack
from mnasfpn.tests.models.export.small_detector import DETECTOR, LABELS, SIZE

BIAS = "predictor/{}/level3/pointwise/bias"
GOOD = Comparison(4, 1.0, 1.0, 0.0, 0.0, 10, 0.0, 0, Precisions(0.5, 0.5, 0.5, 0.6, 0.6))


@pytest.fixture(scope="module")
def network(weights):
    return detector_predictor(DETECTOR, weights)


def shipped(weights, form="raw"):
    return tflite_files(Shipment(DETECTOR, weights, LABELS, form=form))


@pytest.mark.parametrize("form", ["raw", "nms"])
def test_float32_equals_the_trained_network(form, network, weights, held_out):
    raw, content = shipped(weights, form)
    found = compare(network, raw, content, form, held_out)
    assert found.images == len(held_out)
    assert found.code_spread > 0.5
    assert found.score_spread > 0.5
    assert found.max_score_difference < TOLERANCES["float32"].scores
    assert found.confident_boxes > 100
    assert found.max_box_difference < TOLERANCES["float32"].boxes
    assert found.suppressed_otherwise == 0
    assert found.average_precision.after == pytest.approx(found.average_precision.before)
    assert found.faults("float32", 0.0) == ()


@pytest.mark.parametrize(
    ("kind", "codes", "fault"), [("box", 0.5, "corners of boxes"), ("class", 0, "scores")]
)
def test_another_network_is_told_by_how_much_it_differs(
    kind, codes, fault, network, weights, held_out
):
    key = BIAS.format(kind)
    other = {**weights, key: weights[key] + np.float32(0.5)}
    found = compare(network, *shipped(other), "raw", held_out)
    assert found.max_code_difference == pytest.approx(codes, abs=1e-3)
    (said,) = found.faults("float32", 1.0)
    assert said.startswith(f"{fault} differ by")
    assert "float32 allows 0.0001" in said


def test_anchors_of_another_grid_are_noticed(network, weights, held_out):
    """Inside the file: its detections are not those that its raw outputs give."""
    raw, content = shipped(weights, "nms")
    model = unpack(content)
    (graph,) = model.subgraphs
    anchors = graph.tensors[graph.operators[-1].inputs[2]]
    buffer = model.buffers[anchors.buffer]
    moved = np.asarray(buffer.data, np.uint8).view(np.float32) + np.float32(0.01)
    buffer.data = moved.view(np.uint8)
    altered = with_labels(pack(model), LABELS)
    found = compare(network, raw, altered, "nms", held_out)
    assert found.suppressed_otherwise > 10
    assert any("its own suppression" in fault for fault in found.faults("float32", 1.0))


def test_weights_that_nobody_trained_prove_nothing(held_out):
    """Scores of weights as published differ by 1e-8: any file would pass."""
    untrained = random_weights(DETECTOR.graph(), 0)
    network = detector_predictor(DETECTOR, untrained)
    with pytest.raises(JobFailed, match="nearly the same everywhere"):
        compare(network, *shipped(untrained), "raw", held_out)


def test_without_truth_there_is_no_average_precision(network, weights):
    photographs = HeldOut(SIZE, photographs=sample_photographs(SIZE, 2))
    found = compare(network, *shipped(weights), "raw", photographs)
    assert (found.images, found.average_precision) == (2, None)
    assert found.faults("float32", 0.0) == ()


def test_each_precision_has_its_own_tolerances():
    limits = list(TOLERANCES.values())
    assert [each.scores for each in limits] == sorted(each.scores for each in limits)
    worse = replace(GOOD, max_score_difference=0.005, max_box_difference=0.001)
    assert len(worse.faults("float32", 0.0)) == 2
    assert worse.faults("float16", 0.0) == ()
    assert replace(GOOD, max_score_difference=float("nan")).faults("int8", 0.0) != ()


def test_average_precision_may_fall_so_far():
    worse = replace(GOOD, average_precision=Precisions(0.5, 0.5, 0.45, 0.6, 0.6))
    assert worse.faults("int8", 0.06) == ()
    (fault,) = worse.faults("int8", 0.04)
    assert "falls from 0.5000 to 0.4500, by more than 0.04" in fault
    assert replace(GOOD, average_precision=None).faults("int8", 0.0) == ()


@pytest.mark.parametrize("size", [64, 320, 512])
def test_photographs_of_any_size_are_real_pixels(size):
    images = sample_photographs(size, 2, seed=0)
    assert images.shape == (2, size, size, 3)
    assert images.dtype == np.float32
    assert images.min() >= -1
    assert images.max() <= 1
    assert images.std() > 0.1
    assert np.array_equal(images, sample_photographs(size, 2, seed=0))
