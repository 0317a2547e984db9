"""Train, evaluate and export as a person types them, on a few images; all with real files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorflow")

from mnasfpn.cli.jobs import evaluate_model, export_model, named_detector, train_model
from mnasfpn.cli.main import main
from mnasfpn.errors import InvalidInput, InvalidModelFile, JobFailed, UnknownModel
from mnasfpn.models.data.digits import DigitsSettings, write_digits
from mnasfpn.models.detector import Backbone, Detector
from mnasfpn.models.genotype import Block, Genotype
from mnasfpn.models.graph.weights import weight_shapes
from mnasfpn.models.heads.predictor import SharedPredictor
from mnasfpn.models.model_files import save, to_json
from mnasfpn.models.published import PUBLISHED
from mnasfpn.models.tflite.reader import read_tflite
from mnasfpn.models.tflite.writer import write_tflite
from mnasfpn.models.training.recipes import RECIPES
from mnasfpn.models.training.run_folder import load_run, load_settings

SIZE, STEPS = 64, 3
BLOCKS = (
    Block((1, 2), 3, expansion=16),
    Block((1, 4), 4, expansion=16),
    Block((2, 3), 5, expansion=16),
    Block((2, 3), 6, expansion=16),
)
# Of another number of classes than the data, which training corrects.
SMALL = Detector(
    Backbone("mobilenet_v2", 0.35), Genotype(16, 1, BLOCKS), SharedPredictor(16), 90, SIZE
)


def silent(done: int, total: int, what: str) -> None:
    """Nobody watches."""


@pytest.fixture(scope="module", autouse=True)
def quick() -> Any:
    """A recipe of a few steps under the name of one of the table's."""
    with pytest.MonkeyPatch.context() as patch:
        short = replace(RECIPES["digits"], length=STEPS, warmup=1, batch_size=2)
        patch.setitem(RECIPES, "digits", short)
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    settings = DigitsSettings(train=4, validation=2, size=SIZE, most=2, smallest=0.3)
    return write_digits(tmp_path_factory.mktemp("data") / "digits", settings)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "small.json"
    save(SMALL, path)
    return path


@pytest.fixture(scope="module")
def trained(model: Path, data: Path) -> Path:
    out = model.with_name("run")
    seen: list[tuple[int, int, str]] = []
    run = train_model(
        str(model), data, "train", "digits", out, None, 5, lambda *call: seen.append(call)
    )
    assert [call[:2] for call in seen] == [(step, STEPS) for step in range(1, STEPS + 1)]
    assert all(call[2].startswith("loss ") for call in seen)
    assert run.detector == replace(SMALL, classes=10)
    assert run.settings.seed == 5
    return out


@pytest.fixture(scope="module")
def exported(trained: Path, data: Path) -> Path:
    out = trained.with_name("exported.tflite")
    report = export_model(str(trained), "float32", data, "train", 2, out, 0)
    assert report.images == 2
    assert report.max_score_difference < 1e-4
    return out


def printed(capfd: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    """What a command prints on the process's standard output, native libraries included."""
    capfd.readouterr()
    main([*map(str, arguments), "--json"], standalone_mode=False)
    out = capfd.readouterr().out
    assert out.count("\n") == 1
    found = json.loads(out)
    assert isinstance(found, dict)
    return found


def test_training_goes_on_where_it_was_and_a_finished_one_is_kept(
    trained: Path, model: Path, data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    found = printed(
        capfd, "train", model, "--data", data, "--recipe", "digits", "--out", trained, "--seed", 5
    )
    history = load_run(trained).history
    assert found == {"run": str(trained), "steps": STEPS, "loss": history[-1].total}
    with pytest.raises(InvalidInput, match="another recipe, seed"):
        train_model(str(model), data, "train", "digits", trained, None, 6, silent)


def test_training_starts_from_given_weights(model: Path, data: Path, tmp_path: Path) -> None:
    """Of a backbone as keras.applications names it, with batch norm folded in; its last convolution
    is not in this detector."""
    arrays = {}
    for layer in SMALL.backbone.graph(SIZE, SIZE):
        if layer.weights:
            name = layer.name.removeprefix("backbone/")
            arrays[f"{name}/kernel"] = np.zeros(layer.weights, np.float32)
            arrays[f"{name}/bias"] = np.zeros(layer.filters, np.float32)
    np.savez(tmp_path / "w.npz", **arrays)
    backbone = [key for key in weight_shapes(SMALL.graph()) if key.startswith("backbone/")]
    for text, message in (("none.npz", "no weights file"), (str(model), "not a readable .npz")):
        with pytest.raises(InvalidInput, match=message):
            train_model(str(model), data, "train", "digits", tmp_path / "x", text, 0, silent)
    assert not (tmp_path / "x").exists()
    out = tmp_path / "run"

    def stop(done: int, total: int, what: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(JobFailed, match=r"stopped after 1 of 3 steps.*the same command"):
        train_model(str(model), data, "train", "digits", out, str(tmp_path / "w.npz"), 0, stop)
    given, total = load_settings(out).warm_started
    assert given == len(backbone)
    assert given < total
    with pytest.raises(InvalidInput, match="has not finished"):
        export_model(str(out), "float32", None, "train", 1, tmp_path / "m.tflite", 0)


def test_evaluate_takes_runs_and_files_and_agrees(
    trained: Path, exported: Path, data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    calls: list[tuple[int, int, str]] = []
    of_run = evaluate_model(trained, data, "val", lambda *call: calls.append(call))
    assert calls[-1][:2] == (2, 2)
    of_file = printed(capfd, "evaluate", exported, "--data", data)["precision"]
    assert of_file["map"] == pytest.approx(of_run.map, abs=0.02)
    assert 0 <= of_run.map <= of_run.map50 <= 1


def test_int8_is_calibrated_on_the_data(
    trained: Path, data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = trained.with_name("int8.tflite")
    command = ["export", trained, "--precision", "int8", "--data", data, "--out", out]
    report = printed(capfd, *command, "--images", 2)["report"]
    assert report["precision"] == "int8"
    assert report["images"] == 2
    assert report["size_bytes"] == out.stat().st_size
    assert json.loads(out.with_suffix(".report.json").read_text()) == report
    assert {"int8"} <= {layer.dtype for layer in read_tflite(out)}


def test_an_untrained_model_is_compared_on_photographs(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.tflite"
    report = export_model(str(model), "float16", None, "train", 1, out, 0)
    assert report.images == 1
    assert report.max_score_difference < 0.05
    assert out.stat().st_size == report.size_bytes


@pytest.mark.parametrize("size", [64, 320, 512])
def test_photographs_of_any_size_are_real_pixels(size: int) -> None:
    from mnasfpn.cli.jobs import _photographs

    images = _photographs(size, 2, seed=0)
    assert images.shape == (2, size, size, 3)
    assert images.dtype == np.float32
    assert images.min() >= -1
    assert images.max() <= 1
    assert images.std() > 0.1
    assert np.array_equal(images, _photographs(size, 2, seed=0))


def test_models_by_name_cell_or_detector(model: Path, tmp_path: Path) -> None:
    assert named_detector("mobilenetv2-mnasfpn") == PUBLISHED["mobilenetv2-mnasfpn"]
    assert named_detector(str(model)) == SMALL
    (tmp_path / "cell.json").write_text(to_json(SMALL.head))
    assert named_detector(str(tmp_path / "cell.json")).head == SMALL.head


def test_what_is_no_model_to_train_or_export(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "m.tflite"
    file.write_bytes(write_tflite(SMALL.graph()))
    with pytest.raises(InvalidInput, match="is an exported model; expected"):
        train_model(str(file), data, "train", "digits", tmp_path / "run", None, 0, silent)
    with pytest.raises(InvalidInput, match="is an exported model; expected"):
        export_model(str(file), "float32", None, "train", 1, tmp_path / "n.tflite", 0)
    with pytest.raises(UnknownModel, match="mobilenetv2-mnasfpn"):
        export_model("mobilenet-mnasfpn", "float32", None, "train", 1, tmp_path / "n.tflite", 0)
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "n.tflite").exists()


def test_what_is_no_model_to_evaluate(model: Path, data: Path, tmp_path: Path) -> None:
    for path in (model, tmp_path, tmp_path / "nothing", tmp_path / "nothing.tflite"):
        with pytest.raises(InvalidInput, match="neither the folder of a finished"):
            evaluate_model(path, data, "val", silent)
    broken = tmp_path / "m.tflite"
    broken.write_bytes(b"hello")
    with pytest.raises(InvalidModelFile, match=r"m\.tflite"):
        evaluate_model(broken, data, "val", silent)


def test_what_is_no_data(model: Path, trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.tflite"
    with pytest.raises(InvalidInput, match="no split 'train'"):
        train_model(str(model), tmp_path, "train", "digits", tmp_path / "run", None, 0, silent)
    with pytest.raises(InvalidInput, match="no split 'test'"):
        evaluate_model(trained, tmp_path, "test", silent)
    with pytest.raises(InvalidInput, match="int8 needs images"):
        export_model(str(trained), "int8", None, "train", 1, out, 0)
    with pytest.raises(InvalidInput, match="no training recipe is called 'quick'"):
        train_model(str(model), tmp_path, "train", "quick", tmp_path / "run", None, 0, silent)
    with pytest.raises(InvalidInput, match=r"must end in \.tflite"):
        export_model(str(trained), "float32", None, "train", 1, tmp_path / "m.onnx", 0)
