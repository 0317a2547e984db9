"""Shares inside, below and above intervals, by hand and on a profile of a known law."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from mnasfpn.benchmarks import coverage
from mnasfpn.benchmarks.coverage import all_profiles, held, main
from mnasfpn.latency.profile.calibration import Interval
from mnasfpn.latency.profile.device_profile import DeviceProfile, save_profile


def test_shares_by_hand() -> None:
    interval = Interval(0.9, 1.1, 0.9, 19)
    tried = [(interval, np.array([0.8, 1.0, 1.0, 1.2])), (interval, np.ones(4))]
    found = held("two", 19, tried)
    assert (found.inside, found.below, found.above) == (0.75, 0.125, 0.125)
    assert found.tried == 8
    assert found.low < 0.75 < found.high
    (mean,) = [row for row in all_profiles([found, held("other", 19, tried[1:])] * 3) if row.tried]
    assert mean.inside == pytest.approx(0.875)


@pytest.mark.slow
def test_a_profiles_heads_are_divided_and_tried(
    measured: DeviceProfile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nine of the tiny profile's twelve heads state 80 %."""
    monkeypatch.setattr(coverage, "COUNTS", (9,))
    monkeypatch.setattr(coverage, "REPEATS", 200)
    save_profile(measured, tmp_path / "p.json")
    done = CliRunner().invoke(main, [str(tmp_path / "p.json"), "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    result = json.loads((tmp_path / "coverage.json").read_text())
    (of_profile,) = result["measured"]
    assert of_profile["tried"] == 3 * coverage.DIVISIONS
    assert 0.6 < of_profile["inside"] < 0.95
    for row in result["simulated"]:
        assert row["inside"] == pytest.approx(0.8, abs=0.03)
