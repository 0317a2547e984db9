"""Reports of profiles and studies have every section, with the numbers of what they report."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from mnasfpn.errors import InvalidInput, InvalidProfile, JobFailed
from mnasfpn.latency.estimate.estimate import Estimator
from mnasfpn.latency.profile.device_profile import save_profile
from mnasfpn.latency.profiles import open_profile
from mnasfpn.models.published import PUBLISHED
from mnasfpn.report.content import Shipped, write_report
from mnasfpn.search.scoring import Attempt, Score
from mnasfpn.search.search_request import SearchRequest, study_plan
from mnasfpn.search.search_space import search_space
from mnasfpn.search.study import Study

BUNDLED = "pixel1-published"
#: (mAP, ms): 0, 2 and 3 are on the frontier; 3 has the highest reward.
RESULTS = ((0.10, 150.0), (0.09, 170.0), (0.20, 180.0), (0.30, 190.0), None)


def made_by_hand(path: Path, controller: str = "ppo", space: str = "mnasfpn") -> Path:
    covered = study_plan(SearchRequest(BUNDLED, path, "conn-search", controller))
    plan = replace(covered, space=search_space(space))  # results by hand need no latency
    with Study(path, plan) as study:
        trials = study.propose(plan.new_controller(), len(RESULTS))
        for trial, result in zip(trials, RESULTS, strict=True):
            value = result and Score(*result, result[1] - 5, result[1] + 5)
            study.end(trial, Attempt(value, "" if result else "by hand", 1.5, "here"))
    return path


def headings(page: str) -> list[str]:
    return re.findall("<h2>(.*?)</h2>", page)


def figures(page: str) -> list[str]:
    found = re.findall("<figure>(<svg.*?</svg>)", page, re.DOTALL)
    for svg in found:
        ElementTree.fromstring(svg)
    return found


def report(out: Path, *arguments: object) -> str:
    write_report(*arguments)
    page = out.read_text()
    assert set(re.findall(r"https?://[^\"\s<>']+", page)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }
    assert "<!DOCTYPE svg" not in page
    return page


def test_the_bundled_profile_on_every_system_it_covers(tmp_path: Path) -> None:
    out = tmp_path / "r.html"
    page = report(out, BUNDLED, None, out)
    assert headings(page) == ["How good are the predictions?", "Where does the time go?"]
    validation = open_profile(BUNDLED).validation
    assert f"R2 {validation.accuracy.r2.value:.4f}" in page
    assert "published; nothing was measured for this profile" in page
    assert len(figures(page)) == 2
    assert "<td>mobilenetv3-mnasfpn</td>" in page
    assert "does not cover" not in page
    latency_ms = Estimator(open_profile(BUNDLED)).estimate(PUBLISHED["mobilenetv2-mnasfpn"].graph())
    assert f"{latency_ms.latency_ms:.2f}" in page


def test_a_study_shows_its_frontier_cell_and_breakdown(tmp_path: Path) -> None:
    out = tmp_path / "r.html"
    study = made_by_hand(tmp_path / "s.db")
    page = report(out, BUNDLED, study, out)
    assert headings(page)[1:] == [
        "What was found?",
        "The chosen cell",
        "Where does the time go?",
    ]
    assert len(figures(page)) == 4
    assert "The trial of highest reward is number 3." in page
    assert "4 trials; reward mAP x latency^-0.3." in page
    rows = re.findall(r'<td class="number">(\d)</td>\s*<td class="number">(0\.\d+)</td>', page)
    assert rows == [("0", "0.1000"), ("2", "0.2000"), ("3", "0.3000")]
    assert "random search" not in page
    with Study(study) as stored:
        cell = stored.trials()[3].cell
    assert f"Cell with C = {cell.channels}, 3 repeats" in page
    assert "<td>trial 3</td>" in page


def test_a_baseline_and_shipped_files_are_shown_beside(tmp_path: Path) -> None:
    out = tmp_path / "r.html"
    shipped = [
        Shipped("a.tflite", "<b>", 1_500_000, (10.0, 9.0, 11.0), 10.5, "VALID", 2e-5, 0.25),
        Shipped("b.tflite", "int8", 500_000, None, None, "FAILED"),
    ]
    page = report(
        out,
        BUNDLED,
        made_by_hand(tmp_path / "s.db"),
        out,
        shipped,
        made_by_hand(tmp_path / "random.db", "random"),
    )
    assert headings(page)[-1] == "What was shipped, and does it keep its promise?"
    assert "random search" in page
    for text in ("1.50", "10.00 (9.00 to 11.00)", "10.50", "2e-05", "0.250", "&lt;b&gt;"):
        assert text in page
    section = page[page.index("What was shipped") :]
    assert section.count("not covered") == section.count("not measured") == 1


def test_cells_of_nas_fpn_have_a_report_too(tmp_path: Path) -> None:
    out = tmp_path / "r.html"
    study = made_by_hand(tmp_path / "s.db", "random", "nas-fpnlite-s")
    page = report(out, BUNDLED, study, out)
    assert "The chosen cell" in headings(page)
    assert "features left over" in figures(page)[2]  # as only drawings of such cells say


def test_kernels_that_the_profile_lacks_are_named(tmp_path: Path) -> None:
    out = tmp_path / "r.html"
    profile = open_profile(BUNDLED)
    table = tuple(row for row in profile.table if not row.kernel.startswith("add "))
    regressors = {kind: r for kind, r in profile.regressors.items() if kind != "add"}
    save_profile(replace(profile, table=table, regressors=regressors), tmp_path / "p.json")
    page = report(out, str(tmp_path / "p.json"), made_by_hand(tmp_path / "s.db"), out)
    assert "trial 3 has kernels that the profile does not cover: " in page
    assert "add 1x40x40x" in page


def test_profiles_say_where_their_numbers_come_from(tmp_path: Path) -> None:
    out = tmp_path / "r.html"
    profile = replace(open_profile(BUNDLED), provenance="simulated", validation=None, name="<i>")
    save_profile(profile, tmp_path / "p.json")
    page = report(out, str(tmp_path / "p.json"), None, out)
    assert "come from a simulated device" in page
    assert "has not been validated" in page
    assert "&lt;i&gt;" in page
    assert "<i>" not in page


def test_what_cannot_be_reported_leaves_no_file(tmp_path: Path) -> None:
    out = tmp_path / "r.html"
    with pytest.raises(InvalidProfile, match="no profile 'nothing'"):
        write_report("nothing", None, out)
    with pytest.raises(InvalidInput, match="no such study"):
        write_report(BUNDLED, tmp_path / "s.db", out)
    plan = study_plan(SearchRequest(BUNDLED, tmp_path / "s.db", "conn-search"))
    with Study(tmp_path / "s.db", plan):
        pass
    with pytest.raises(InvalidInput, match="no finished trial"):
        write_report(BUNDLED, tmp_path / "s.db", out)
    assert not out.exists()
    with pytest.raises(JobFailed, match="could not write"):
        write_report(BUNDLED, None, tmp_path / "nowhere" / "r.html")
