"""Does a runtime load this file and run it once? Tried, in a process that may die of it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ...errors import JobFailed
from ..graph.attributes import Shape
from .inspected_file import InspectedFile

MOST_S = 120.0  # for one file
COMMAND = [sys.executable, "-m", f"{__package__}.attempt_worker"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """How far ai-edge-litert came, which shares its kernels with every client.

    Args:
        stage: ``nothing``: it does not load the file; ``loaded``: it does, but one inference of
            noise fails; ``ran``; ``untried``: its Python interface could not hand the file on.
        message: of the runtime, or how its process ended.
        outputs: type and shape of each after the inference.
        partitions: that XNNPACK took on this PC, None where the runtime does not tell.
    """

    stage: Literal["nothing", "loaded", "ran", "untried"]
    message: str = ""
    outputs: tuple[tuple[str, Shape], ...] = ()
    partitions: int | None = None


class AttemptProcess:
    """Runs files one after another; a new process is started where the last one died.

    Use as a context manager: the process ends with it.

    Raises:
        JobFailed: from :meth:`run`: the process ended by itself, not of a file.
    """

    def __init__(self, most_s: float = MOST_S) -> None:
        self._most_s = most_s
        self._worker: subprocess.Popen[str] | None = None

    def __enter__(self) -> AttemptProcess:
        return self

    def __exit__(self, *error: object) -> None:
        if self._worker is not None:
            self._worker.kill()
            self._worker.communicate()
            self._worker = None

    def run(self, file: InspectedFile) -> Attempt:
        """One file's attempt."""
        worker = self._started()
        assert worker.stdin is not None
        assert worker.stdout is not None
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.tflite")
            path.write_bytes(file.content)
            request = {
                "path": str(path),
                "inputs": file.main.inputs or (),
                "outputs": file.main.outputs or (),
            }
            late = threading.Timer(self._most_s, worker.kill)
            late.start()
            try:
                with suppress(BrokenPipeError):  # its end is seen below
                    worker.stdin.write(json.dumps(request) + "\n")
                    worker.stdin.flush()
                answers = [json.loads(worker.stdout.readline() or "null")]
                if answers[0] is not None and answers[0]["stage"] == "loaded":
                    answers.append(json.loads(worker.stdout.readline() or "null"))
            finally:
                late.cancel()
        return self._attempt(answers)

    def _started(self) -> subprocess.Popen[str]:
        if self._worker is None:
            self._worker = subprocess.Popen(
                COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        return self._worker

    def _attempt(self, answers: list[Any]) -> Attempt:
        *before, last = answers
        stage: Literal["nothing", "loaded"] = "loaded" if before else "nothing"
        if last is None:
            return Attempt(stage, self._end())
        if last["stage"] == "untried":
            return Attempt("untried", last["message"])
        if last["stage"] == "stopped":
            return Attempt(stage, " ".join(last["message"].split()))
        outputs = tuple((dtype, tuple(shape)) for dtype, shape in last["outputs"])
        return Attempt("ran", outputs=outputs, partitions=last["partitions"])

    def _end(self) -> str:
        """How the worker ended; the next file gets a new one."""
        assert self._worker is not None
        self._worker.communicate()
        code, self._worker = self._worker.returncode, None
        if code >= 0:
            raise JobFailed(
                f"the process that tries files ended with exit code {code}; expected an answer: "
                f"run `{' '.join(COMMAND)}` to see why"
            )
        if code == -signal.SIGKILL:
            return f"it did not answer within {self._most_s:.0f} s"
        return f"the runtime's process died of it ({signal.Signals(-code).name})"
