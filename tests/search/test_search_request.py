"""From what a person asks for to the plan of a study, and the task in it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mnasfpn.errors import InvalidInput
from mnasfpn.latency.profile.device_profile import save_profile
from mnasfpn.latency.profiles import open_profile
from mnasfpn.models.published import published
from mnasfpn.search.detector_task import DetectorTask, scorer
from mnasfpn.search.proxy.proxy_settings import ProxySettings
from mnasfpn.search.reward import Reward
from mnasfpn.search.search_request import SearchRequest, study_plan
from mnasfpn.search.search_space import search_space
from mnasfpn.search.study import StudyPlan

PROFILE = "pixel1-published"


def asked(folder: Path, **changes: object) -> SearchRequest:
    return replace(SearchRequest(PROFILE, folder / "s.db", "conn-search"), **changes)


def test_a_search_that_its_profile_cannot_serve_is_refused_before_anything_is_prepared(
    tmp_path: Path,
) -> None:
    """A profile without squeeze-excite's pool, which three of the spaces need."""
    whole = open_profile(PROFILE)
    known = {k: v for k, v in whole.regressors.items() if not k.startswith("global_max_pool")}
    assert known != whole.regressors
    less = tmp_path / "less.json"
    save_profile(replace(whole, regressors=known), less)
    with pytest.raises(InvalidInput, match=r"of 16 .*'mnasfpn'.*global_max_pool.*--space"):
        study_plan(replace(asked(tmp_path, space="mnasfpn"), profile=str(less)))
    assert study_plan(asked(tmp_path)).space == search_space("conn-search", 3)
    assert list(tmp_path.iterdir()) == [less]


def test_every_wish_is_in_the_plan_but_what_changes_nothing(tmp_path: Path) -> None:
    """More trials continue a study, and the number of workers changes nothing but the time."""
    plan = study_plan(asked(tmp_path))
    assert study_plan(asked(tmp_path, samples=7, workers=3)) == plan
    wishes = {
        "controller": "random",
        "task": "coco",
        "repeats": 4,
        "exponent": -0.1,
        "seed": 5,
        "batch": 3,
        "proxy": ProxySettings(steps=2),
    }
    for name, wish in wishes.items():
        assert study_plan(asked(tmp_path, **{name: wish})) != plan, name
    other = study_plan(asked(tmp_path, **wishes))
    assert (other.controller, other.seed, other.settings) == ("random", 5, {"batch": 3})
    assert (other.space.repeats, other.reward) == (4, Reward(-0.1))


def test_a_task_survives_the_plan(tmp_path: Path) -> None:
    plan = study_plan(asked(tmp_path, task="some/coco", proxy=ProxySettings(steps=2)))
    task = DetectorTask.of(plan)
    assert task.to_text() == plan.task
    assert (task.profile, task.task, task.dataset) == (PROFILE, "some/coco", Path("some/coco"))
    assert task.proxy == tmp_path / "proxy-coco"
    assert task.proxy_settings == ProxySettings(steps=2)
    assert DetectorTask.of(study_plan(asked(tmp_path))).dataset == tmp_path / "digits"


def test_trials_score_what_the_plan_says(tmp_path: Path) -> None:
    plan = study_plan(asked(tmp_path))
    assert scorer(plan).profile == PROFILE
    assert scorer(plan, "other.json").profile == "other.json"
    assert scorer(plan).whole(published("mobilenetv2-mnasfpn").head) == published(
        "mobilenetv2-mnasfpn"
    )


def test_a_study_of_something_else_has_no_task_of_detectors() -> None:
    plan = StudyPlan(search_space("mnasfpn"), task={"landscape": "synthetic"})
    with pytest.raises(InvalidInput, match="not one of a search for detectors"):
        DetectorTask.of(plan)
