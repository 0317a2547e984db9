"""The cells of a study to train in full."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..models.detector import default_detector
from ..models.heads.cell import Cell
from ..models.model_files import save
from ..storage.atomic import write_atomically
from .cells import with_repeats
from .detector_task import scorer
from .frontier import PAPER_LATENCIES_MS, FrontierRow, best_at, even_budgets, frontier, rows
from .study import Study, Trial

PAPER_REPEATS = (3, 4, 5)  # section 4.2: each of the best models with so many cells


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


def finalists(
    trials: Sequence[Trial],
    latency_ms: Callable[[Cell], float],
    budgets_ms: Sequence[float] = PAPER_LATENCIES_MS,
    repeats: Sequence[int] = PAPER_REPEATS,
) -> list[Finalist]:
    """The best model at each latency, each with different numbers of cells (paper section 4.2).

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


def shortlist(
    study: Path, budgets_ms: Sequence[float], repeats: Sequence[int], profile: str | None = None
) -> tuple[list[FrontierRow], list[Finalist]]:
    """The frontier of a stored study, and its best models at given latencies.

    Args:
        budgets_ms: empty for three spread over the frontier.
        profile: that estimates the finalists, instead of the study's own.
    """
    with Study(study) as store:
        trials, latency_ms = store.trials(), scorer(store.plan, profile).latency_ms
    chosen = finalists(trials, latency_ms, budgets_ms or even_budgets(trials), repeats)
    return rows(frontier(trials)), chosen


def write_finalists(chosen: Sequence[Finalist], folder: Path) -> None:
    """A detector .json, and a drawing of its cell, for each finalist."""
    from ..models.drawing.svg import cell_svg

    folder.mkdir(parents=True, exist_ok=True)
    for item in chosen:
        name = f"trial{item.trial}-x{item.repeats}"
        save(default_detector(item.cell), folder / f"{name}.json")
        write_atomically(folder / f"{name}.svg", cell_svg(item.cell))
