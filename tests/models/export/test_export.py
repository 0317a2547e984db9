"""An export is three files, whole and together; a file that is not good enough is not written."""

from __future__ import annotations

import hashlib
import json

import msgspec
import numpy as np
import pytest

from mnasfpn.errors import InvalidInput, JobFailed
from mnasfpn.models.detection.anchors import anchors_for
from mnasfpn.models.evaluation.predictors import finder_of, tflite_predictor
from mnasfpn.models.export import export as export_module
from mnasfpn.models.export.convert import OUTPUTS, convert, name_outputs, raw_model
from mnasfpn.models.export.description import Description, Latency, TrainingData
from mnasfpn.models.export.export import ExportReport, Shipment, export
from mnasfpn.models.export.file_facts import list_operators
from mnasfpn.models.export.judged_images import HeldOut, calibration_images, drawn
from mnasfpn.models.export.metadata import read_metadata
from mnasfpn.models.export.shipped_graph import shipped_graph, shipped_weights
from mnasfpn.models.tflite.model_object import pack, unpack
from mnasfpn.models.tflite.reader import read_tflite
from mnasfpn.models.tflite.schema import DETECTION_NAME
from mnasfpn.models.tflite.writer import write_tflite
from mnasfpn.tests.models.export.small_detector import BOXES, DETECTOR, LABELS, SIZE

LATENCY = Latency("phone", 5.0, 4.0, 6.0)


def written(path, kind):
    return msgspec.json.decode(path.read_bytes(), type=kind)


@pytest.mark.parametrize("form", ["raw", "nms"])
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_three_files_that_say_the_same(precision, form, weights, held_out, tmp_path):
    training = TrainingData("digits", 4, 0, "abc", 0.5)
    shipment = Shipment(DETECTOR, weights, LABELS, precision, form, training)
    path = tmp_path / "out" / "model.tflite"
    report = export(shipment, path, held_out, predict=lambda graph: LATENCY)
    content = path.read_bytes()
    assert {each.name for each in path.parent.iterdir()} == {
        *("model.tflite", "model.json", "model.report.json"),
    }
    assert written(path.with_suffix(".report.json"), ExportReport) == report
    assert report.size_bytes == len(content)
    assert report.custom_operators == ((DETECTION_NAME,) if form == "nms" else ())
    assert report.faults == ()
    assert report.partitions > 1  # up-sampling is not the delegate's
    assert (len(report.noisiest) > 0) == (precision == "float16")
    about = written(path.with_suffix(".json"), Description)
    assert about.sha256 == hashlib.sha256(content).hexdigest()
    assert (about.form, about.precision, about.classes) == (form, precision, LABELS)
    assert (about.training, about.latency) == (training, LATENCY)
    np.testing.assert_array_equal(np.float32(about.anchors), anchors_for(SIZE, BOXES))
    model = unpack(content)
    (graph,) = model.subgraphs
    assert [(each.name, list(each.shape)) for each in about.outputs] == [
        (graph.tensors[i].name.decode(), graph.tensors[i].shape.tolist()) for i in graph.outputs
    ]
    assert finder_of(path).classes == len(LABELS)
    assert len(json.loads(path.with_suffix(".json").read_text())["anchors"]) == BOXES


def test_what_is_measured_is_what_ships(weights):
    """The file that is timed and the one that ships have the same operators on the same numbers."""
    graph = shipped_graph(DETECTOR)
    timed = write_tflite(graph, shipped_weights(DETECTOR, weights))
    ships = pack(raw_model(DETECTOR, weights))
    assert list_operators(timed) == list_operators(ships)
    found, expected = (
        [(layer.op, layer.shape, layer.weights) for layer in read_tflite(content)]
        for content in (ships, timed)
    )
    assert found == expected
    image = np.full((1, SIZE, SIZE, 3), 0.5, np.float32)
    (codes, scores), (timed_codes, timed_scores) = (
        tflite_predictor(content).predict(image) for content in (ships, timed)
    )
    np.testing.assert_array_equal(codes, timed_codes)
    np.testing.assert_array_equal(scores, timed_scores)


def test_float16_halves_the_weights_alone(weights, held_out):
    whole, half = (pack(raw_model(DETECTOR, weights, p)) for p in ("float32", "float16"))
    assert len(half) < 0.7 * len(whole)
    operators, halved = (list_operators(content)[0] for content in (whole, half))
    assert halved.pop("DEQUANTIZE") > 50
    assert halved == operators
    for image in held_out:
        (codes, scores), (half_codes, half_scores) = (
            tflite_predictor(content).predict(image) for content in (whole, half)
        )
        assert 0 < np.abs(codes - half_codes).max() < 0.05
        assert 0 < np.abs(scores - half_scores).max() < 0.01


def test_weights_that_float16_does_not_hold(weights):
    key = "predictor/box/level3/pointwise/bias"
    large = {**weights, key: weights[key] + np.float32(1e5)}
    with pytest.raises(JobFailed, match=r"box/level3/pointwise/bias holds 1e\+05, and float16"):
        raw_model(DETECTOR, large, "float16")


@pytest.mark.slow
@pytest.mark.parametrize("form", ["raw", "nms"])
@pytest.mark.parametrize("precision", ["dynamic", "int8"])
def test_integers_have_the_same_forms(precision, form, weights, held_out, calibration, tmp_path):
    path = tmp_path / "model.tflite"
    shipment = Shipment(DETECTOR, weights, LABELS, precision, form)
    report = export(shipment, path, held_out, calibration, max_ap_drop=1.0)
    assert path.stat().st_size < 0.6 * len(write_tflite(shipped_graph(DETECTOR)))
    assert report.comparison.max_score_difference > 0
    assert report.noisiest[0].snr_db <= report.noisiest[-1].snr_db < 60
    assert read_metadata(path.read_bytes()) is not None
    boxes, scores = report.quantisation
    if precision == "int8":
        assert scores.scale == pytest.approx(1 / 256)
        assert boxes.scale not in (0, scores.scale)  # they never share one
        assert {"int8"} <= {layer.dtype for layer in read_tflite(path)} or form == "nms"
    else:
        assert (boxes.scale, scores.scale) == (0, 0)


def test_a_file_that_is_not_good_enough_is_not_written(weights, held_out, tmp_path, monkeypatch):
    """The network is changed between training and file: a bug of ours that nobody may ship."""
    path = tmp_path / "model.tflite"
    export(Shipment(DETECTOR, weights, LABELS), path, held_out)
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    key = "predictor/box/level3/pointwise/bias"
    wrong = {**weights, key: weights[key] + np.float32(0.5)}
    honest = export_module.raw_model
    monkeypatch.setattr(
        export_module, "raw_model", lambda detector, _, *rest: honest(detector, wrong, *rest)
    )
    with pytest.raises(JobFailed, match="corners of boxes differ by") as refused:
        export(Shipment(DETECTOR, weights, LABELS), path, held_out)
    said = written(tmp_path / "model.refused.json", ExportReport)
    assert said.faults[0] in str(refused.value)
    assert "model.refused.json" in str(refused.value)
    after = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    del after["model.refused.json"]
    assert after == before
    monkeypatch.undo()
    export(Shipment(DETECTOR, weights, LABELS), path, held_out)  # and what was said is gone
    assert {each.name for each in tmp_path.iterdir()} == set(before)


def test_nothing_is_half_written(weights, held_out, tmp_path, monkeypatch):
    """A disk that is full after the first file."""
    calls = []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InvalidInput, match="No space left on device"):
        export(Shipment(DETECTOR, weights, LABELS), tmp_path / "model.tflite", held_out)
    assert list(tmp_path.iterdir()) == []


def test_bad_names_and_precisions_are_refused(weights, held_out, tmp_path):
    shipment = Shipment(DETECTOR, weights, LABELS)
    with pytest.raises(InvalidInput, match=r"\.tflite"):
        export(shipment, tmp_path / "model.bin", held_out)
    empty = HeldOut(SIZE, photographs=np.zeros((0, SIZE, SIZE, 3), np.float32))
    with pytest.raises(InvalidInput, match="got none"):
        export(shipment, tmp_path / "model.tflite", empty)
    with pytest.raises(InvalidInput, match="float32, float16, dynamic, int8"):
        raw_model(DETECTOR, weights, "int4")
    with pytest.raises(InvalidInput, match=r"real images .* got none"):
        raw_model(DETECTOR, weights, "int8")
    with pytest.raises(InvalidInput, match=r"shape \(2, 32, 32, 3\)"):
        raw_model(DETECTOR, weights, "int8", np.zeros((2, 32, 32, 3), np.float32))
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidInput, match="cannot be made a folder"):
        export(shipment, tmp_path / "file" / "model.tflite", held_out)


def test_outputs_come_out_in_order_whatever_the_converter_did(weights):
    model = raw_model(DETECTOR, weights)
    straight = pack(model)
    name_outputs(model, ("scores", "boxes"))  # as if it had left the scores first
    (graph,) = model.subgraphs
    names = [graph.tensors[index].name for index in graph.outputs]
    assert names == ["boxes", "scores"]
    assert graph.tensors[graph.outputs[0]].shape.tolist() == [1, BOXES, 10]  # what was second
    name_outputs(model, ("scores", "boxes"))
    assert pack(model) == straight


def test_a_model_with_other_outputs_is_refused():
    model = unpack(write_tflite(DETECTOR.graph().prune(["predictor/boxes"])))
    with pytest.raises(JobFailed, match="1 inputs and 1 outputs"):
        name_outputs(model, OUTPUTS)


def test_the_signature_names_what_positions_hold(weights):
    from ai_edge_litert.interpreter import Interpreter

    content = pack(raw_model(DETECTOR, weights))
    interpreter = Interpreter(model_content=content)
    assert interpreter.get_signature_list() == {
        "serving_default": {"inputs": ["image"], "outputs": ["boxes", "scores"]}
    }
    image = np.full((1, SIZE, SIZE, 3), 0.5, np.float32)
    named = interpreter.get_signature_runner()(image=image)
    interpreter.allocate_tensors()
    codes, scores = tflite_predictor(content).predict(image)
    np.testing.assert_array_equal(named["boxes"], codes)
    np.testing.assert_array_equal(named["scores"], scores)


def test_operators_are_counted():
    from mnasfpn.models.graph.builder import GraphBuilder

    builder = GraphBuilder()
    image = builder.input("image", (1, 8, 8, 4))
    x = builder.conv("first", image, 4)
    x = builder.conv("second", x, 4)
    content = write_tflite(builder.graph([builder.max_pool("pool", x, 2, 2)]))
    assert list_operators(content) == ({"CONV_2D": 2, "MAX_POOL_2D": 1}, ())


def test_images_are_drawn_without_repetition(splits):
    train, _ = splits
    ids = [example.image_id for example in drawn(train, 3, seed=1).examples]
    assert len(set(ids)) == 3
    assert len(drawn(train, 100)) == len(train)
    images = calibration_images(train, SIZE, 2)
    assert images.shape == (2, SIZE, SIZE, 3)
    assert -1 <= images.min() < images.max() <= 1


@pytest.mark.slow
def test_the_converter_is_a_witness(weights, held_out):
    """TensorFlow's conversion of the same network: the same operators, the same outputs."""
    graph, kept = shipped_graph(DETECTOR), shipped_weights(DETECTOR, weights)
    ours, theirs = write_tflite(graph, kept), convert(graph, kept)
    found, expected = (list_operators(content)[0] for content in (ours, theirs))
    # One pixel at level 6: see models/networks/keras_network.py.
    for operators in (found, expected):
        operators.pop("RESHAPE")
        operators.pop("ADD")
    assert found == expected
    for image in held_out:
        (codes, scores), (their_codes, their_scores) = (
            tflite_predictor(content).predict(image) for content in (ours, theirs)
        )
        assert min(codes.std(), scores.std()) > 0.05
        np.testing.assert_allclose(codes, their_codes, atol=1e-4)
        np.testing.assert_allclose(scores, their_scores, atol=1e-5)
