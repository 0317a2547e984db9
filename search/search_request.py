"""What a person asks of a search, and the plan that it makes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..errors import InvalidInput, NotCovered
from ..latency.estimate.estimate import Estimator
from ..latency.profile.device_profile import DeviceProfile, to_json
from ..latency.profiles import open_profile
from ..models.data.digits import DigitsSettings
from ..models.published import published
from .detector_task import DETECTOR, DIGITS, DetectorTask
from .proxy.proxy_settings import ProxySettings
from .reward import PAPER_EXPONENT, Reward
from .search_space import SearchSpace, search_space
from .study import StudyPlan

COVERAGE_CELLS = 16  # random cells of a space on which a profile is tried before a search


@dataclass(frozen=True)
class SearchRequest:
    """What a person asks for: the options of ``mnasfpn search``, and the sizes of its proxy task.

    Args:
        profile: file or bundled name.
        study: the study's file, continued if there. What is prepared for it lies beside it, so
            that studies in one folder share a proxy task.
        space, controller: by name.
        task: ``digits``, which is generated, or a folder in COCO's layout.
        samples: trials in all.
        workers: processes that train.
        repeats: cells of the detector whose latency is estimated.
        exponent: w of mAP x LAT^w.
        batch: trials between two updates of the controller; None for its own number.
        proxy, digits: settings of the proxy task, and how digits are generated.
    """

    profile: str
    study: Path
    space: str = "mnasfpn"
    controller: str = "ppo"
    task: str = DIGITS
    samples: int = 100
    workers: int = 1
    repeats: int = 3
    exponent: float = PAPER_EXPONENT
    seed: int = 0
    batch: int | None = None
    proxy: ProxySettings = ProxySettings()  # noqa: RUF009 - frozen
    digits: DigitsSettings = DigitsSettings()  # noqa: RUF009 - frozen


def study_plan(asked: SearchRequest) -> StudyPlan:
    """What a search will do, checked before anything is prepared.

    Raises:
        InvalidInput, InvalidProfile, NotCovered: something that the search would stumble over,
            such as a profile without the space's kernels.
    """
    profile = open_profile(asked.profile)
    space = search_space(asked.space, asked.repeats)
    _require_coverage(profile, space)
    dataset = asked.study.with_name(DIGITS) if asked.task == DIGITS else Path(asked.task)
    task = DetectorTask(
        profile=asked.profile,
        profile_sha256=hashlib.sha256(to_json(profile).encode()).hexdigest(),
        detector=DETECTOR,
        task=asked.task,
        dataset=dataset,
        proxy=asked.study.with_name(f"proxy-{dataset.name}"),
        proxy_settings=asked.proxy,
        digits_settings=asked.digits,
    )
    return StudyPlan(
        space=space,
        controller=asked.controller,
        settings={} if asked.batch is None else {"batch": asked.batch},
        seed=asked.seed,
        reward=Reward(exponent=asked.exponent),
        task=task.to_text(),
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
