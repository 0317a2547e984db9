"""Bundled profiles: readable, complete, found by name, and files are never mistaken for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mnasfpn.errors import InvalidProfile
from mnasfpn.latency.profile.device_profile import (
    DeviceProfile,
    from_json,
    save_profile,
    to_json,
)
from mnasfpn.latency.profiles import bundled, open_profile
from mnasfpn.report.summary import FIGURES, validation_rows


@pytest.mark.parametrize("name", bundled())
def test_every_bundled_profile_is_fitted_validated_and_says_where_it_is_from(name: str) -> None:
    profile = open_profile(name)
    profile.require_calibration()
    assert profile.name == name
    assert profile.validation is not None
    assert profile.provenance == "published"
    assert profile.sources
    assert from_json(to_json(profile)) == profile


def test_there_is_one_of_the_papers_phone() -> None:
    assert "pixel1-published" in bundled()


def test_files_are_opened_by_path(measured: DeviceProfile, tmp_path: Path) -> None:
    save_profile(measured, tmp_path / "p.json")
    assert open_profile(str(tmp_path / "p.json")) == measured


def test_a_bundled_name_comes_before_a_file_of_that_name(
    measured: DeviceProfile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_profile(measured, "pixel1-published")
    assert open_profile("pixel1-published").name == "pixel1-published"
    assert open_profile("./pixel1-published") == measured


def test_neither_name_nor_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidProfile, match=r"did you mean 'pixel1-published'.*bundled profiles"):
        open_profile("pixel1-publisht")
    with pytest.raises(InvalidProfile, match="no profile '/nothing'; expected"):
        open_profile("/nothing")
    with pytest.raises(InvalidProfile, match="no profile"):
        open_profile(str(tmp_path))


def test_a_validation_is_told_in_rows(fitted: DeviceProfile) -> None:
    from scipy.stats import binomtest

    validation = fitted.validation
    assert validation is not None
    rows = {row[0]: row[1:] for row in validation_rows(validation)}
    assert len(rows) == len(FIGURES) + 4
    accuracy = validation.accuracy
    assert rows["R2"][0] == f"{accuracy.r2.value:.4f}"
    assert rows["RMSPE"][1] == f"{accuracy.rmspe.low:.1%} to {accuracy.rmspe.high:.1%}"
    assert rows["MAPE"][2] == f"{validation.noise_floor.mape.value:.1%}"
    errors = {p.name: p.predicted_ms / p.measured_ms - 1 for p in validation.points}
    worst = max(errors, key=lambda name: abs(errors[name]))
    assert rows["largest error"][0] == f"{errors[worst]:+.1%}"
    assert rows["largest error"][1].startswith(f"{worst}: ")
    inside = round(validation.interval_coverage * len(validation.points))
    low, high = binomtest(inside, len(validation.points)).proportion_ci(method="wilson")
    assert rows["inside their interval"][0] == f"{validation.interval_coverage:.1%}"
    assert rows["inside their interval"][1] == f"{low:.1%} to {high:.1%}"
    sides = [float(rows[name][0].rstrip("%")) for name in ("below it", "above it")]
    assert sum(sides) == pytest.approx(100 * (1 - validation.interval_coverage), abs=0.1)
