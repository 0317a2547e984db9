"""Exported files do what Keras does, with outputs in a fixed order; reports tell the truth."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from mnasfpn.errors import InvalidInput, JobFailed
from mnasfpn.models.data.coco import read_coco
from mnasfpn.models.data.digits import DigitsSettings, write_digits
from mnasfpn.models.detector import Backbone, Detector
from mnasfpn.models.evaluation.predictors import tflite_predictor
from mnasfpn.models.export.convert import (
    OUTPUTS,
    convert,
    name_outputs,
    sample_images,
    sample_photographs,
)
from mnasfpn.models.export.export import export
from mnasfpn.models.export.verify import ExportReport, list_operators, verify
from mnasfpn.models.genotype import Block, Genotype
from mnasfpn.models.graph.weights import random_weights
from mnasfpn.models.heads.predictor import SharedPredictor

BLOCKS = (
    Block((1, 2), 3, expansion=16),
    Block((1, 4), 4, expansion=16, kernel=5),
    Block((0, 3), 5, expansion=16),
    Block((2, 3), 6, expansion=16),
)
DETECTOR = Detector(
    Backbone("mobilenet_v2", 0.35),
    Genotype(16, 1, BLOCKS),
    SharedPredictor(depth=16),
    classes=10,
    input_size=64,
)
EXACT = 1e-4


@pytest.fixture(scope="module")
def weights():
    """As after training: batch norm away from the identity, scores away from 0.01."""
    drawn = random_weights(DETECTOR.graph(), seed=0, random_norm=True)
    drawn["predictor/class/level3/pointwise/bias"][:] = -0.5
    return drawn


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "digits"
    settings = DigitsSettings(train=8, validation=1, size=64, most=2, smallest=0.3)
    data = read_coco(write_digits(folder, settings), "train")
    images = sample_images(data, 64, 5)
    assert images.shape == (5, 64, 64, 3)
    assert images.min() >= -1
    assert images.max() <= 1
    return images


@pytest.fixture(scope="module")
def float32(weights):
    return convert(DETECTOR, weights)


@pytest.mark.slow
def test_float32_equals_keras(float32, weights, images):
    report = verify(float32, DETECTOR, weights, images, "float32")
    assert report.max_code_difference < EXACT
    assert report.max_score_difference < EXACT
    assert report.confident_boxes > 0
    assert report.max_box_difference < EXACT
    assert report.images == 5
    assert report.operators["RESIZE_NEAREST_NEIGHBOR"] >= 1
    assert "CONV_2D" in report.operators
    assert not {"QUANTIZE", "DEQUANTIZE"} & set(report.operators)
    assert [each.scale for each in report.quantisation] == [0, 0]


@pytest.mark.slow
def test_a_difference_is_reported_as_large_as_it_is(float32, weights, images):
    other = {**weights}
    bias = "predictor/box/level3/pointwise/bias"
    other[bias] = weights[bias] + np.float32(0.25)
    report = verify(float32, DETECTOR, other, images[:1], "float32")
    assert report.max_code_difference == pytest.approx(0.25, abs=1e-4)
    assert report.max_score_difference < EXACT


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "codes", "scores"), [("float16", 1e-2, 1e-2), ("int8", 1, 0.1)]
)
def test_smaller_files_stay_close(precision, codes, scores, weights, images, float32, tmp_path):
    path = tmp_path / "out" / "model.tflite"
    report = export(DETECTOR, weights, path, images, precision)
    assert path.stat().st_size == report.size_bytes < 0.75 * len(float32)
    assert 0 < report.max_code_difference < codes
    assert 0 < report.max_score_difference < scores
    written = path.with_suffix(".report.json").read_bytes()
    assert msgspec.json.decode(written, type=ExportReport) == report
    if precision == "int8":
        assert report.quantisation[1].output == "scores"
        assert report.quantisation[1].scale == pytest.approx(1 / 256)
        assert report.quantisation[0].scale > 0
        assert report.operators["QUANTIZE"] == 1


@pytest.mark.slow
def test_outputs_come_out_in_order_whatever_the_converter_did(float32):
    from ai_edge_litert.interpreter import Interpreter

    swapped = name_outputs(float32, ("scores", "boxes"))  # as if it had left the scores first
    interpreter = Interpreter(model_content=swapped)
    first, second = interpreter.get_output_details()
    assert [first["name"], second["name"]] == ["boxes", "scores"]
    assert first["shape"].tolist() == [1, 765, 11]  # what was second
    restored = name_outputs(swapped, ("scores", "boxes"))
    predictor, original = tflite_predictor(restored), tflite_predictor(float32)
    assert (predictor.boxes, predictor.slots) == (765, 11)
    image = np.full((1, 64, 64, 3), 0.5, np.float32)
    for found, expected in zip(predictor.predict(image), original.predict(image), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.slow
def test_the_signature_names_what_positions_hold(float32):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=float32)
    assert interpreter.get_signature_list() == {
        "serving_default": {"inputs": ["image"], "outputs": ["boxes", "scores"]}
    }
    image = np.full((1, 64, 64, 3), 0.5, np.float32)
    named = interpreter.get_signature_runner()(image=image)
    codes, scores = tflite_predictor(float32).predict(image)
    np.testing.assert_array_equal(named["boxes"], codes)
    np.testing.assert_array_equal(named["scores"], scores)


def test_a_model_with_other_outputs_is_refused():
    from mnasfpn.models.tflite.writer import write_tflite

    content = write_tflite(DETECTOR.graph().prune(["predictor/boxes"]))
    with pytest.raises(JobFailed, match="1 inputs and 1 outputs"):
        name_outputs(content, OUTPUTS)


def test_operators_are_counted():
    from mnasfpn.models.graph.builder import GraphBuilder
    from mnasfpn.models.tflite.writer import write_tflite

    builder = GraphBuilder()
    image = builder.input("image", (1, 8, 8, 4))
    x = builder.conv("first", image, 4)
    x = builder.conv("second", x, 4)
    content = write_tflite(builder.graph([builder.max_pool("pool", x, 2, 2)]))
    assert list_operators(content) == ({"CONV_2D": 2, "MAX_POOL_2D": 1}, ())


@pytest.mark.slow
def test_int8_needs_images_of_the_right_size(weights):
    with pytest.raises(InvalidInput, match=r"real images .* got none"):
        convert(DETECTOR, weights, "int8")
    with pytest.raises(InvalidInput, match=r"shape \(2, 32, 32, 3\)"):
        convert(DETECTOR, weights, "int8", np.zeros((2, 32, 32, 3), np.float32))


@pytest.mark.slow
def test_unknown_precision_and_bad_names_are_refused(weights, images, tmp_path):
    with pytest.raises(InvalidInput, match="float32, float16, int8"):
        convert(DETECTOR, weights, "int4")
    with pytest.raises(InvalidInput, match=r"\.tflite"):
        export(DETECTOR, weights, tmp_path / "model.bin", images)
    with pytest.raises(InvalidInput, match="got none"):
        export(DETECTOR, weights, tmp_path / "model.tflite", images[:0])


@pytest.mark.parametrize("size", [64, 320, 512])
def test_photographs_of_any_size_are_real_pixels(size):
    images = sample_photographs(size, 2, seed=0)
    assert images.shape == (2, size, size, 3)
    assert images.dtype == np.float32
    assert images.min() >= -1
    assert images.max() <= 1
    assert images.std() > 0.1
    assert np.array_equal(images, sample_photographs(size, 2, seed=0))
