"""The search: propose, score, feed back, and never lose what is finished."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

from ..errors import InvalidInput, JobFailed
from ..storage.interruption import ctrl_c_held_back
from .controllers.base import Controller
from .scoring import Attempt, Scorer
from .study import Study, Trial
from .workers import TrialJob, Workers, local_workers

HOPELESS = 8  # so many trials failed in a row: it is not the cells


def run_search(
    study: Study,
    controller: Controller,
    scorer: Scorer | Workers,
    samples: int,
    workers: int = 1,
    ended: Callable[[Trial], None] | None = None,
) -> None:
    """Search until a study has so many trials. A study begun before goes on where it stopped.

    Batches make it exact: the trials of a batch may end in any order, but the controller hears of
    them in the order of proposal once all are stored. So the number of workers changes nothing but
    the time, and neither does a ``kill -9``.

    Args:
        study: where everything is kept.
        controller: ``study.plan.new_controller()``; the study brings it up to date.
        scorer: score of one cell from a seed; may raise, then the trial has failed. Or workers of
            another kind that are ready to run.
        samples: trials in all, failed ones and repeated cells included.
        workers: processes that score.
        ended: called with every trial that ends, after it is stored.

    Raises:
        JobFailed: the last ``HOPELESS`` trials failed, so that going on is pointless. Those of the
            last batch run again when the search is started again.
        KeyboardInterrupt: Ctrl-C; the trials under way were finished and stored. A second Ctrl-C
            gives them up; they run again later.
    """
    if samples < 1:
        raise InvalidInput(f"a search needs at least 1 sample, got {samples}")
    study.restore(controller)
    _revive(study)
    crew = local_workers(scorer, workers) if callable(scorer) else scorer
    with crew, ctrl_c_held_back(presses=1) as stop:
        while True:
            for trial in _finish_batch(study, crew, stop):
                if ended is not None:
                    ended(trial)
            if stop.is_set():
                raise KeyboardInterrupt
            _require_hope(study.latest(HOPELESS), samples)
            for trial in study.open_batch():
                controller.feedback(trial.choices, trial.reward)
            missing = samples - len(study)
            if missing <= 0:
                return
            study.propose(controller, min(controller.batch, missing))


def _finish_batch(study: Study, crew: Workers, stop: threading.Event) -> Iterator[Trial]:
    """Score what is pending, each cell once; yields the trials that ended."""
    twins: dict[int, list[Trial]] = {}  # number of the trial that is scored -> all of its cell
    first: dict[object, int] = {}
    jobs = []
    for trial in study.open_batch():
        if trial.status != "pending":
            continue
        earlier = study.finished_like(trial.cell)
        if earlier is not None:
            yield _reuse(study, trial, earlier)
        elif trial.cell in first:
            twins[first[trial.cell]].append(trial)
        else:
            first[trial.cell] = trial.number
            twins[trial.number] = [trial]
            jobs.append(TrialJob(trial.number, trial.cell, trial.seed))
    for job, result in crew.run(jobs, stop):
        scored, *others = twins[job.number]
        ended = study.end(scored, result)
        yield ended
        for other in others:
            yield _reuse(study, other, ended)


def _reuse(study: Study, trial: Trial, earlier: Trial) -> Trial:
    result = Attempt(earlier.score, earlier.reason, 0.0, earlier.worker)
    return study.end(trial, result, reused_from=earlier.number)


def _require_hope(latest: tuple[Trial, ...], samples: int) -> None:
    enough = min(HOPELESS, samples)
    if len(latest) >= enough and all(trial.status == "failed" for trial in latest):
        raise JobFailed(
            f"the last {len(latest)} trials failed, the last one because: {latest[-1].reason}. "
            "Correct the cause and run the search again; nothing is lost"
        )


def _revive(study: Study) -> None:
    """Failures that stopped the search run again: their cause may have been corrected."""
    latest = study.latest(HOPELESS)
    if all(trial.status == "failed" for trial in latest):
        study.try_again([trial for trial in study.open_batch() if trial.status == "failed"])
