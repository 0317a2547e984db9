"""What docs/models.md shows is what the program reads: its JSON, its fields, its program."""

from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from mnasfpn.models.backbones.backbone import Backbone
from mnasfpn.models.detector import Detector
from mnasfpn.models.genotype import Block, Genotype
from mnasfpn.models.heads.nasfpn import NasFpn
from mnasfpn.models.heads.predictor import SharedPredictor
from mnasfpn.models.heads.ssdlite import SsdLite
from mnasfpn.models.model_files import from_json, save, to_json
from mnasfpn.models.published import PAPER, published

DOCUMENT = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
GENOTYPE, DETECTOR = re.findall(r"```json\n(.*?)```", DOCUMENT, re.DOTALL)


def test_the_genotype_shown_is_the_published_one() -> None:
    assert from_json(GENOTYPE) == published("mobilenetv2-mnasfpn").head


def test_the_detector_shown_is_what_it_says() -> None:
    detector = from_json(DETECTOR)
    assert isinstance(detector, Detector)
    assert detector.backbone == Backbone("mobilenet_v3_large", 0.75)
    assert detector.predictor == SharedPredictor(48, separate_towers=True)
    assert detector.graph()["predictor/scores"].shape[-1] == detector.classes + 1 == 21
    assert json.loads(to_json(detector))["head"]["blocks"][3]["merge"] == "se"


@pytest.mark.parametrize(
    "kind", [Genotype, Block, NasFpn, Detector, Backbone, SharedPredictor, SsdLite]
)
def test_every_field_is_explained(kind: type) -> None:
    explained = set(re.findall(r"[a-z_]+", " ".join(re.findall(r"`([^`\n]+)`", DOCUMENT))))
    assert {field.name for field in fields(kind)} <= explained


def test_every_way_to_count_is_explained() -> None:
    for counting in {figures.counting for figures in PAPER.values()}:
        assert f"- `{counting}`:" in DOCUMENT


def test_the_program_shown_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save(from_json(GENOTYPE), "genotype.json")
    save(from_json(DETECTOR), "detector.json")
    (program,) = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    exec(program, {})
    for drawing in ("cell.svg", "nas-fpn.svg"):
        assert "<svg" in (tmp_path / drawing).read_text()
