"""What a trial of the ordinary search does: latency from a profile, mAP from a proxy task.

Worker processes get this as a value of paths and settings; what they name is opened once in each.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from pathlib import Path

from ...latency.estimate.estimate import Estimator
from ...latency.profiles import open_profile
from ...models.detector import Detector
from ...models.heads.cell import Cell
from ..scoring import DetectorScorer, Score
from .preparation import prepare_proxy
from .proxy_settings import ProxySettings
from .task import ProxyTask


@dataclass(frozen=True)
class ProxyScorer:
    """Scores a cell; a :class:`~..scoring.Scorer`.

    The paper's way: accuracy is that of a small detector on a small task, latency that of the whole
    detector that would ship.

    Args:
        profile: file or bundled name.
        dataset: in COCO's layout.
        proxy: folder of the prepared proxy task, which has these settings.
        detector: whose head is replaced by the cell for the latency.
    """

    profile: str
    dataset: Path
    proxy: Path
    detector: Detector
    settings: ProxySettings = ProxySettings()  # noqa: RUF009 - frozen

    def __call__(self, cell: Cell, seed: int, /) -> Score:
        estimate = _estimator(self.profile).estimate
        return DetectorScorer(self.whole, self._train_and_score, estimate)(cell, seed)

    def _train_and_score(self, cell: Cell, seed: int) -> float:
        task = _task(self.dataset, self.proxy, self.settings)
        return task.train_and_score(cell, seed).map

    def whole(self, cell: Cell) -> Detector:
        """The detector that would ship with this cell."""
        return replace(self.detector, head=cell)

    def latency_ms(self, cell: Cell) -> float:
        """Estimated latency of the detector around a cell."""
        return _estimator(self.profile).estimate(self.whole(cell).graph()).latency_ms


@functools.cache
def _estimator(profile: str) -> Estimator:
    return Estimator(open_profile(profile))


@functools.cache
def _task(dataset: Path, proxy: Path, settings: ProxySettings) -> ProxyTask:
    return prepare_proxy(dataset, proxy, settings)
