"""``mnasfpn fit``: what it says of noise."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from mnasfpn.latency.profile.device_profile import load_profile, save_profile
from mnasfpn.tests.cli.processes import MODEL, invoke

pytestmark = pytest.mark.xdist_group("cli")  # one profile and one study for all
WHY = ("the 3 closest processes are 9.0% apart, limit 5%",)


def noisy(measured: Path, out: Path, share: float) -> Path:
    """The profile, with the first rows of the table UNSTABLE."""
    profile = load_profile(measured)
    count = int(share * len(profile.table))
    table = tuple(
        replace(row, reasons=WHY if i < count else ()) for i, row in enumerate(profile.table)
    )
    save_profile(replace(profile, table=table), out)
    return out


@pytest.mark.slow
def test_too_much_that_is_unstable_is_warned_of_with_what_to_do(
    measured: Path, tmp_path: Path
) -> None:
    path = noisy(measured, tmp_path / "p.json", 0.4)
    shown = invoke("fit", path).stdout
    assert "of kernels are UNSTABLE (more than 20%)" in shown
    assert f"measure again: the same `mnasfpn profile ... --out {path}`" in shown
    as_json = json.loads(invoke("fit", path, "--json").stdout)
    assert as_json["warning"] in shown
    assert as_json["unstable_share"]["kernels"] == pytest.approx(0.4, abs=0.02)


@pytest.mark.slow
def test_less_is_said_without_a_warning_and_under_every_estimate(
    measured: Path, tmp_path: Path
) -> None:
    path = noisy(measured, tmp_path / "p.json", 0.15)
    shown = invoke("fit", path).stdout
    said = load_profile(path).unstable
    assert f"; UNSTABLE: {said}\n" in shown
    assert "more than 20%" not in shown
    estimate = invoke("estimate", MODEL, "--profile", path).stdout
    as_json = json.loads(invoke("estimate", MODEL, "--profile", path, "--json").stdout)
    (found,) = as_json["estimates"].values()
    assert as_json["unstable_share"] == load_profile(path).unstable_shares
    assert f"; UNSTABLE: {said}\n" in estimate
    assert (
        f"from {found['rows']} rows of the table, {found['unstable_rows']} of them UNSTABLE"
        in estimate
    )
    assert 0 <= found["unstable_rows"] <= found["rows"]
    report = tmp_path / "r.html"
    assert invoke("report", "--profile", path, "--out", report).exit_code == 0
    assert f"UNSTABLE: {said}" in report.read_text()
