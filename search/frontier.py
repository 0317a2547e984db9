"""What a study found: its Pareto frontier, and the best trial at a latency."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

from ..errors import InvalidInput
from ..models.heads.cell import Cell
from .pareto import non_dominated
from .scoring import Score
from .study import Trial

# Paper section 4.2: the best models are taken at these simulated latencies.
PAPER_LATENCIES_MS = (166.0, 173.0, 180.0)


@dataclass(frozen=True, slots=True)
class FrontierRow:
    """One line of a printed frontier."""

    trial: int
    mean_ap: float
    latency_ms: float
    low_ms: float
    high_ms: float
    reward: float
    seconds: float

    HEADINGS = ("trial", "mAP", "latency ms", "interval ms", "reward", "seconds")

    def cells(self) -> tuple[str, ...]:
        """Printed values, one for each heading."""
        return (
            str(self.trial),
            f"{self.mean_ap:.4f}",
            f"{self.latency_ms:.2f}",
            f"{self.low_ms:.2f} to {self.high_ms:.2f}",
            f"{self.reward:.4f}",
            f"{self.seconds:.1f}",
        )

    def to_json(self) -> dict[str, float]:
        """Field names -> values."""
        return {one.name: getattr(self, one.name) for one in fields(self)}


def frontier(trials: Sequence[Trial]) -> tuple[Trial, ...]:
    """Finished trials that no other one beats in mAP and latency, fastest first.

    A cell that was found more than once is there once, as its first trial.
    """
    first_of_cell: dict[Cell, Trial] = {}
    for trial in trials:
        if trial.score is not None:
            first_of_cell.setdefault(trial.cell, trial)
    known = list(first_of_cell.values())
    scores = [_score(trial) for trial in known]
    kept = non_dominated([s.latency_ms for s in scores], [s.mean_ap for s in scores])
    return tuple(known[index] for index in kept)


def rows(trials: Sequence[Trial]) -> list[FrontierRow]:
    """Finished trials as lines of a table."""
    return [
        FrontierRow(
            trial.number,
            score.mean_ap,
            score.latency_ms,
            score.low_ms,
            score.high_ms,
            math.nan if trial.reward is None else trial.reward,
            trial.seconds,
        )
        for trial in trials
        if (score := trial.score) is not None
    ]


def best_at(trials: Sequence[Trial], budget_ms: float) -> Trial:
    """The trial of highest mAP that takes at most so long; of equals, the fastest.

    Raises:
        InvalidInput: no finished trial is that fast.
    """
    ahead = frontier(trials)
    affordable = [trial for trial in ahead if _score(trial).latency_ms <= budget_ms]
    if not affordable:
        fastest = f"{_score(ahead[0]).latency_ms:.2f} ms" if ahead else "nothing"
        raise InvalidInput(
            f"no model of the study takes at most {budget_ms:g} ms; its fastest takes {fastest}"
        )
    top = max(_score(trial).mean_ap for trial in affordable)
    return next(trial for trial in affordable if _score(trial).mean_ap == top)


def even_budgets(trials: Sequence[Trial], count: int = len(PAPER_LATENCIES_MS)) -> list[float]:
    """Latencies of so many models spread evenly over the frontier, for a study of another phone
    than the paper's."""
    if count < 1:
        raise InvalidInput(f"at least one budget is needed, got {count}")
    latencies = [_score(trial).latency_ms for trial in frontier(trials)]
    if not latencies:
        raise InvalidInput("the study has no finished trial yet")
    last = len(latencies) - 1
    places = {round(last * (i + 1) / count) for i in range(count)}
    return [latencies[place] for place in sorted(places)]


def _score(trial: Trial) -> Score:
    assert trial.score is not None
    return trial.score
