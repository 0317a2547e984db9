"""The benchmark of foreign files: what it judges, and that its committed words are its own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mnasfpn.benchmarks.foreign_models import LEAST_SHARE, OUT, Row, section, share_within, summary
from mnasfpn.benchmarks.handmade_models import HANDMADE
from mnasfpn.benchmarks.keras_models import MODEL_SETS, Architecture, converted
from mnasfpn.latency.kernels.execution import execution_plan
from mnasfpn.models.tflite.reader import read_tflite

RESULT = json.loads((OUT / "foreign_models.json").read_text())


def rows(found: dict) -> list[Row]:
    values = [{k: v for k, v in row.items() if k != "error"} for row in found["rows"]]
    return [Row(**{**value, "uncovered": tuple(value["uncovered"])}) for value in values]


@pytest.mark.parametrize("found", RESULT["sets"], ids=lambda found: found["name"])
def test_the_committed_words_are_those_the_code_writes(found: dict) -> None:
    each = next(each for each in MODEL_SETS if each.name == found["name"])
    assert [row["name"] for row in found["rows"]] == [item.name for item in each.architectures]
    text = "\n".join(section(each.name, each.note, rows(found)))
    assert text in (OUT / "foreign_models.md").read_text()


#: The bar is of ten architectures or more, which not every set has.
GROUPS = {
    "floats": [found for found in RESULT["sets"] if "int8" not in found["name"]],
    "integers": [found for found in RESULT["sets"] if "int8" in found["name"]],
    "not looked at before": [found for found in RESULT["sets"] if found["name"].startswith("last")],
}


@pytest.mark.parametrize("group", GROUPS)
def test_the_bar_was_met(group: str) -> None:
    judged = [row for found in GROUPS[group] for row in rows(found)]
    assert len(judged) >= 10
    assert share_within(judged, 0.15) >= LEAST_SHARE


def test_the_result_tells_the_seed_and_the_sessions() -> None:
    text = (OUT / "foreign_models.md").read_text()
    assert f"seed {RESULT['campaign']['seed']}" in text
    assert f"{RESULT['campaign']['settings']['rounds']} sessions" in text


def row(predicted_ms: float, high_ms: float) -> Row:
    return Row("x", predicted_ms, 0.5, high_ms, 10.0, 0.01, "VALID", 1.0, 1.0, ())


def test_a_summary_by_hand() -> None:
    found = summary([row(10.5, 11), row(9.0, 9.5), row(8.8, 11), row(12.1, 13)])
    assert found == (
        "Within 15%: 75% of 4 architectures (bar: 80%; NOT met). Within 10 %: 50%. Inside their "
        "interval: 3 of 4. Mean absolute error 12.0%, median error -2.5%."
    )


def test_no_architecture_is_judged_twice() -> None:
    names = [item.name for each in MODEL_SETS for item in each.architectures]
    assert len(names) == len(set(names))
    files = {item.file for each in MODEL_SETS for item in each.architectures}
    assert len(files) == len(names)


#: To convert; the others are proofs.
SMALL = ("SqueezeNet", "UNet")


@pytest.mark.slow
@pytest.mark.parametrize(
    "constructor",
    [pytest.param(name, marks=() if name in SMALL else pytest.mark.proof) for name in HANDMADE],
)
def test_handmade_networks_become_files(constructor: str, tmp_path: Path) -> None:
    architecture = Architecture(constructor, 64)
    ((_, path),) = converted(tmp_path, [architecture])
    made = path.stat().st_mtime_ns
    plan = execution_plan(read_tflite(path))
    assert {kernel.dtype for kernel in plan.kernels} == {"float32"}
    assert sum(kernel.madds for kernel in plan.kernels) > 1e7
    ((_, again),) = converted(tmp_path, [architecture])  # not made again
    assert again.stat().st_mtime_ns == made


@pytest.mark.slow
def test_int8_files_are_int8_inside(tmp_path: Path) -> None:
    ((_, path),) = converted(tmp_path, [Architecture("SqueezeNet", 64, "int8")])
    kernels = execution_plan(read_tflite(path)).kernels
    assert {kernel.dtype for kernel in kernels if kernel.madds} == {"int8"}
    assert [kernels[0].op, kernels[-1].op] == ["quantize", "dequantize"]


@pytest.mark.parametrize("precision", ["float32", "uint8"])
def test_detectors_end_in_their_suppression(precision: str, tmp_path: Path) -> None:
    ((_, path),) = converted(tmp_path, [Architecture("SSDLite", 128, precision)])
    *inside, last = execution_plan(read_tflite(path)).kernels
    assert {kernel.dtype for kernel in inside if kernel.madds} == {precision}
    assert (last.op, last.output) == ("detections", (1, 100, 4))
