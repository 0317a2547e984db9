"""The synthetic landscape, and a short comparison of controllers on it."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from mnasfpn.benchmarks.search_synthetic import SyntheticScorer, main, synthetic_quality
from mnasfpn.errors import InvalidInput
from mnasfpn.models.genotype import LEVELS, Block, Genotype
from mnasfpn.models.heads.nasfpn import NasFpn, Node
from mnasfpn.models.published import published

DETECTOR = published("mobilenetv2-mnasfpn")
CELL = DETECTOR.head
assert isinstance(CELL, Genotype)


def test_latency_is_in_proportion_to_the_multiply_adds_of_the_real_graph() -> None:
    result = SyntheticScorer(DETECTOR)(CELL, 0)
    assert result.latency_ms == pytest.approx(918.6 * 0.2, rel=1e-4)  # 0.9186 B MAdds
    assert result.low_ms == result.high_ms == result.latency_ms


def test_wider_is_better_with_diminishing_returns() -> None:
    def quality(expansion: int) -> float:
        blocks = tuple(replace(block, expansion=expansion) for block in CELL.blocks)
        return synthetic_quality(replace(CELL, blocks=blocks))

    steps = [quality(f) for f in (16, 32, 64, 128, 256)]
    gains = [after / before for before, after in itertools.pairwise(steps)]
    assert sorted(steps) == steps
    assert sorted(gains, reverse=True) == gains


def test_an_output_that_sees_more_resolutions_is_better() -> None:
    narrow = Genotype(48, 1, tuple(Block((0, 1), level, 64) for level in LEVELS))
    broad = Genotype(48, 1, (Block((2, 3), 5, 64), *(Block((0, 4), lv, 64) for lv in LEVELS)))
    assert 0 < synthetic_quality(narrow) < synthetic_quality(broad) < 0.4


def test_the_landscape_is_for_mnasfpn_cells() -> None:
    with pytest.raises(InvalidInput, match="got NasFpn"):
        synthetic_quality(NasFpn(64, 1, tuple(Node((0, 1), level) for level in LEVELS)))


def test_the_comparison_writes_its_results_and_calls_them_simulated(tmp_path: Path) -> None:
    arguments = ["--samples", "18", "--seeds", "1", "--out", str(tmp_path), "--json"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert [outcome["controller"] for outcome in result["outcomes"]] == [
        "ppo",
        "evolution",
        "random",
    ]
    assert json.loads((tmp_path / "search_synthetic.json").read_text()) == result
    text = (tmp_path / "search_synthetic.md").read_text()
    assert "Provenance: simulated" in text
    assert text.count("\n| ") == 4
