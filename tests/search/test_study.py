"""The study file: what is stored comes back, and what is no study of ours is refused."""

from __future__ import annotations

import resource
import sqlite3
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from mnasfpn.errors import InvalidInput, JobFailed
from mnasfpn.models.space import Space
from mnasfpn.search.cells import canonical
from mnasfpn.search.reward import Reward
from mnasfpn.search.scoring import Attempt, Score
from mnasfpn.search.search_space import SearchSpace, search_space
from mnasfpn.search.study import Study, StudyPlan, Trial

PLAN = StudyPlan(
    search_space("no-expand", repeats=2),
    "evolution",
    {"population": 8, "tournament": 2},
    seed=5,
    reward=Reward(-0.2, 150.0),
    task={"proxy": "digits", "profile": "pixel1-published"},
)
RESULT = Attempt(Score(0.25, 170.0, 160.0, 181.0), "", 12.5, "host:7")
FAILURE = Attempt(None, "not covered", 0.5, "host:8")


def one_batch(path: Path, count: int = 3) -> tuple[Study, tuple[Trial, ...]]:
    study = Study(path, PLAN)
    return study, study.propose(PLAN.new_controller(), count)


def test_what_is_stored_comes_back(tmp_path: Path) -> None:
    study, batch = one_batch(tmp_path / "s.db")
    study.end(batch[0], RESULT)
    study.end(batch[1], FAILURE)
    study.end(batch[2], RESULT, reused_from=0)
    study.close()
    with Study(tmp_path / "s.db") as opened:
        assert opened.plan == PLAN
        first, second, third = opened.trials()
        assert opened.latest(2) == (second, third)
        assert len(opened) == 3
    reward = 0.25 * (170 / 150) ** -0.2
    assert first == replace(
        batch[0],
        status="finished",
        evaluation=RESULT.evaluation,
        reward=pytest.approx(reward),
        seconds=12.5,
        worker="host:7",
    )
    assert (second.status, second.reason, second.evaluation, second.reward) == (
        "failed",
        "not covered",
        None,
        None,
    )
    assert third.reused_from == 0
    assert third.reward == first.reward


def test_trials_hold_the_canonical_cell_of_their_choices_and_a_seed_of_their_own(
    tmp_path: Path,
) -> None:
    study, batch = one_batch(tmp_path / "s.db", 5)
    with study:
        for trial in batch:
            assert trial.cell == canonical(PLAN.space.decode(trial.choices))
            assert trial.seed == PLAN.trial_seed(trial.number)
    assert len({trial.seed for trial in batch}) == 5
    assert replace(PLAN, seed=6).trial_seed(0) != PLAN.trial_seed(0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"space": search_space("mnasfpn", 2)}, "begun with space no-expand, asked for mnasfpn"),
        ({"space": search_space("no-expand", 3)}, "repeats=2.*asked for.*repeats=3"),
        (
            {"space": SearchSpace(Space("no-expand", kernels=(3,), expansions=()), 2)},
            r"kernels=\(3, 5, 7\).*asked for.*kernels=\(3,\)",
        ),
        ({"controller": "ppo"}, "begun with controller evolution, asked for ppo"),
        ({"settings": {}}, "begun with settings"),
        ({"seed": 6}, "begun with seed 5, asked for 6"),
        ({"reward": Reward()}, "begun with reward"),
        ({"task": {"proxy": "coco"}}, "begun with task.*digits.*asked for.*coco"),
    ],
)
def test_a_study_of_another_plan_is_refused(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    one_batch(tmp_path / "s.db")[0].close()
    with pytest.raises(InvalidInput, match=message):
        Study(tmp_path / "s.db", replace(PLAN, **change))


def sql(path: Path, statement: str) -> None:
    database = sqlite3.connect(path)
    with database:
        database.execute(statement)
    database.close()


def test_files_that_are_no_study(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"none\.db: no such study"):
        Study(tmp_path / "none.db")
    text = tmp_path / "text.db"
    text.write_text("number,map\n" * 200)
    for plan in (None, PLAN):
        with pytest.raises(InvalidInput, match=r"text\.db is not a study, or is damaged"):
            Study(text, plan)
    other = tmp_path / "other.db"
    sql(other, "CREATE TABLE trial (number INTEGER)")
    for plan in (None, PLAN):
        with pytest.raises(InvalidInput, match="SQLite file of something else, not a study"):
            Study(other, plan)
    empty = tmp_path / "empty.db"
    empty.touch()
    with pytest.raises(InvalidInput, match="SQLite file of something else, not a study"):
        Study(empty)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("PRAGMA user_version = 9", "has study schema 9, this version reads 1"),
        ("DELETE FROM plan", "the stored plan is damaged"),
        ("UPDATE plan SET plan = '{}'", "plan is damaged: .*missing required field `space`"),
        ("UPDATE trial SET cell = '{'", "trial 0: "),
        ("UPDATE trial SET choices = '[1,'", "trial 0: the stored trial is damaged"),
        ("UPDATE trial SET status = 'finished'", "trial 0: the stored trial is damaged"),
        ("DROP TABLE trial", "no such table"),
    ],
)
def test_damaged_studies_are_named(tmp_path: Path, statement: str, message: str) -> None:
    path = tmp_path / "s.db"
    one_batch(path)[0].close()
    sql(path, statement)
    with pytest.raises((InvalidInput, JobFailed), match=message), Study(path) as study:
        study.trials()


def test_a_damaged_controller_state_is_refused(tmp_path: Path) -> None:
    one_batch(tmp_path / "s.db")[0].close()
    sql(tmp_path / "s.db", "UPDATE controller SET state = x'504b03'")
    with Study(tmp_path / "s.db") as study, pytest.raises(InvalidInput, match="cannot be read"):
        study.restore(PLAN.new_controller())


def test_two_processes_on_one_study_are_noticed(tmp_path: Path) -> None:
    one, batch = one_batch(tmp_path / "s.db")
    with one, Study(tmp_path / "s.db", PLAN) as other:
        other.end(batch[0], RESULT)
        with pytest.raises(JobFailed, match="another process is running the study"):
            one.end(batch[0], RESULT)


def test_a_proposal_is_stored_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    study, _ = one_batch(tmp_path / "s.db")
    sql(
        tmp_path / "s.db",
        "CREATE TRIGGER stop BEFORE INSERT ON trial WHEN NEW.number = 5 "
        "BEGIN SELECT raise(ABORT, 'enough'); END",
    )
    with study:
        controller = PLAN.new_controller()
        study.restore(controller)
        before = controller.state().to_bytes()
        with pytest.raises(InvalidInput, match="enough"):
            study.propose(controller, 3)
        assert len(study) == 3
        again = PLAN.new_controller()
        study.restore(again)
        assert again.state().to_bytes() == before


def test_a_full_disk_stops_with_one_line_and_keeps_what_is_stored(tmp_path: Path) -> None:
    """A real process whose files may not grow any further."""
    path = tmp_path / "s.db"
    program = f"""
        import resource, signal
        from pathlib import Path
        from mnasfpn.errors import JobFailed
        from mnasfpn.search.loop import run_search
        from mnasfpn.search.scoring import Score
        from mnasfpn.search.search_space import search_space
        from mnasfpn.search.study import Study, StudyPlan

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))
        plan = StudyPlan(search_space("mnasfpn"), "random")
        try:
            with Study({str(path)!r}, plan) as study:
                run_search(study, plan.new_controller(),
                           lambda cell, seed: Score(0.5, 100.0, 90.0, 110.0), 100_000)
        except JobFailed as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(f"cannot use the study {path}: "), done
    assert done.stdout.count("\n") == 1
    with Study(path) as study:
        assert study.trials("finished")
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 150_000  # only there


def test_finished_like_is_the_first_finished_one(tmp_path: Path) -> None:
    study, batch = one_batch(tmp_path / "s.db")
    with study:
        assert study.finished_like(batch[0].cell) is None
        study.end(batch[0], FAILURE)
        assert study.finished_like(batch[0].cell) is None
        ended = study.end(batch[1], RESULT)
        assert study.finished_like(batch[1].cell) == ended
