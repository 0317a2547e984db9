"""What one trial finds out about a cell, and how it is put together from two callables."""

from __future__ import annotations

import math
import os
import socket
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ..errors import InvalidInput, MnasFpnError, NotCovered
from ..latency.estimate.estimate import LatencyEstimate
from ..models.detector import Detector
from ..models.graph.graph import Graph
from ..models.heads.cell import Cell


@dataclass(frozen=True, slots=True)
class Score:
    """Result of one trial.

    Args:
        mean_ap: mAP of the proxy task, 0 to 1.
        latency_ms: of the whole detector, with the interval low_ms to high_ms.
    """

    mean_ap: float
    latency_ms: float
    low_ms: float
    high_ms: float

    def __post_init__(self) -> None:
        if not 0 <= self.mean_ap <= 1:
            raise InvalidInput(f"mAP must be between 0 and 1, got {self.mean_ap}")
        if not 0 < self.latency_ms < math.inf:
            raise InvalidInput(f"latency must be positive and finite ms, got {self.latency_ms}")
        if not self.low_ms <= self.latency_ms <= self.high_ms:
            raise InvalidInput(
                f"latency {self.latency_ms} ms must lie in its interval, "
                f"got {self.low_ms} to {self.high_ms} ms"
            )


class Scorer(Protocol):
    """Anything that turns a cell and a seed into a Score; it may raise."""

    def __call__(self, cell: Cell, seed: int, /) -> Score: ...


@dataclass(frozen=True)
class DetectorScorer:
    """Latency from an estimator, mAP from a proxy task.

    Latency comes first: it is cheap, and a cell that the profile does not cover is not trained.

    Args:
        detector: puts a cell between a backbone and a predictor; its latency counts.
        train_and_score: mAP, 0 to 1, of that detector, or of a smaller one around the same cell,
            trained from a seed.
        estimate: latency of a pruned graph.
    """

    detector: Callable[[Cell], Detector]
    train_and_score: Callable[[Cell, int], float]
    estimate: Callable[[Graph], LatencyEstimate]

    def __call__(self, cell: Cell, seed: int, /) -> Score:
        latency = self.estimate(self.detector(cell).graph())
        if latency.uncovered:
            raise NotCovered(
                f"the latency lacks {len(latency.uncovered)} kernels that the profile knows "
                f"nothing about, first {latency.uncovered[0]!r}"
            )
        mean_ap = self.train_and_score(cell, seed)
        return Score(mean_ap, latency.latency_ms, latency.low_ms, latency.high_ms)


@dataclass(frozen=True, slots=True)
class Attempt:
    """How a trial went: a score, or the reason why there is none."""

    score: Score | None
    reason: str
    seconds: float
    worker: str


def attempt(scorer: Scorer, cell: Cell, seed: int) -> Attempt:
    """Score a cell; whatever goes wrong becomes the trial's reason, with its place in the code
    unless it is an error meant for people."""
    started = time.perf_counter()
    score, reason = None, ""
    try:
        score = scorer(cell, seed)
    except MnasFpnError as error:
        reason = str(error)
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        reason = f"{type(error).__name__}: {error} ({place.filename}, line {place.lineno})"
    return Attempt(score, reason, time.perf_counter() - started, worker_name())


def worker_name() -> str:
    """Of this process, unique among those that work on a study at one time."""
    return f"{socket.gethostname()}:{os.getpid()}"
