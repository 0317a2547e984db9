"""A simulated device's profile and a study on it, made by the ordinary commands."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mnasfpn.tests.cli.processes import FEW_HEADS, SIMULATED, invoke, run, search


@pytest.fixture(scope="session")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated profile, made by the ordinary command, not fitted."""
    path = tmp_path_factory.mktemp("measured") / "simulated.json"
    done = run(*SIMULATED, "0", "profile", "--out", path, *FEW_HEADS)
    assert done.returncode == 0, done.stderr
    assert f"next: mnasfpn fit {path}" in done.stdout
    return path


@pytest.fixture(scope="session")
def fitted(measured: Path) -> Path:
    path = measured.with_name("fitted.json")
    shutil.copy(measured, path)
    result = invoke("fit", path)
    assert result.exit_code == 0, result.output
    for figure in ("R2", "RMSPE", "within 5 %", "within 10 %", "Kendall tau", "measured again"):
        assert figure in result.stdout
    return path


@pytest.fixture(scope="session")
def study(fitted: Path) -> Path:
    path = fitted.with_name("study.db")
    done = search(path, fitted, 5)
    assert done.returncode == 0, done.stderr
    return path
