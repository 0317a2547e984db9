"""``mnasfpn doctor``: what it prints, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

from mnasfpn.cli.verbs import doctor
from mnasfpn.models.doctor.clients import CLIENTS
from mnasfpn.models.published import published
from mnasfpn.models.tflite.writer import write_tflite
from mnasfpn.tests.cli.processes import invoke, refused
from mnasfpn.tests.models.doctor.detector_files import nms_parts, raw_parts


def test_the_clients_are_those_that_there_are_rules_for() -> None:
    assert tuple(CLIENTS) == doctor.CLIENTS


def test_a_good_file(tmp_path: Path) -> None:
    path = tmp_path / "good.tflite"
    path.write_bytes(nms_parts().pack())
    result = invoke("doctor", path)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"nothing keeps mediapipe from this file: {path}",
        "  input: 'image' float32 [1, 32, 32, 3] (type and shape)",
        "  outputs: 'location' float32 [1, 10, 4] (type and shape)",
        "  outputs: 'category' float32 [1, 10] (type and shape)",
        "  outputs: 'score' float32 [1, 10] (type and shape)",
        "  outputs: 'number' float32 [1] (type and shape)",
        "  input: -1 to 1 (the range of pixels)",
        "  labels: 3: red, green, blue (a name for each class)",
        "XNNPACK: 1 partition; the runtime of this PC makes 1",
    ]


def test_what_is_wrong_is_told_with_what_to_change(tmp_path: Path) -> None:
    parts = raw_parts()
    parts.input.pop(4)
    path = tmp_path / "bad.tflite"
    path.write_bytes(parts.pack())
    result = invoke("doctor", path)
    assert result.exit_code == 1
    assert result.stdout.splitlines()[:5] == [
        f"mediapipe does not open this file: {path}",
        "  refuses: input",
        "    needs   NormalizationOptions with one mean and one deviation",
        "    finds   none, and the input is float32",
        "    change  write the mean and deviation that the model was trained with: 127.5 for -1 to "
        "1",
    ]


def test_the_same_as_one_object(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(nms_parts().pack())
    result = invoke("doctor", path, "--for", "litert-gpu", "--json")
    found = json.loads(result.stdout)
    assert result.exit_code == 1
    assert (found["client"], found["verdict"]) == ("litert-gpu", "refuses")
    assert found["findings"][0]["found"].startswith("TFLite_Detection_PostProcess")
    assert (found["xnnpack"]["partitions"], found["xnnpack_partitions_here"]) == (1, 1)


def test_a_network_that_is_split_is_told_by_what_and_for_how_long(tmp_path: Path) -> None:
    path = tmp_path / "published.tflite"
    path.write_bytes(write_tflite(published("mobilenetv2-mnasfpn").graph()))
    lines = invoke("doctor", path, "--for", "litert-cpu").stdout.splitlines()
    assert "XNNPACK: 7 partitions; the runtime of this PC makes 7" in lines
    assert any(line.startswith("  split by 12 x resize_nearest: 0.") for line in lines)
    assert "is not in profile pixel1-published, which was measured without" in lines[-1]


def test_what_is_no_model_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "page.tflite"
    path.write_text("<html>404</html>")
    assert "is not a TensorFlow Lite file" in refused("doctor", path)
    assert "No such file" in refused("doctor", tmp_path / "nothing.tflite")
    assert "Is a directory" in refused("doctor", tmp_path)
    path.write_bytes(raw_parts().pack())
    assert "there is no profile" in refused("doctor", path, "--profile", "nothing")


def test_a_damaged_model_is_a_finding(tmp_path: Path) -> None:
    path = tmp_path / "half.tflite"
    path.write_bytes(raw_parts().pack()[:900])
    result = invoke("doctor", path)
    assert result.exit_code == 1
    assert "  refuses: file" in result.stdout
    assert "XNNPACK's partitions are not known" in result.stdout
