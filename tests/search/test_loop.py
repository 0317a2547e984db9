"""The search loop: exact, resumable after real kills, one result for the same cell."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from mnasfpn.errors import InvalidInput, JobFailed, NotCovered
from mnasfpn.models.heads.cell import Cell
from mnasfpn.search.loop import run_search
from mnasfpn.search.scoring import Score
from mnasfpn.search.study import Study, StudyPlan, Trial

PROGRAM = Path(__file__).with_name("synthetic_search.py")
sys.path.insert(0, str(PROGRAM.parent))  # so that processes of their own find it, too
import synthetic_search as synthetic  # noqa: E402

SAMPLES = 20


def score(cell: Cell, seed: int) -> Score:
    result: Score = synthetic.made_up(cell)
    return result


def search(
    path: Path, plan: StudyPlan | None = None, samples: int = SAMPLES, **options: object
) -> tuple[Trial, ...]:
    plan = plan or synthetic.plan()
    with Study(path, plan) as study:
        run_search(study, plan.new_controller(), options.pop("scorer", score), samples, **options)
        return study.trials()


def same_search(trials: tuple[Trial, ...]) -> list[object]:
    """What must not depend on workers, interruptions and clocks."""
    return [(t.number, t.choices, t.cell, t.seed, t.score, t.reward) for t in trials]


def start(
    study: Path, log: Path, workers: int, seconds: float, controller: str = "evolution"
) -> subprocess.Popen[bytes]:
    arguments = [str(study), str(log), str(SAMPLES), str(workers), str(seconds), controller]
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def lines(log: Path, kind: str) -> list[list[str]]:
    text = log.read_text() if log.exists() else ""
    return [line.split() for line in text.splitlines() if line.startswith(kind)]


def wait_for(log: Path, kind: str, count: int, process: subprocess.Popen) -> None:
    while len(lines(log, kind)) < count:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize("controller", ["ppo", "evolution", "random"])
def test_a_search_in_pieces_is_the_same_search(tmp_path: Path, controller: str) -> None:
    plan = synthetic.plan(controller)
    for samples in (6, 18, 24):  # multiples of the batch
        pieces = search(tmp_path / "pieces.db", plan, samples)
    assert same_search(pieces) == same_search(search(tmp_path / "whole.db", plan, 24))
    assert len(pieces) == 24
    assert all(trial.status == "finished" for trial in pieces)


def test_rewards_follow_the_plan(tmp_path: Path) -> None:
    for trial in search(tmp_path / "s.db", samples=5):
        result = trial.score
        assert result is not None
        assert trial.reward == pytest.approx(result.mean_ap * result.latency_ms**-0.3)


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "controller"), [(1, "ppo"), (2, "evolution")])
def test_a_killed_search_loses_and_repeats_no_finished_trial(
    tmp_path: Path, workers: int, controller: str
) -> None:
    study, log = tmp_path / "s.db", tmp_path / "log"
    for stored in (4, 11):  # the first kill in the first batch, the second in a later one
        process = start(study, log, workers, 0.02, controller)
        wait_for(log, "stored", stored, process)
        process.kill()
        process.wait()
    begun_when_killed = len(lines(log, "begin"))
    for _, pid, _ in lines(log, "begin"):  # its workers end with it
        while alive(int(pid)):
            time.sleep(0.01)
    process = start(study, log, workers, 0.0, controller)
    assert process.wait() == 0, process.communicate()
    with Study(study) as opened:
        trials = opened.trials()
    assert same_search(trials) == same_search(
        search(tmp_path / "whole.db", synthetic.plan(controller))
    )
    begun = Counter(seed for _, _, seed in lines(log, "begin"))
    # A trial may begin again only if it was under way at one of the two kills.
    assert sum(begun.values()) - len(begun) <= 2 * workers
    assert begun_when_killed < sum(begun.values())
    assert len(trials) == SAMPLES


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_finishes_and_stores_what_is_under_way(tmp_path: Path, workers: int) -> None:
    study, log = tmp_path / "s.db", tmp_path / "log"
    hold = tmp_path / "log.hold"
    hold.touch()
    process = start(study, log, workers, 0.0)
    wait_for(log, "begin", workers, process)
    process.send_signal(signal.SIGINT)
    hold.unlink()
    _, errors = process.communicate()
    assert process.returncode == 130
    assert errors == b""  # no traceback, of no process
    with Study(study) as opened:
        finished = opened.trials("finished")
    assert len(finished) == len(lines(log, "begin")) == workers
    assert lines(log, "interrupted")


def test_a_second_ctrl_c_gives_up_what_is_under_way(tmp_path: Path) -> None:
    study, log = tmp_path / "s.db", tmp_path / "log"
    process = start(study, log, 2, 600.0)
    wait_for(log, "begin", 2, process)
    process.send_signal(signal.SIGINT)
    time.sleep(1)  # two signals at a time are one
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode == 130
    assert not any(alive(int(pid)) for _, pid, _ in lines(log, "begin"))
    with Study(study) as opened:
        assert {trial.status for trial in opened.trials()} == {"pending"}


def test_the_number_of_workers_changes_nothing(tmp_path: Path) -> None:
    quick = synthetic.LoggedScorer(str(tmp_path / "log"), 0.0)
    two = search(tmp_path / "two.db", scorer=quick, workers=2)
    assert same_search(two) == same_search(search(tmp_path / "one.db"))
    assert len({trial.worker for trial in two}) <= 2
    assert not any(trial.worker.endswith(f":{os.getpid()}") for trial in two)


def test_a_worker_that_dies_takes_only_its_own_trial_with_it(tmp_path: Path) -> None:
    doomed = synthetic.plan().trial_seed(2)
    always = synthetic.KillsItsProcess(doomed, str(tmp_path / "log"), deaths=99)
    trials = search(tmp_path / "always.db", scorer=always, workers=2)
    assert [trial.number for trial in trials if trial.status == "failed"] == [2]
    assert "the worker process died 2 times, last with exit code -9" in trials[2].reason


def test_a_worker_that_dies_once_changes_nothing(tmp_path: Path) -> None:
    doomed = synthetic.plan().trial_seed(2)
    once = synthetic.KillsItsProcess(doomed, str(tmp_path / "log"), deaths=1)
    trials = search(tmp_path / "once.db", scorer=once, workers=2)
    assert same_search(trials) == same_search(search(tmp_path / "whole.db"))


def test_what_cannot_be_sent_to_a_process_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="can be sent to a process"):
        search(tmp_path / "s.db", scorer=lambda cell, seed: score(cell, seed), workers=2)


def test_failures_are_recorded_with_their_reason_and_teach_nothing(tmp_path: Path) -> None:
    def sometimes(cell: Cell, seed: int) -> Score:
        if seed % 3 == 0:
            raise NotCovered("no kernel for 17x17")
        if seed % 3 == 1:
            return replace(score(cell, seed), mean_ap=float("nan"))
        return score(cell, seed)

    trials = search(tmp_path / "s.db", scorer=sometimes)
    for trial in trials:
        reason = ["no kernel for 17x17", "mAP must be between 0 and 1, got nan", ""][trial.seed % 3]
        assert trial.reason == reason
        assert trial.status == ("failed" if reason else "finished")
        assert (trial.score is None) == (trial.reward is None) == bool(reason)


def test_an_unforeseen_failure_says_where(tmp_path: Path) -> None:
    def broken(cell: Cell, seed: int) -> Score:
        if seed % 2:
            raise ZeroDivisionError("by hand")
        return score(cell, seed)

    reasons = {trial.reason for trial in search(tmp_path / "s.db", scorer=broken)} - {""}
    assert len(reasons) == 1
    assert "ZeroDivisionError: by hand" in (reason := reasons.pop())
    assert "test_loop.py, line" in reason


def test_failures_alone_stop_the_search_and_run_again(tmp_path: Path) -> None:
    def broken(cell: Cell, seed: int) -> Score:
        raise NotCovered("the data set is not there")

    with pytest.raises(JobFailed, match=r"last 8 trials failed.* the data set is not there"):
        search(tmp_path / "s.db", scorer=broken)
    repaired = search(tmp_path / "s.db")
    assert [trial.status for trial in repaired] == ["failed"] * 6 + ["finished"] * 14


def test_failures_of_a_short_search_stop_it_too(tmp_path: Path) -> None:
    def broken(cell: Cell, seed: int) -> Score:
        raise NotCovered("the data set is not there")

    for _ in range(2):  # also when tried again
        with pytest.raises(JobFailed, match="last 3 trials failed"):
            search(tmp_path / "s.db", scorer=broken, samples=3)
    repaired = search(tmp_path / "s.db", samples=3)
    assert same_search(repaired) == same_search(search(tmp_path / "whole.db", samples=3))


def test_the_same_cell_is_scored_once(tmp_path: Path) -> None:
    """Blocks that no output uses make no other cell."""
    plan = synthetic.plan("random")
    seen: list[Cell] = []

    class Again:
        """Proposes the first batch of random search three times over, once with itself."""

        name, batch, decisions = "random", 6, plan.space.decisions

        def __init__(self) -> None:
            self.inner = plan.new_controller()
            self.first = self.inner.propose(3) * 2
            self.rewards: list[float | None] = []

        def propose(self, count):
            return self.first[:count]

        def feedback(self, candidate, reward) -> None:
            self.rewards.append(reward)

        def state(self):
            return self.inner.state()

        def restore(self, state) -> None: ...

    def counted(cell: Cell, seed: int) -> Score:
        seen.append(cell)
        return score(cell, seed)

    controller = Again()
    with Study(tmp_path / "s.db", plan) as study:
        run_search(study, controller, counted, 18)
        trials = study.trials()
    assert len(seen) == len(set(seen)) == 3
    assert [trial.reused_from for trial in trials] == [None] * 3 + [0, 1, 2] * 5
    assert controller.rewards == [trial.reward for trial in trials[:3]] * 6


def test_every_trial_is_heard_of_after_it_is_stored(tmp_path: Path) -> None:
    path, heard = tmp_path / "s.db", []

    def ended(trial: Trial) -> None:
        with Study(path) as other:
            assert trial in other.trials("finished")
        heard.append(trial.number)

    search(path, ended=ended)
    assert sorted(heard) == list(range(SAMPLES))


def test_a_search_in_a_thread_needs_no_signals(tmp_path: Path) -> None:
    found: list[int] = []

    def target() -> None:
        found.append(len(search(tmp_path / "s.db", samples=3)))

    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    assert found == [3]


@pytest.mark.parametrize(("samples", "workers"), [(0, 1), (3, 0)])
def test_impossible_numbers_are_refused(tmp_path: Path, samples: int, workers: int) -> None:
    with pytest.raises(InvalidInput, match="at least 1 "):
        search(tmp_path / "s.db", samples=samples, workers=workers)
