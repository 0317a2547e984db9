"""What mAP and latency mean in a search for detectors: the task that a study is begun with."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import msgspec

from ..errors import InvalidInput
from ..models.data.digits import DigitsSettings
from ..models.published import published
from .proxy.proxy_scorer import ProxyScorer
from .proxy.proxy_settings import ProxySettings
from .study import StudyPlan

DIGITS = "digits"
DETECTOR = "mobilenetv2-mnasfpn"  # backbone and predictor of what would ship
NESTED = ("proxy_settings", "digits_settings")  # JSON, in a plan that is JSON itself


@dataclass(frozen=True)
class DetectorTask:
    """A study's :attr:`~.study.StudyPlan.task`, which holds these fields as text.

    Args:
        profile: file or bundled name; latencies are its estimates.
        profile_sha256: of its content.
        detector: published name; its head is what is searched.
        task: ``digits``, which is generated, or the dataset's folder.
        dataset: folder in COCO's layout.
        proxy: folder of the prepared proxy task, which has these settings.
        digits_settings: how the digits are generated.
    """

    profile: str
    profile_sha256: str
    detector: str
    task: str
    dataset: Path
    proxy: Path
    proxy_settings: ProxySettings
    digits_settings: DigitsSettings

    def to_text(self) -> dict[str, str]:
        """As a study's plan keeps it."""
        return {one.name: _text(getattr(self, one.name)) for one in fields(self)}

    @classmethod
    def of(cls, plan: StudyPlan) -> DetectorTask:
        """The task of a study.

        Raises:
            InvalidInput: the study does not search for detectors.
        """
        try:
            nested = {name: msgspec.json.decode(plan.task[name]) for name in NESTED}
            return msgspec.convert({**plan.task, **nested}, cls, dec_hook=_path)
        except (KeyError, msgspec.MsgspecError) as error:
            raise InvalidInput(
                f"the study's task is not one of a search for detectors ({error}); give a study "
                "that `mnasfpn search` made"
            ) from None


def _text(value: object) -> str:
    return str(value) if isinstance(value, str | Path) else msgspec.json.encode(value).decode()


def _path(kind: type[Path], text: str) -> Path:
    return kind(text)


def scorer(plan: StudyPlan, profile: str | None = None) -> ProxyScorer:
    """What the trials of a study do.

    Args:
        profile: instead of the study's own.
    """
    task = DetectorTask.of(plan)
    detector = published(task.detector)
    return ProxyScorer(
        profile or task.profile, task.dataset, task.proxy, detector, task.proxy_settings
    )
