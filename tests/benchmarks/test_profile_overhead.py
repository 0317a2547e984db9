"""What profiling takes beside measuring: the stand-in, the stages, and the tables made of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from mnasfpn.benchmarks import profile_overhead
from mnasfpn.benchmarks.profile_overhead import COMMANDS, main, markdown, named, once, timings
from mnasfpn.benchmarks.stand_in_host import REST, STAGES, stage
from mnasfpn.errors import InvalidInput, JobFailed

SMALL = (
    *("--space", "no-expand", "--input-size", "64"),
    *("--calibration-heads", "5", "--validation-heads", "5"),
)
PARTS = dict.fromkeys((*STAGES, REST), 0.0)


@pytest.mark.slow
def test_the_stand_in_is_profiled_once_and_its_profile_is_fitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With fewer kernels and heads of a smaller image; the same commands otherwise."""
    smaller = {
        name: (*words, *SMALL) if words[0] == "profile" else words
        for name, words in COMMANDS.items()
    }
    monkeypatch.setattr(profile_overhead, "COMMANDS", smaller)
    first, again, fit = once(None, tmp_path)
    assert first["visits"] > 5 * 150  # five rounds of every kernel
    assert again["visits"] == fit["visits"] == 0
    for result in (first, again, fit):
        assert 0 < sum(result["stages"].values()) == pytest.approx(result["cpu_s"])
    for result in (first, again):  # what a file's digest is, is seen when it is made
        assert result["stages"]["writing model files"] > 0
    assert fit["stages"]["fitting"] > fit["stages"]["planning"]
    profile = json.loads((tmp_path / "p.json").read_text())
    assert profile["provenance"] == "simulated"
    assert profile["validation"]


def in_file(name: str, inner: Callable[[], str]) -> str:
    """What a function returns that is called from a file of that name."""
    namespace: dict[str, object] = {"inner": inner}
    exec(compile("found = inner()", name, "exec"), namespace)
    return str(namespace["found"])


def test_a_stage_is_that_of_the_innermost_file_that_has_one() -> None:
    def here() -> str:
        return stage(sys._getframe())

    assert in_file("a/mnasfpn/latency/profiling/plan.py", here) == "planning"
    assert in_file("a/mnasfpn/models/graph/graph.py", here) == REST
    nested = in_file(
        "mnasfpn/latency/profiling/plan.py",
        lambda: in_file(
            "mnasfpn/android_harness/verdict.py",
            lambda: in_file("numpy/quantile.py", here),
        ),
    )
    assert nested == "verdicts"


def result(cpu_s: float, visits: int = 0, **stages: float) -> dict[str, object]:
    return {"cpu_s": cpu_s, "visits": visits, "stages": PARTS | stages}


def test_tables_have_medians_and_leave_out_what_takes_no_time() -> None:
    def repeats(scale: float) -> list[list[dict[str, object]]]:
        return [
            [result(us * scale, 40, planning=scale), result(scale), result(scale, fitting=0.01)]
            for us in (1, 5, 2)
        ]

    found = [*timings("old", repeats(2)), *timings("this version", repeats(1))]
    assert [each.median_s for each in found] == [4, 2, 2, 2, 1, 1]
    text = markdown(found, 3)
    assert "**simulated**" in text
    assert "40 visits" in text
    assert "medians of 3 repeats, in turns with old in a folder of its own," in text
    assert "| | old | this version |" in text
    assert "| **`mnasfpn profile`** | **4.0** | **2.0** |\n| planning | 2.00 | 1.00 |" in text
    assert "fitting" not in text


def test_a_version_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="NAME=FOLDER"):
        named(f"0.1.0={tmp_path}")
    assert CliRunner().invoke(main, ["--beside", "0.1.0"]).exit_code == 2
    (tmp_path / "mnasfpn").mkdir()
    (tmp_path / "mnasfpn/__init__.py").write_text("")
    assert list(named(f"0.1.0={tmp_path}").items()) == [("0.1.0", tmp_path), ("this version", None)]
    folder = tmp_path / "work"
    folder.mkdir()
    with pytest.raises(JobFailed, match="this version of mnasfpn has none of"):
        once(tmp_path, folder)
