"""The program that docs/architecture.md shows runs, and says what is read off one graph."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mnasfpn.models.model_files import save
from mnasfpn.models.published import published
from mnasfpn.models.tflite.reader import read_tflite

DOCUMENT = (Path(__file__).parents[1] / "docs" / "architecture.md").read_text()


def test_the_walk_of_a_genotype_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    detector = published("mobilenetv2-mnasfpn")
    save(detector.head, "genotype.json")
    (program,) = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    names: dict[str, object] = {}
    exec(program, names)
    assert names["graph"] == detector.graph()
    content = names["content"]
    assert isinstance(content, bytes)
    assert len(read_tflite(content).outputs) == len(detector.graph().outputs)
