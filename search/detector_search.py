"""A search for detectors, from its request to its frontier."""

from __future__ import annotations

from ..models.data.digits import write_digits
from ..progress import Progress
from .detector_task import DIGITS, DetectorTask, scorer
from .frontier import FrontierRow, frontier, rows
from .loop import run_search
from .proxy.preparation import prepare_proxy
from .search_request import SearchRequest, study_plan
from .study import Study, Trial


def search(asked: SearchRequest, progress: Progress) -> list[FrontierRow]:
    """Run a search to its end, from where it was stopped; returns the frontier.

    Raises:
        InvalidInput, InvalidProfile, NotCovered: see :func:`~.search_request.study_plan`.
        JobFailed: too many trials in a row failed.
        KeyboardInterrupt: after storing what was finished.
    """
    plan = study_plan(asked)
    with Study(asked.study, plan) as study:
        _prepare(DetectorTask.of(plan), progress)

        def ended(trial: Trial) -> None:
            what = trial.status if trial.score is None else f"{trial.score.mean_ap:.3f} mAP"
            progress(trial.number + 1, asked.samples, what)

        controller = plan.new_controller()
        run_search(study, controller, scorer(plan), asked.samples, asked.workers, ended)
        return rows(frontier(study.trials()))


def _prepare(task: DetectorTask, progress: Progress) -> None:
    """Dataset and proxy task, unless they are there."""
    if task.task == DIGITS:
        write_digits(task.dataset, task.digits_settings, progress)
    prepare_proxy(task.dataset, task.proxy, task.proxy_settings, progress=progress)
