"""The frontier of a study and its best trials, on numbers that can be checked by eye."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mnasfpn.errors import InvalidInput
from mnasfpn.search.frontier import best_at, even_budgets, frontier, rows
from mnasfpn.search.scoring import Score
from mnasfpn.search.search_space import search_space
from mnasfpn.search.study import Trial

CELLS = search_space("mnasfpn").sample(np.random.default_rng(0), 12)


def study(*results: tuple[float, float] | None) -> list[Trial]:
    """Trials of different cells with (latency, mAP), or failed."""
    trials = []
    for number, result in enumerate(results):
        if result is None:
            trials.append(Trial(number, 0, (), CELLS[number], 0, "failed", reason="tested"))
            continue
        latency_ms, mean_ap = result
        score = Score(mean_ap, latency_ms, latency_ms - 5, latency_ms + 5)
        trials.append(
            Trial(number, 0, (), CELLS[number], 0, "finished", score, mean_ap, seconds=2.0)
        )
    return trials


STUDY = study((180, 0.26), None, (165, 0.24), (172, 0.23), (170, 0.25), (190, 0.26), (150, 0.20))


def numbers(trials: tuple[Trial, ...]) -> list[int]:
    return [trial.number for trial in trials]


def test_frontier_is_fastest_first_without_what_is_dominated_or_failed() -> None:
    assert numbers(frontier(STUDY)) == [6, 2, 4, 0]


def test_a_cell_found_again_is_there_once() -> None:
    again = Trial(7, 1, (), CELLS[0], 0, "finished", STUDY[0].score, 0.26, reused_from=0)
    assert numbers(frontier([*STUDY, again])) == [6, 2, 4, 0]


def test_no_finished_trial_no_frontier() -> None:
    assert frontier(study(None)) == ()
    with pytest.raises(InvalidInput, match="its fastest takes nothing"):
        best_at(study(None), 100.0)
    with pytest.raises(InvalidInput, match="no finished trial yet"):
        even_budgets(study(None))


@pytest.mark.parametrize(
    ("budget_ms", "number"), [(150, 6), (166, 2), (170, 4), (173, 4), (180, 0), (1e9, 0)]
)
def test_best_at_a_latency(budget_ms: float, number: int) -> None:
    assert best_at(STUDY, budget_ms).number == number


def test_of_equals_the_first_is_taken() -> None:
    assert best_at(study((100, 0.2), (100, 0.2)), 100).number == 0


def test_a_budget_below_the_fastest_names_the_fastest() -> None:
    with pytest.raises(InvalidInput, match=r"at most 149 ms; its fastest takes 150\.00 ms"):
        best_at(STUDY, 149)


@pytest.mark.parametrize(("count", "expected"), [(1, [180]), (2, [170, 180]), (9, None)])
def test_budgets_spread_over_the_frontier(count: int, expected: list[float] | None) -> None:
    budgets = even_budgets(STUDY, count)
    assert budgets == (expected or [150, 165, 170, 180])
    assert [best_at(STUDY, budget).score.latency_ms for budget in budgets] == budgets


def test_rows_are_printed_with_their_units() -> None:
    (row,) = rows(frontier(STUDY)[:1])
    assert row.HEADINGS == ("trial", "mAP", "latency ms", "interval ms", "reward", "seconds")
    assert row.cells() == ("6", "0.2000", "150.00", "145.00 to 155.00", "0.2000", "2.0")
    assert row.to_json()["latency_ms"] == 150
    assert all(not math.isnan(value) for value in row.to_json().values())
    assert len(rows(STUDY)) == 6
