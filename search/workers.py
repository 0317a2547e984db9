"""Where trials run: in this process, or in processes of their own."""

from __future__ import annotations

import os
import pickle
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process
from types import TracebackType
from typing import Any, Protocol

from ..errors import InvalidInput
from ..models.heads.cell import Cell
from .scoring import Attempt, Scorer, attempt

MAX_DEATHS = 2  # of the worker processes that one job may cost


@dataclass(frozen=True, slots=True)
class TrialJob:
    """One trial to run."""

    number: int
    cell: Cell
    seed: int


class Workers(Protocol):
    """Runs jobs. Used as a context manager: leaving it ends what is still running."""

    def run(
        self, jobs: Iterable[TrialJob], stop: threading.Event
    ) -> Iterator[tuple[TrialJob, Attempt]]:
        """Results as they come; after ``stop`` no job is started, those under way are finished."""

    def __enter__(self) -> Workers: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        place: TracebackType | None,
    ) -> None: ...


def local_workers(scorer: Scorer, count: int) -> Workers:
    """One worker: this process. More: so many processes.

    Raises:
        InvalidInput: there are to be no workers, or ``scorer`` cannot be sent to a process.
    """
    if count < 1:
        raise InvalidInput(f"a search needs at least 1 worker, got {count}")
    return InProcess(scorer) if count == 1 else Processes(scorer, count)


class InProcess:
    """Runs jobs one after the other, here."""

    def __init__(self, scorer: Scorer) -> None:
        self._scorer = scorer

    def run(
        self, jobs: Iterable[TrialJob], stop: threading.Event
    ) -> Iterator[tuple[TrialJob, Attempt]]:
        for job in jobs:
            if stop.is_set():
                return
            yield job, attempt(self._scorer, job.cell, job.seed)

    def __enter__(self) -> InProcess:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Processes:
    """Runs jobs in processes, one job at a time each.

    A process that dies (out of memory, a crash in native code) takes only its own job with it; the
    job is tried once more in a new process. Processes end with this one, even if it is killed.
    """

    def __init__(self, scorer: Scorer, count: int) -> None:
        try:
            pickle.dumps(scorer)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise InvalidInput(
                f"several workers need a scorer that can be sent to a process ({error}); "
                "build it from functions at the top of a module, or use 1 worker"
            ) from None
        self._scorer = scorer
        self._count = count
        self._workers: list[_Worker] = []

    def run(
        self, jobs: Iterable[TrialJob], stop: threading.Event
    ) -> Iterator[tuple[TrialJob, Attempt]]:
        waiting = deque(jobs)
        deaths: dict[int, int] = {}
        while True:
            while waiting and not stop.is_set() and (idle := self._idle()):
                idle.start(waiting.popleft())
            busy = {worker.connection: worker for worker in self._workers if worker.job}
            if not busy:
                return
            for ready in connection.wait(list(busy)):
                worker = busy[ready]  # type: ignore[index]
                job = worker.job
                assert job is not None
                result = worker.result()
                if result is not None:
                    yield job, result
                    continue
                self._workers.remove(worker)
                deaths[job.number] = deaths.get(job.number, 0) + 1
                if deaths[job.number] < MAX_DEATHS:
                    waiting.append(job)
                    continue
                reason = (
                    f"the worker process died {MAX_DEATHS} times, last with exit code "
                    f"{worker.process.exitcode} (-9: killed, perhaps out of memory)"
                )
                yield job, Attempt(None, reason, 0.0, f"process {worker.process.pid}")

    def _idle(self) -> _Worker | None:
        for worker in self._workers:
            if worker.job is None:
                return worker
        if len(self._workers) < self._count:
            self._workers.append(_Worker(self._scorer))
            return self._workers[-1]
        return None

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.end()
        self._workers.clear()


class _Worker:
    """A process and the pipe to it."""

    def __init__(self, scorer: Scorer) -> None:
        context = get_context("spawn")  # a fork of a process with TensorFlow's threads can hang
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, scorer))
        self.process.start()
        theirs.close()
        self.job: TrialJob | None = None

    def start(self, job: TrialJob) -> None:
        self.job = job
        with suppress(BrokenPipeError):  # it died while idle; result() finds out
            self.connection.send(job)

    def result(self) -> Attempt | None:
        """Of the job under way; None if the process died of it."""
        try:
            result: Attempt = self.connection.recv()
        except (EOFError, ConnectionResetError):
            self.end()
            return None
        self.job = None
        return result

    def end(self) -> None:
        """Idle processes leave by themselves when the pipe closes; busy ones are ended."""
        self.connection.close()
        if self.job is not None:
            self.process.terminate()
        self.process.join()


def _serve(jobs: connection.Connection[Any, Any], scorer: Scorer) -> None:
    """A worker process: jobs in, attempts out, until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to handle
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            job: TrialJob = jobs.recv()
        except EOFError:
            return
        jobs.send(attempt(scorer, job.cell, job.seed))


def _end_with_parent() -> None:
    """A parent that is killed cannot end its workers."""
    parent = parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)
