"""A search from what a person asks for: plan, proxy task, trials, finalists."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np

from ..errors import InvalidInput, NotCovered
from ..latency.estimate.estimate import Estimator
from ..latency.profile.device_profile import DeviceProfile, to_json
from ..latency.profiles import open_profile
from ..models.data.digits import DigitsSettings, write_digits
from ..models.detector import default_detector
from ..models.model_files import save
from ..models.published import published
from ..storage.atomic import write_atomically
from . import frontier as frontiers
from .frontier import Finalist, FrontierRow
from .loop import run_search
from .proxy.proxy_scorer import ProxyScorer
from .proxy.task import ProxySettings, prepare_proxy
from .reward import Reward
from .search_space import SearchSpace, search_space
from .study import Study, StudyPlan, Trial

Progress = Callable[[int, int, str], None]

DIGITS = "digits"
DETECTOR = "mobilenetv2-mnasfpn"  # backbone and predictor of what would ship
COVERAGE_CELLS = 16  # random cells of a space on which a profile is tried before a search


def search_plan(
    space: str,
    controller: str,
    profile: str,
    task: str,
    repeats: int,
    exponent: float,
    seed: int,
    study: Path,
    settings: ProxySettings | None = None,
    digits: DigitsSettings | None = None,
    batch: int | None = None,
) -> StudyPlan:
    """What a search will do, checked before anything is prepared.

    Args:
        task: ``digits``, which is generated beside the study, or a folder in COCO's layout.
            Studies in one folder share a prepared proxy task.
        settings: of the proxy task.
        digits: how they are generated.
        batch: trials between two updates of the controller; None for its own number.

    Raises:
        InvalidInput, InvalidProfile, NotCovered: something that the search would stumble over,
            such as a profile without the space's kernels.
    """
    fitted = open_profile(profile)
    searched = search_space(space, repeats)
    _require_coverage(fitted, searched)
    dataset = study.with_name(DIGITS) if task == DIGITS else Path(task)
    return StudyPlan(
        space=searched,
        controller=controller,
        settings={} if batch is None else {"batch": batch},
        seed=seed,
        reward=Reward(exponent=exponent),
        task={
            "profile": profile,
            "profile_sha256": hashlib.sha256(to_json(fitted).encode()).hexdigest(),
            "detector": DETECTOR,
            "task": task,
            "dataset": str(dataset),
            "proxy": str(study.with_name(f"proxy-{dataset.name}")),
            "proxy_settings": _json(settings or ProxySettings()),
            "digits_settings": _json(digits or DigitsSettings()),
        },
    )


def _require_coverage(profile: DeviceProfile, space: SearchSpace) -> None:
    """A profile must be able to estimate most cells of a space: trials of others fail, and teach
    the controller nothing."""
    estimator, detector = Estimator(profile), published(DETECTOR)
    reasons = []
    for cell in space.sample(np.random.default_rng(0), COVERAGE_CELLS):
        try:
            estimator.estimate(replace(detector, head=cell).graph())
        except NotCovered as error:
            reasons.append(str(error))
    if len(reasons) > COVERAGE_CELLS / 2:
        name = space.space.name
        raise InvalidInput(
            f"{len(reasons)} of {COVERAGE_CELLS} random cells of the space {name!r} have no "
            f"latency, one because {reasons[0].partition(';')[0]}; make a profile of the space "
            f"with `mnasfpn profile --space {name}`, or choose another --space"
        )


def search(
    study: Path, plan: StudyPlan, samples: int, workers: int, report: Progress
) -> list[FrontierRow]:
    """Run a search to its end; returns the frontier.

    Raises:
        JobFailed: too many trials in a row failed.
        KeyboardInterrupt: after storing what was finished.
    """
    dataset, proxy = Path(plan.task["dataset"]), Path(plan.task["proxy"])
    with Study(study, plan) as store:
        if plan.task["task"] == DIGITS:
            digits = msgspec.json.decode(plan.task["digits_settings"], type=DigitsSettings)
            write_digits(dataset, digits, lambda done, total: report(done, total, "images"))
        prepare_proxy(
            dataset,
            proxy,
            proxy_settings(plan),
            progress=lambda what, done, total: report(done, total, what),
        )

        def ended(trial: Trial) -> None:
            result = trial.evaluation
            what = trial.status if result is None else f"{result.mean_ap:.3f} mAP"
            report(trial.number + 1, samples, what)

        run_search(store, plan.new_controller(), evaluation(plan), samples, workers, progress=ended)
        return frontiers.rows(frontiers.frontier(store.trials()))


def evaluation(plan: StudyPlan, profile: str | None = None) -> ProxyScorer:
    """What the trials of a study do.

    Args:
        profile: instead of the study's own.
    """
    return ProxyScorer(
        profile or plan.task["profile"],
        Path(plan.task["dataset"]),
        Path(plan.task["proxy"]),
        published(plan.task["detector"]),
        proxy_settings(plan),
    )


def proxy_settings(plan: StudyPlan) -> ProxySettings:
    """Of the proxy task that a study's trials train on."""
    return msgspec.json.decode(plan.task["proxy_settings"], type=ProxySettings)


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def finalists(
    study: Path, budgets_ms: Sequence[float], repeats: Sequence[int], profile: str | None = None
) -> tuple[list[FrontierRow], list[Finalist]]:
    """The frontier of a stored study, and its best models at given latencies.

    Args:
        budgets_ms: empty for three spread over the frontier.
    """
    with Study(study) as store:
        trials, evaluate = store.trials(), evaluation(store.plan, profile)
    chosen = frontiers.finalists(
        trials,
        evaluate.latency_ms,
        budgets_ms or frontiers.even_budgets(trials),
        repeats,
    )
    return frontiers.rows(frontiers.frontier(trials)), chosen


def write_finalists(chosen: Sequence[Finalist], folder: Path) -> None:
    """A detector .json, and a drawing of its cell, for each finalist."""
    from ..models.drawing.svg import cell_svg

    folder.mkdir(parents=True, exist_ok=True)
    for item in chosen:
        name = f"trial{item.trial}-x{item.repeats}"
        save(default_detector(item.cell), folder / f"{name}.json")
        write_atomically(folder / f"{name}.svg", cell_svg(item.cell))
