"""Train, evaluate and export as a person types them, on a few images; all with real files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mnasfpn.cli.main import main
from mnasfpn.models.data.digits import DigitsSettings, write_digits
from mnasfpn.models.detector import Backbone, Detector
from mnasfpn.models.evaluation.predictors import predictor_of
from mnasfpn.models.genotype import Block, Genotype
from mnasfpn.models.graph.weights import weight_shapes
from mnasfpn.models.heads.predictor import SharedPredictor
from mnasfpn.models.model_files import save
from mnasfpn.models.tflite.writer import write_tflite
from mnasfpn.models.training.recipes import RECIPES
from mnasfpn.models.training.run_folder import load_run, load_settings
from mnasfpn.tests.cli.processes import invoke, refused

SIZE, STEPS = 64, 20
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


@contextmanager
def watched(verb: str, seen: Callable[..., object]) -> Iterator[None]:
    """A verb whose progress somebody else hears of."""

    @contextmanager
    def progress(title: str, quiet: bool = False) -> Iterator[Callable[..., object]]:
        yield seen

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"mnasfpn.cli.verbs.{verb}.progress", progress)
        yield


def train(model: Path, data: Path, out: Path, *more: object) -> list[object]:
    """The words of a training on the digits."""
    words = ("--recipe", "digits", "--threads", 1, "--workers", 0)
    return ["train", model, "--data", data, *words, "--out", out, *more]


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
    with watched("train", lambda *call: seen.append(call)):
        assert invoke(*train(model, data, out, "--seed", 5)).exit_code == 0
    steps = [call for call in seen if call[2].startswith("loss ")]
    assert [call[:2] for call in steps] == [(step, STEPS) for step in range(1, STEPS + 1)]
    assert "AP 0." in steps[-1][2] or "AP nan" in steps[-1][2]  # it is validated meanwhile
    run = load_run(out)
    losses = [step.total for step in run.history]
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
    assert run.detector == replace(SMALL, classes=10)
    assert run.settings.seed == 5
    return out


@pytest.fixture(scope="module")
def exported(trained: Path, data: Path) -> Path:
    out = trained.with_name("exported.tflite")
    result = invoke("export", trained, "--data", data, "--count", 2, "--out", out, "--json")
    report = json.loads(result.stdout)["report"]
    assert report["comparison"]["images"] == 2
    assert report["comparison"]["max_score_difference"] < 1e-4
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


@pytest.mark.slow
def test_training_goes_on_where_it_was_and_a_finished_one_is_kept(
    trained: Path, model: Path, data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    found = printed(capfd, *train(model, data, trained, "--seed", 5))
    history = load_run(trained).history
    assert found["best_validation"]["step"] in range(1, STEPS + 1)
    del found["best_validation"]
    assert found == {"run": str(trained), "steps": STEPS, "loss": history[-1].total}
    assert "another seed" in refused(*train(model, data, trained, "--seed", 6))


@pytest.mark.slow
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
    out = tmp_path / "run"
    for text, message in (("none.npz", "no weights file"), (model, "not a readable .npz")):
        assert message in refused(*train(model, data, out, "--weights", text))
    assert not out.exists()

    def stop(done: int, total: int, what: str) -> None:
        if what.startswith("loss"):
            raise KeyboardInterrupt

    with watched("train", stop):
        words = train(model, data, out, "--weights", tmp_path / "w.npz", "--json")
        stopped = refused(*words, code=1)
    assert f"1 of {STEPS} steps are saved" in stopped
    assert "the same command" in stopped
    given, total = load_settings(out).warm_started
    assert given == len(backbone)
    assert given < total
    assert "has not finished" in refused("export", out, "--out", tmp_path / "m.tflite")


@pytest.mark.slow
def test_evaluate_takes_runs_and_files_and_agrees(
    trained: Path, exported: Path, data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    calls: list[tuple[int, ...]] = []
    with watched("evaluate", lambda *call: calls.append(call)):
        of_run = printed(capfd, "evaluate", trained, "--data", data)["precision"]
    assert calls[-1][:2] == (2, 2)
    of_file = printed(capfd, "evaluate", exported, "--data", data)["precision"]
    assert of_file["map"] == pytest.approx(of_run["map"], abs=0.02)
    assert 0 <= of_run["map"] <= of_run["map50"] <= 1


@pytest.mark.slow
def test_a_run_and_its_file_predict_the_same(trained: Path, exported: Path) -> None:
    images = np.random.default_rng(0).uniform(-1, 1, (1, SIZE, SIZE, 3)).astype(np.float32)
    of_run, of_file = (predictor_of(model).predict(images) for model in (trained, exported))
    np.testing.assert_allclose(of_file[0], of_run[0], atol=1e-4)
    np.testing.assert_allclose(of_file[1][..., 1:], of_run[1][..., 1:], atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["raw", "nms"])
def test_int8_is_calibrated_on_the_data(
    form: str, trained: Path, data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "int8.tflite"
    command = ["export", trained, "--precision", "int8", "--data", data, "--out", out]
    command += ["--nms"] if form == "nms" else []
    report = printed(capfd, *command, "--count", 2)["report"]
    assert (report["precision"], report["form"]) == ("int8", form)
    assert report["comparison"]["images"] == 2
    assert report["size_bytes"] == out.stat().st_size
    assert json.loads(out.with_suffix(".report.json").read_text()) == report
    about = json.loads(out.with_suffix(".json").read_text())
    assert about["training"]["recipe"] == "digits"
    assert about["classes"] == [str(digit) for digit in range(10)]
    precision = printed(capfd, "evaluate", out, "--data", data)["precision"]
    if form == "nms":
        after = report["comparison"]["average_precision"]["after"]
        assert precision["map"] == pytest.approx(after)
    assert "judge the file on another" in refused(*command, "--split", "train")


@pytest.mark.slow
def test_labels_of_ones_own(trained: Path, data: Path, tmp_path: Path) -> None:
    out, labels = tmp_path / "m.tflite", tmp_path / "labels.txt"
    labels.write_text("".join(f"digit {digit}\n" for digit in range(10)))
    command = ["export", trained, "--data", data, "--count", 1, "--labels", labels, "--out", out]
    assert invoke(*command).exit_code == 0
    assert json.loads(out.with_suffix(".json").read_text())["classes"][3] == "digit 3"
    before = sorted(tmp_path.iterdir())
    labels.write_text("one\ntwo\n")
    assert "2 labels and the detector has 10 classes" in refused(*command)
    labels.write_bytes(b"\xff\xfe\x00")
    assert "cannot be read as labels" in refused(*command)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.slow
def test_a_file_that_loses_too_much_is_not_written(
    trained: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No precision is allowed anything: even float16 differs."""
    from mnasfpn.models.export import verify

    nothing = dict.fromkeys(verify.TOLERANCES, verify.Tolerances(0.0, 0.0))
    monkeypatch.setattr(verify, "TOLERANCES", nothing)
    out = tmp_path / "m.tflite"
    command = ["export", trained, "--precision", "float16", "--data", data, "--count", 1]
    said = refused(*command, "--out", out, "--json", code=1)
    assert "m.tflite was not written: scores differ by" in said
    assert "most was lost in" in said
    assert [each.name for each in tmp_path.iterdir()] == ["m.refused.json"]


@pytest.mark.slow
def test_a_profile_says_how_long_it_takes(
    trained: Path, data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "m.tflite"
    command = ["export", trained, "--data", data, "--count", 1, "--profile", "pixel1-published"]
    latency = printed(capfd, *command, "--out", out)["report"]["latency"]
    assert latency["low"] <= latency["milliseconds"] <= latency["high"]
    estimated = printed(capfd, "estimate", out, "--profile", "pixel1-published")["estimates"]
    assert estimated["m"]["latency_ms"] == pytest.approx(latency["milliseconds"])


@pytest.mark.slow
def test_an_untrained_model_is_compared_on_photographs(
    model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "m.tflite"
    report = printed(capfd, "export", model, "--count", 1, "--out", out)["report"]
    assert report["comparison"]["images"] == 1
    assert report["comparison"]["average_precision"] is None
    assert report["comparison"]["score_spread"] > 0.01
    assert out.stat().st_size == report["size_bytes"]


def test_what_is_no_model_to_train_or_export(data: Path, tmp_path: Path) -> None:
    file, run, out = tmp_path / "m.tflite", tmp_path / "run", tmp_path / "n.tflite"
    file.write_bytes(write_tflite(SMALL.graph()))
    assert "is an exported model; expected" in refused(*train(file, data, run))
    assert "is an exported model; expected" in refused("export", file, "--out", out)
    assert "mobilenetv2-mnasfpn" in refused("export", "mobilenet-mnasfpn", "--out", out)
    assert list(tmp_path.iterdir()) == [file]


def test_what_is_no_model_to_evaluate(model: Path, data: Path, tmp_path: Path) -> None:
    for path in (model, tmp_path, tmp_path / "nothing", tmp_path / "nothing.tflite"):
        assert "neither the folder of a finished" in refused("evaluate", path, "--data", data)
    broken = tmp_path / "m.tflite"
    broken.write_bytes(b"hello")
    assert "m.tflite: cannot be run" in refused("evaluate", broken, "--data", data)


@pytest.mark.slow  # waits for a training
def test_what_is_no_data(model: Path, data: Path, trained: Path, tmp_path: Path) -> None:
    run, out = tmp_path / "run", tmp_path / "m.tflite"
    assert "no split 'train'" in refused(*train(model, tmp_path, run))
    assert "no split 'test'" in refused("evaluate", trained, "--data", data, "--split", "test")
    assert "int8 needs images" in refused("export", trained, "--precision", "int8", "--out", out)
    assert "no training recipe is called 'quick'" in refused(
        *train(model, tmp_path, run, "--recipe", "quick")
    )
    onnx = out.with_suffix(".onnx")
    assert "must end in .tflite" in refused("export", trained, "--count", 1, "--out", onnx)
    assert list(tmp_path.iterdir()) == []
