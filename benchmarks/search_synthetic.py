"""``python -m mnasfpn.benchmarks.search_synthetic``: controllers compared at one budget.

The landscape is synthetic: latency is in proportion to the multiply-adds of the real Graph, quality
is an invented smooth function of the real cell's connections and sizes. It says how well the
controllers search, and nothing about detectors. Everything runs through the ordinary search loop
and study.
"""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import click
import numpy as np

from ..cli.console import command, progress
from ..errors import InvalidInput
from ..models.detector import Detector
from ..models.genotype import LEVELS, Genotype
from ..models.graph.costs import cost
from ..models.heads.cell import Cell
from ..models.published import published
from ..progress import Progress
from ..search.controllers.registry import CONTROLLERS
from ..search.frontier import frontier
from ..search.loop import run_search
from ..search.pareto import hypervolume
from ..search.scoring import Score
from ..search.search_space import search_space
from ..search.study import Study, StudyPlan, Trial
from ..storage.atomic import write_atomically

OUT = Path(__file__).parent / "results"
MS_PER_MADD = 0.2e-6  # made up; about what 183 ms for 0.92 thousand million comes to
REFERENCE = (400.0, 0.0)  # ms and quality, from which hypervolumes are measured
LAST_SHARE = 0.2  # of a run, whose mean reward tells what was learned


@dataclass(frozen=True)
class SyntheticScorer:
    """Made-up quality and latency of a cell; a pure function."""

    detector: Detector

    def __call__(self, cell: Cell, seed: int, /) -> Score:
        graph = replace(self.detector, head=cell).graph()
        latency_ms = cost(graph).madds * MS_PER_MADD
        return Score(synthetic_quality(cell), latency_ms, latency_ms, latency_ms)


def synthetic_quality(cell: Cell) -> float:
    """Between 0 and 0.4, invented: outputs like to see several resolutions, soon and widely.

    For each output, the share of cell inputs that reach it and the widths on the way, each with
    diminishing returns; larger kernels help at coarse levels and hurt a little at fine ones.
    """
    if not isinstance(cell, Genotype):
        raise InvalidInput(
            f"the synthetic landscape is for MnasFPN cells, got {type(cell).__name__}"
        )
    seen: list[frozenset[int]] = [frozenset({level}) for level in range(len(LEVELS))]
    worth = [1.0] * len(LEVELS)
    for block in cell.blocks:
        seen.append(frozenset().union(*(seen[source] for source in block.inputs)))
        width = 1 - math.exp(-cell.expansion(block) / 100)
        kernel = 1 + 0.03 * (block.kernel - 3) / 2 * (block.level - 4)
        best = max(worth[source] for source in block.inputs)
        worth.append(width * kernel * (0.7 * best + 0.3) * (0.97 if block.merge == "se" else 1.0))
    levels = [
        math.sqrt(len(seen[index]) / len(LEVELS)) * worth[index] for index in cell.outputs.values()
    ]
    channels = 1 - math.exp(-cell.channels / 40)
    return min(0.4, 0.3 * channels * sum(levels) / len(levels))


@dataclass(frozen=True)
class Outcome:
    """One controller over all seeds; means with their standard errors."""

    controller: str
    best_reward: tuple[float, float]
    best_at_half: tuple[float, float]
    last_mean_reward: tuple[float, float]
    hypervolume: tuple[float, float]
    evaluated: float
    seconds: float
    best_rewards: tuple[float, ...]

    @property
    def row(self) -> str:
        """One line of a Markdown table."""
        figures = (self.best_at_half, self.best_reward, self.last_mean_reward)
        rewards = " | ".join(f"{mean:.5f} ± {error:.5f}" for mean, error in figures)
        volume = f"{self.hypervolume[0]:.2f} ± {self.hypervolume[1]:.2f}"
        return (
            f"| {self.controller} | {rewards} | {volume} | {self.evaluated:.0f} "
            f"| {self.seconds:.1f} |"
        )


def compare(samples: int, seeds: Sequence[int], watch: Progress) -> list[Outcome]:
    """Every controller with every seed, each in a study of its own.

    Args:
        watch: called with (trials done, trials in all, controller).
    """
    scorer = SyntheticScorer(published("mobilenetv2-mnasfpn"))
    total = samples * len(seeds) * len(CONTROLLERS)
    outcomes, done = [], 0
    for controller in CONTROLLERS:

        def count(trial: Trial, controller: str = controller) -> None:
            nonlocal done
            done += 1
            watch(done, total, controller)

        runs = [one_search(controller, seed, samples, scorer, count) for seed in seeds]
        outcomes.append(summary(controller, runs))
    return outcomes


def one_search(
    controller: str,
    seed: int,
    samples: int,
    scorer: SyntheticScorer,
    count: Callable[[Trial], None],
) -> tuple[tuple[Trial, ...], float]:
    """The trials of a search, and its seconds beside the scoring."""
    plan = StudyPlan(
        search_space("mnasfpn"), controller, seed=seed, task={"landscape": "synthetic"}
    )
    begun = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="mnasfpn-") as folder,
        Study(Path(folder) / "study.db", plan) as study,
    ):
        run_search(study, plan.new_controller(), scorer, samples, ended=count)
        trials = study.trials()
    scoring = sum(trial.seconds for trial in trials)
    return trials, time.monotonic() - begun - scoring


def summary(controller: str, runs: list[tuple[tuple[Trial, ...], float]]) -> Outcome:
    """Figures of one controller."""
    rewards = np.array([[trial.reward for trial in trials] for trials, _ in runs], dtype=float)
    last = max(1, round(rewards.shape[1] * LAST_SHARE))
    best = rewards.max(axis=1)
    return Outcome(
        controller,
        best_reward=_mean(best),
        best_at_half=_mean(rewards[:, : rewards.shape[1] // 2].max(axis=1)),
        last_mean_reward=_mean(rewards[:, -last:].mean(axis=1)),
        hypervolume=_mean(np.array([_volume(trials) for trials, _ in runs])),
        evaluated=float(np.mean([sum(t.reused_from is None for t in ts) for ts, _ in runs])),
        seconds=float(np.mean([seconds for _, seconds in runs])),
        best_rewards=tuple(best.tolist()),
    )


def _volume(trials: tuple[Trial, ...]) -> float:
    scores = [trial.score for trial in frontier(trials) if trial.score]
    return hypervolume([s.latency_ms for s in scores], [s.mean_ap for s in scores], REFERENCE)


def _mean(values: np.ndarray) -> tuple[float, float]:
    """Mean and its standard error."""
    error = values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return float(values.mean()), float(error)


def markdown(outcomes: list[Outcome], notes: list[str]) -> str:
    """The results for people."""
    lines = [
        "# Controllers on a synthetic landscape",
        "",
        *notes,
        "",
        "| controller | best reward at half budget | best reward | mean reward of the last fifth "
        "| hypervolume | cells evaluated | own seconds |",
        "|---|---|---|---|---|---|---|",
        *(outcome.row for outcome in outcomes),
        "",
    ]
    return "\n".join(lines)


@command
@click.option("--samples", default=400, help="Trials of each search.")
@click.option("--seeds", default=5, help="Searches of each controller.")
@click.option("--out", type=click.Path(path_type=Path), default=OUT, help="Where results go.")
def main(samples: int, seeds: int, out: Path, as_json: bool) -> dict[str, object]:
    """PPO, evolution and random search on a synthetic landscape."""
    with progress("searching", quiet=as_json) as watch:
        outcomes = compare(samples, range(seeds), watch)
    notes = [
        f"Provenance: simulated. Latency is {MS_PER_MADD * 1e6:g} ms per million multiply-adds of "
        "the real Graph, quality an invented function of the cell: this compares searches, not "
        f"detectors. {samples} trials, {seeds} seeds each, mean ± standard error; hypervolume from "
        f"({REFERENCE[0]:g} ms, {REFERENCE[1]:g}). Cells evaluated are fewer than trials where a "
        "controller proposed a cell again. Own seconds: wall time of the whole search less the "
        "evaluations, so whatever else the machine does counts.",
    ]
    text = markdown(outcomes, notes)
    result = {"notes": notes, "outcomes": [asdict(outcome) for outcome in outcomes]}
    write_atomically(out / "search_synthetic.json", json.dumps(result, indent=1) + "\n")
    write_atomically(out / "search_synthetic.md", text)
    if not as_json:
        click.echo(text)
    return result


if __name__ == "__main__":
    main()
