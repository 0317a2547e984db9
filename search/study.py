"""A study: everything one search has done so far, in one SQLite file that survives ``kill -9``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from ..errors import InvalidInput, JobFailed
from ..models.decisions import Choices
from ..models.heads.cell import Cell
from ..models.model_files import to_json
from ..storage.sqlite_file import DatabaseFile
from .cells import canonical, cell_from_json
from .controllers.base import Controller, ControllerState
from .controllers.registry import create_controller
from .reward import Reward
from .scoring import Attempt, Score
from .search_space import SearchSpace

TrialStatus = Literal["pending", "finished", "failed"]

_TABLES = (
    "CREATE TABLE plan (plan TEXT NOT NULL)",  # StudyPlan as JSON, one row
    # One row: the state after proposing a batch and before any of its rewards.
    "CREATE TABLE controller (batch INTEGER NOT NULL, state BLOB NOT NULL)",
    """CREATE TABLE trial (
        number INTEGER PRIMARY KEY,
        batch INTEGER NOT NULL,
        choices TEXT NOT NULL,              -- of the space's decisions, as JSON
        cell TEXT NOT NULL,                 -- the cell in canonical form, as JSON
        seed INTEGER NOT NULL,
        status TEXT NOT NULL,               -- pending, finished, failed
        mean_ap REAL, latency_ms REAL, low_ms REAL, high_ms REAL, reward REAL,
        reason TEXT NOT NULL DEFAULT '',    -- why it failed
        seconds REAL, worker TEXT,
        reused_from INTEGER,                -- the earlier trial of the same cell
        ended TEXT
    )""",
    "CREATE INDEX trial_of_cell ON trial (cell, status)",
    "CREATE INDEX trial_of_batch ON trial (batch)",
)


@dataclass(frozen=True)
class StudyPlan:
    """All that decides what a search does; a study continues only under the plan it began with.

    Args:
        space: what is searched.
        controller: its name, and settings that differ from its defaults.
        seed: of the controller and, with a trial's number, of each trial.
        reward: how mAP and latency become one number.
        task: what the two mean, for people and for comparison: proxy task, profile, detector.
    """

    space: SearchSpace
    controller: str = "ppo"
    settings: dict[str, float] = field(default_factory=dict)
    seed: int = 0
    reward: Reward = field(default_factory=Reward)
    task: dict[str, str] = field(default_factory=dict)

    def new_controller(self) -> Controller:
        """The controller as it was before the first trial."""
        return create_controller(self.controller, self.space.decisions, self.seed, self.settings)

    def trial_seed(self, number: int) -> int:
        """A seed of its own for each trial, the same whenever and wherever it runs."""
        return int(np.random.SeedSequence((self.seed, number)).generate_state(1)[0])


@dataclass(frozen=True, slots=True)
class Trial:
    """One proposed candidate and what became of it.

    Args:
        number: from 0, in the order of proposal.
        cell: canonical, as it was scored.
        status: ``pending`` has no result yet; ``failed`` has a reason instead of one.
        score, reward: None unless finished.
        reused_from: number of the earlier trial of the same cell whose result this is.
    """

    number: int
    batch: int
    choices: Choices
    cell: Cell
    seed: int
    status: TrialStatus
    score: Score | None = None
    reward: float | None = None
    reason: str = ""
    seconds: float = 0.0
    worker: str = ""
    reused_from: int | None = None


class Study(DatabaseFile):
    """A study file.

    Raises:
        InvalidInput: the file is no study, damaged, of another schema or of another plan.
        JobFailed: it cannot be written, or another process is running the same study.
    """

    WHAT = "study"
    APPLICATION_ID = 0x4D465053  # "MFPS"
    SCHEMA = 1
    TABLES = _TABLES
    SYNCHRONOUS = "FULL"  # a trial is too dear to lose to a power cut

    def __init__(self, path: str | os.PathLike[str], plan: StudyPlan | None = None) -> None:
        """Open a study, or begin one.

        Args:
            plan: for a new file, what it will search; for an existing one, what it is expected to
                hold. None opens an existing study under its own plan.
        """
        if plan is None and not Path(path).is_file():
            raise InvalidInput(f"{path}: no such study; `mnasfpn search` makes one")
        self._asked = plan
        super().__init__(path)

    def _prepare(self) -> None:
        if self._asked is None and self._pragma("application_id") != self.APPLICATION_ID:
            raise InvalidInput(
                f"{self.path} is an SQLite file of something else, not a {self.WHAT}; give the "
                "path of one, or of a new file"
            )
        super()._prepare()
        self.plan = self._stored_plan()
        if self._asked is not None:
            _require_same_plan(self.path, self.plan, self._asked)

    def _begin(self) -> None:
        text = msgspec.json.encode(self._asked).decode()
        self._database.execute("INSERT INTO plan VALUES (?)", (text,))

    def _stored_plan(self) -> StudyPlan:
        row = self._database.execute("SELECT plan FROM plan").fetchone()
        try:
            return msgspec.json.decode(row[0] if row else b"", type=StudyPlan)
        except msgspec.MsgspecError as error:
            raise InvalidInput(f"{self.path}: the stored plan is damaged: {error}") from None

    def __len__(self) -> int:
        """Trials proposed so far."""
        with self._clear_errors():
            return self._one("SELECT count(*) FROM trial")

    def trials(self, status: TrialStatus | None = None) -> tuple[Trial, ...]:
        """All trials, or those of one status, in the order of proposal."""
        if status is None:
            return self._trials("")
        return self._trials("WHERE status = ?", status)

    def latest(self, count: int) -> tuple[Trial, ...]:
        """The last trials proposed."""
        return self._trials("WHERE number > (SELECT max(number) FROM trial) - ?", count)

    def open_batch(self) -> tuple[Trial, ...]:
        """The trials last proposed, whose rewards the stored controller has not heard of."""
        return self._trials("WHERE batch = (SELECT max(batch) FROM trial)")

    def finished_like(self, cell: Cell) -> Trial | None:
        """The first finished trial of the same cell (in canonical form)."""
        where = "WHERE cell = ? AND status = 'finished' ORDER BY number LIMIT 1"
        return next(iter(self._trials(where, to_json(cell))), None)

    def restore(self, controller: Controller) -> None:
        """Bring a new controller to where it was when the open batch had been proposed."""
        with self._clear_errors():
            row = self._database.execute("SELECT state FROM controller").fetchone()
        if row is not None:
            controller.restore(ControllerState.from_bytes(row[0]))

    def propose(self, controller: Controller, count: int) -> tuple[Trial, ...]:
        """Let the controller propose a batch; keep it and the controller's state together."""
        first, batch = len(self), self._next_batch()
        candidates = controller.propose(count)
        rows = [
            (
                number,
                batch,
                msgspec.json.encode(choices).decode(),
                to_json(canonical(self.plan.space.decode(choices))),
                self.plan.trial_seed(number),
                "pending",
            )
            for number, choices in enumerate(candidates, start=first)
        ]
        with self._transaction():
            if self._next_batch() != batch:
                raise JobFailed(_another_process(self.path))
            self._database.execute("DELETE FROM controller")
            self._database.execute(
                "INSERT INTO controller VALUES (?, ?)", (batch, controller.state().to_bytes())
            )
            self._database.executemany(
                "INSERT INTO trial (number, batch, choices, cell, seed, status) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                rows,
            )
        return self.open_batch()

    def end(self, trial: Trial, result: Attempt, reused_from: int | None = None) -> Trial:
        """Keep the result of a pending trial for good; returns the trial as it is now."""
        score = result.score
        values = {
            "status": "failed" if score is None else "finished",
            "mean_ap": score and score.mean_ap,
            "latency_ms": score and score.latency_ms,
            "low_ms": score and score.low_ms,
            "high_ms": score and score.high_ms,
            "reward": score and self.plan.reward(score.mean_ap, score.latency_ms),
            "reason": result.reason,
            "seconds": result.seconds,
            "worker": result.worker,
            "reused_from": reused_from,
        }
        settings = ", ".join(f"{name} = :{name}" for name in values)
        with self._transaction():
            updated = self._database.execute(
                f"UPDATE trial SET {settings}, ended = strftime('%Y-%m-%dT%H:%M:%fZ', 'now') "
                "WHERE number = :number AND status = 'pending'",
                {**values, "number": trial.number},
            )
            if updated.rowcount != 1:
                raise JobFailed(_another_process(self.path))
        return self._trials("WHERE number = ?", trial.number)[0]

    def try_again(self, trials: Sequence[Trial]) -> None:
        """Make failed trials pending."""
        with self._transaction():
            self._database.executemany(
                "UPDATE trial SET status = 'pending', reason = '' "
                "WHERE number = ? AND status = 'failed'",
                [(trial.number,) for trial in trials],
            )

    def _next_batch(self) -> int:
        return self._one("SELECT coalesce(max(batch) + 1, 0) FROM trial")

    def _trials(self, where: str, *values: object) -> tuple[Trial, ...]:
        order = "" if "ORDER BY" in where else "ORDER BY number"
        query = (
            "SELECT number, batch, choices, cell, seed, status, mean_ap, latency_ms, low_ms, "
            f"high_ms, reward, reason, seconds, worker, reused_from FROM trial {where} {order}"
        )
        with self._clear_errors():
            rows = self._database.execute(query, values).fetchall()
        return tuple(self._trial(row) for row in rows)

    def _trial(self, row: tuple[Any, ...]) -> Trial:
        number, batch, choices, cell, seed, status, *score = row[:10]
        reward, reason, seconds, worker, reused_from = row[10:]
        where = f"{self.path}, trial {number}"
        try:
            return Trial(
                number,
                batch,
                msgspec.json.decode(choices, type=tuple[int, ...]),
                cell_from_json(cell, where),
                seed,
                status,
                Score(*score) if status == "finished" else None,
                reward,
                reason,
                seconds or 0.0,
                worker or "",
                reused_from,
            )
        except (msgspec.MsgspecError, TypeError) as error:
            raise InvalidInput(f"{where}: the stored trial is damaged: {error}") from None


def _another_process(path: Path) -> str:
    return f"another process is running the study {path}; wait for it, or use another file"


def _require_same_plan(path: Path, stored: StudyPlan, asked: StudyPlan) -> None:
    for one in fields(StudyPlan):
        had, wanted = getattr(stored, one.name), getattr(asked, one.name)
        if had != wanted:
            if isinstance(had, SearchSpace):
                had, wanted = _difference(had, wanted)
            elif isinstance(had, dict):
                keys = [key for key in {**had, **wanted} if had.get(key) != wanted.get(key)]
                had, wanted = ({key: side.get(key) for key in keys} for side in (had, wanted))
            raise InvalidInput(
                f"the study {path} was begun with {one.name} {had}, asked for {wanted}; continue "
                "it as it was begun, or use another file"
            )


def _difference(stored: SearchSpace, asked: SearchSpace) -> tuple[str, str]:
    """Names where they differ, everything else only if the names do not tell."""
    if stored.space.name != asked.space.name:
        return stored.space.name, asked.space.name
    return str(stored), str(asked)
