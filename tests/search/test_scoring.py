"""One trial: what is measured, in which order, and what becomes of errors."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

import numpy as np
import pytest

from mnasfpn.errors import InvalidInput, NotCovered
from mnasfpn.latency.estimate.estimate import LatencyEstimate
from mnasfpn.models.detector import Backbone, Detector
from mnasfpn.models.graph.graph import Graph
from mnasfpn.models.heads.cell import Cell
from mnasfpn.models.heads.predictor import SharedPredictor
from mnasfpn.search.cells import canonical
from mnasfpn.search.scoring import DetectorScorer, Score, attempt
from mnasfpn.search.search_space import SPACES, search_space


def cell_of(name: str, seed: int = 0) -> Cell:
    (cell,) = search_space(name, repeats=1).sample(np.random.default_rng(seed), 1)
    return canonical(cell)


def small_detector(cell: Cell) -> Detector:
    return Detector(Backbone("mobilenet_v2", 0.35), cell, SharedPredictor(32), 1, 64)


@dataclass
class Watched:
    """Callables that write down what they are given."""

    uncovered: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.calls: list[object] = []

    def estimate(self, graph: Graph) -> LatencyEstimate:
        self.calls.append(graph)
        return LatencyEstimate(
            *(90.0, 80.0, 101.0, 0.9, "9 heads", 1.0, (), self.uncovered),
            *(0, None, "", "simulated"),
        )

    def train_and_score(self, cell: Cell, seed: int) -> float:
        self.calls.append((cell, seed))
        return 0.25


@pytest.mark.parametrize("name", SPACES)
def test_latency_of_the_whole_detectors_graph_then_map_of_the_same_cell(name: str) -> None:
    watched, cell = Watched(), cell_of(name)
    scorer = DetectorScorer(small_detector, watched.train_and_score, watched.estimate)
    assert scorer(cell, 11) == Score(0.25, 90.0, 80.0, 101.0)
    assert watched.calls == [small_detector(cell).graph(), (cell, 11)]


def test_a_latency_with_gaps_is_no_latency_and_nothing_is_trained() -> None:
    watched = Watched(uncovered=("conv 1x1", "add"))
    scorer = DetectorScorer(small_detector, watched.train_and_score, watched.estimate)
    with pytest.raises(NotCovered, match=r"lacks 2 kernels .* first 'conv 1x1'"):
        scorer(cell_of("mnasfpn"), 0)
    assert len(watched.calls) == 1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((-1.0, 90.0, 80.0, 100.0), "mAP must be between 0 and 1, got -1.0"),
        ((math.nan, 90.0, 80.0, 100.0), "mAP must be"),
        ((25.5, 90.0, 80.0, 100.0), "mAP must be between 0 and 1, got 25.5"),
        ((0.3, 0.0, 0.0, 1.0), "latency must be positive"),
        ((0.3, math.nan, 80.0, 100.0), "latency must be positive"),
        ((0.3, math.inf, 80.0, math.inf), "latency must be positive and finite"),
        ((0.3, 90.0, 91.0, 100.0), "must lie in its interval, got 91.0 to 100.0"),
        ((0.3, 90.0, math.nan, 100.0), "must lie in its interval"),
    ],
)
def test_what_is_no_result(values: tuple[float, float, float, float], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Score(*values)


def test_an_attempt_has_a_result_or_a_reason() -> None:
    cell = cell_of("mnasfpn")
    good = attempt(lambda cell, seed: Score(seed / 10, 9.0, 8.0, 10.0), cell, 3)
    assert good.score == Score(0.3, 9.0, 8.0, 10.0)
    assert good.reason == ""
    assert good.worker.endswith(f":{os.getpid()}")

    def refuse(cell: Cell, seed: int) -> Score:
        raise NotCovered("for people")

    refused = attempt(refuse, cell, 3)
    assert (refused.score, refused.reason) == (None, "for people")


def test_an_attempt_does_not_swallow_ctrl_c() -> None:
    def interrupted(cell: Cell, seed: int) -> Score:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        attempt(interrupted, cell_of("mnasfpn"), 0)
