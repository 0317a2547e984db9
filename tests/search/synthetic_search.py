"""A search over a made-up landscape, as a program of its own that tests can kill.

    python synthetic_search.py STUDY LOG SAMPLES WORKERS SECONDS_PER_TRIAL [CONTROLLER]

Every cell whose scoring begins, and every trial that is stored, adds a line to LOG. While there is
a file LOG.hold, no scoring ends.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass

from mnasfpn.models.heads.cell import Cell
from mnasfpn.models.model_files import to_json
from mnasfpn.search.loop import run_search
from mnasfpn.search.scoring import Score
from mnasfpn.search.search_space import search_space
from mnasfpn.search.study import Study, StudyPlan, Trial

PPO_SETTINGS = {"batch": 6, "epochs": 2, "hidden": 8, "embedding": 4}


def plan(controller: str = "ppo", seed: int = 7) -> StudyPlan:
    settings = PPO_SETTINGS if controller == "ppo" else {"batch": 6}
    task = {"quality": "made up for tests"}
    return StudyPlan(search_space("mnasfpn"), controller, settings, seed, task=task)


def made_up(cell: Cell) -> Score:
    """Any pure function of the cell will do."""
    text = to_json(cell)
    mean_ap = sum(text.encode()) % 997 / 1000
    latency_ms = 50.0 + len(text) / 10
    return Score(mean_ap, latency_ms, latency_ms - 1, latency_ms + 1)


def note(log: str, line: str) -> None:
    """Append a line in one write, so that lines of several processes do not mix."""
    file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{line}\n".encode())
    os.close(file)


@dataclass(frozen=True)
class LoggedScorer:
    log: str
    seconds: float

    def __call__(self, cell: Cell, seed: int, /) -> Score:
        note(self.log, f"begin {os.getpid()} {seed}")
        time.sleep(self.seconds)
        while os.path.exists(f"{self.log}.hold"):
            time.sleep(0.01)
        return made_up(cell)


@dataclass(frozen=True)
class KillsItsProcess:
    """As a crash in native code would, for one trial, so many times."""

    seed: int
    log: str
    deaths: int

    def __call__(self, cell: Cell, seed: int, /) -> Score:
        if seed == self.seed:
            died = os.path.getsize(self.log) if os.path.exists(self.log) else 0
            if died < self.deaths:
                with open(self.log, "a") as file:
                    file.write("x")
                os.kill(os.getpid(), signal.SIGKILL)
        return made_up(cell)


def main() -> None:
    path, log, samples, workers, seconds, *controller = sys.argv[1:]
    chosen = plan(*controller)

    def stored(trial: Trial) -> None:
        note(log, f"stored {trial.number}")

    with Study(path, chosen) as study:
        scorer = LoggedScorer(log, float(seconds))
        try:
            run_search(study, chosen.new_controller(), scorer, int(samples), int(workers), stored)
        except KeyboardInterrupt:
            note(log, "interrupted")
            sys.exit(130)


if __name__ == "__main__":
    main()
