"""What a study found: its Pareto frontier, and the cells to train in full."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

from ..errors import InvalidInput
from ..models.heads.cell import Cell
from .cells import with_repeats
from .pareto import non_dominated
from .scoring import Score
from .study import Trial

# Paper section 4.1: the best models at these simulated latencies, each with so many cells.
PAPER_LATENCIES_MS = (166.0, 173.0, 180.0)
PAPER_REPEATS = (3, 4, 5)


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


@dataclass(frozen=True, slots=True)
class Finalist:
    """A cell to train in full.

    Args:
        budgets_ms: the latencies at which it is the best.
        trial: that found it.
        cell: with the repeats it is to be trained with.
        latency_ms: of this cell with these repeats.
    """

    budgets_ms: tuple[float, ...]
    trial: int
    repeats: int
    cell: Cell
    latency_ms: float


def frontier(trials: Sequence[Trial]) -> tuple[Trial, ...]:
    """Finished trials that no other one beats in mAP and latency, fastest first.

    A cell that was found more than once is there once, as its first trial.
    """
    first_of_cell: dict[Cell, Trial] = {}
    for trial in trials:
        if trial.evaluation is not None:
            first_of_cell.setdefault(trial.cell, trial)
    known = list(first_of_cell.values())
    results = [_evaluation(trial) for trial in known]
    kept = non_dominated([r.latency_ms for r in results], [r.mean_ap for r in results])
    return tuple(known[index] for index in kept)


def rows(trials: Sequence[Trial]) -> list[FrontierRow]:
    """Finished trials as lines of a table."""
    return [
        FrontierRow(
            trial.number,
            result.mean_ap,
            result.latency_ms,
            result.low_ms,
            result.high_ms,
            math.nan if trial.reward is None else trial.reward,
            trial.seconds,
        )
        for trial in trials
        if (result := trial.evaluation) is not None
    ]


def best_at(trials: Sequence[Trial], budget_ms: float) -> Trial:
    """The trial of highest mAP that takes at most so long; of equals, the fastest.

    Raises:
        InvalidInput: no finished trial is that fast.
    """
    ahead = frontier(trials)
    affordable = [trial for trial in ahead if _evaluation(trial).latency_ms <= budget_ms]
    if not affordable:
        fastest = f"{_evaluation(ahead[0]).latency_ms:.2f} ms" if ahead else "nothing"
        raise InvalidInput(
            f"no model of the study takes at most {budget_ms:g} ms; its fastest takes {fastest}"
        )
    top = max(_evaluation(trial).mean_ap for trial in affordable)
    return next(trial for trial in affordable if _evaluation(trial).mean_ap == top)


def even_budgets(trials: Sequence[Trial], count: int = len(PAPER_LATENCIES_MS)) -> list[float]:
    """Latencies of so many models spread evenly over the frontier, for a study of another phone
    than the paper's."""
    if count < 1:
        raise InvalidInput(f"at least one budget is needed, got {count}")
    latencies = [_evaluation(trial).latency_ms for trial in frontier(trials)]
    if not latencies:
        raise InvalidInput("the study has no finished trial yet")
    last = len(latencies) - 1
    places = {round(last * (i + 1) / count) for i in range(count)}
    return [latencies[place] for place in sorted(places)]


def finalists(
    trials: Sequence[Trial],
    latency_ms: Callable[[Cell], float],
    budgets_ms: Sequence[float] = PAPER_LATENCIES_MS,
    repeats: Sequence[int] = PAPER_REPEATS,
) -> list[Finalist]:
    """The best model at each latency, each with different numbers of cells (paper section 4.1).

    The latencies are those of the search, with the search's repeats; with other repeats a cell
    takes another time, which is estimated anew. A model that is best at several is there once.

    Args:
        latency_ms: estimate for the whole detector around a cell.

    Raises:
        InvalidInput: a budget is smaller than the fastest model's latency.
    """
    budgets_of: dict[int, list[float]] = {}
    chosen: dict[int, Trial] = {}
    for budget_ms in sorted(budgets_ms):
        trial = best_at(trials, budget_ms)
        chosen[trial.number] = trial
        budgets_of.setdefault(trial.number, []).append(budget_ms)
    found = []
    for number, trial in chosen.items():
        for count in repeats:
            cell = with_repeats(trial.cell, count)
            found.append(Finalist(tuple(budgets_of[number]), number, count, cell, latency_ms(cell)))
    return found


def _evaluation(trial: Trial) -> Score:
    assert trial.evaluation is not None
    return trial.evaluation
