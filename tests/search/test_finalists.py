"""The cells of a study to train in full, on numbers that can be checked by eye."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mnasfpn.models.detector import default_detector
from mnasfpn.models.heads.cell import Cell
from mnasfpn.models.model_files import load_detector
from mnasfpn.search.finalists import finalists, write_finalists
from mnasfpn.search.scoring import Score
from mnasfpn.search.search_space import search_space
from mnasfpn.search.study import Trial

#: Number of a trial -> its latency and mAP.
RESULTS = {0: (180, 0.26), 2: (165, 0.24), 4: (170, 0.25), 5: (190, 0.26), 6: (150, 0.20)}
CELLS = search_space("mnasfpn").sample(np.random.default_rng(0), 7)
STUDY = [
    Trial(number, 0, (), CELLS[number], 0, "finished", Score(mean_ap, ms, ms - 5, ms + 5), mean_ap)
    for number, (ms, mean_ap) in RESULTS.items()
]


def slower_with_repeats(cell: Cell) -> float:
    return 100.0 + 10 * cell.repeats


def test_the_papers_nine_finalists() -> None:
    found = finalists(STUDY, slower_with_repeats)
    assert [(f.budgets_ms, f.trial, f.repeats, f.latency_ms) for f in found] == [
        ((166.0,), 2, 3, 130.0),
        ((166.0,), 2, 4, 140.0),
        ((166.0,), 2, 5, 150.0),
        ((173.0,), 4, 3, 130.0),
        ((173.0,), 4, 4, 140.0),
        ((173.0,), 4, 5, 150.0),
        ((180.0,), 0, 3, 130.0),
        ((180.0,), 0, 4, 140.0),
        ((180.0,), 0, 5, 150.0),
    ]
    assert [f.cell.repeats for f in found] == [3, 4, 5] * 3


def test_a_model_that_is_best_at_two_latencies_is_taken_once() -> None:
    found = finalists(STUDY, slower_with_repeats, budgets_ms=(173, 171), repeats=(3,))
    assert [(f.budgets_ms, f.trial) for f in found] == [((171, 173), 4)]


def test_finalists_are_written_as_detectors_and_drawings(tmp_path: Path) -> None:
    found = finalists(STUDY, slower_with_repeats, budgets_ms=(173,), repeats=(3, 5))
    write_finalists(found, tmp_path / "new")
    names = ["trial4-x3.json", "trial4-x3.svg", "trial4-x5.json", "trial4-x5.svg"]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == names
    assert load_detector(tmp_path / "new" / "trial4-x5.json") == default_detector(found[1].cell)
