"""A .tflite run in a process of its own: a file on which the runtime aborts takes only that."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import InvalidModelFile
from ...storage.interruption import ctrl_c_held_back
from ..graph.attributes import Shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_S = 600.0  # for one inference, or to load a file
CHATTER = ("INFO:", "WARNING:", "I0000", "W0000")  # how lines begin that tell of no error


@dataclass(frozen=True, slots=True)
class TensorDetails:
    """An input or output; of integers, a number is ``(stored - zero_point) * scale``."""

    shape: Shape
    dtype: np.dtype[Any]
    scale: float
    zero_point: int


class InterpreterProcess:
    """ai-edge-litert with one file. The process ends with this object, and with this program.

    Args:
        content: the file's bytes.
        name: of the file, for messages.
        threads: of the runtime.
        signature: to run, of a file that has several; None runs its first subgraph.
        most_s: for one inference, or to load the file.

    Raises:
        InvalidModelFile: the runtime rejects the file, or dies or hangs of it.
    """

    def __init__(
        self,
        content: bytes,
        name: str = "the model",
        threads: int = 1,
        signature: str | None = None,
        most_s: float = MOST_S,
    ) -> None:
        self._name, self._most_s = name, most_s
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by the finaliser)
        with ctrl_c_held_back():  # else Ctrl-C may come before there is anything to end
            self._process = subprocess.Popen(
                [sys.executable, "-m", "mnasfpn.models.tflite.interpreter_worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
            )
            self._end = weakref.finalize(self, _end, self._process, self._errors)
        asked = {"size": len(content), "threads": threads, "signature": signature}
        answer = self._ask("loading it", [json.dumps(asked).encode() + b"\n", content])
        self.inputs = tuple(map(_details, answer["inputs"]))
        self.outputs = tuple(map(_details, answer["outputs"]))

    def run(self, *arrays: NDArray[Any]) -> tuple[NDArray[Any], ...]:
        """Outputs of one inference, in the file's order.

        Args:
            arrays: of the shapes and types of the inputs.

        Raises:
            InvalidModelFile: the runtime fails, dies or hangs.
        """
        given = [
            np.ascontiguousarray(array.reshape(details.shape), details.dtype).tobytes()
            for array, details in zip(arrays, self.inputs, strict=True)
        ]
        with self._limited():
            answer = self._ask("running it", given)
            shapes = answer["shapes"]
            return tuple(
                self._read(shape, details.dtype)
                for shape, details in zip(shapes, self.outputs, strict=True)
            )

    def _read(self, shape: Shape, dtype: np.dtype[Any]) -> NDArray[Any]:
        size = int(np.prod(shape)) * dtype.itemsize
        assert self._process.stdout is not None
        content = self._process.stdout.read(size)
        if len(content) < size:
            raise self._death("running it")
        return np.frombuffer(content, dtype).reshape(shape)

    def _ask(self, doing: str, given: Sequence[bytes]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._limited():
            try:
                for part in given:
                    self._process.stdin.write(part)
                self._process.stdin.flush()
                line = self._process.stdout.readline()
            except BrokenPipeError:
                line = b""
        if not line:
            raise self._death(doing)
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise InvalidModelFile(
                f"{self._name}: cannot be run as a TensorFlow Lite file: {answer['error']}"
            )
        return answer

    @contextmanager
    def _limited(self) -> Iterator[None]:
        """A process that does not answer is killed, which ends the wait for it."""
        timer = threading.Timer(self._most_s, self._process.kill)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _death(self, doing: str) -> InvalidModelFile:
        code = self._process.wait()
        how = f"ended with exit code {code}"
        if code == -signal.SIGKILL:
            how = f"was killed, after {self._most_s:g} s or for want of memory"
        elif code < 0:
            how = f"died of {signal.Signals(-code).name}"
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").splitlines()
        said = [line.strip() for line in lines if line.strip() and not line.startswith(CHATTER)]
        last = f" and said {said[-1]!r}" if said else ""
        return InvalidModelFile(
            f"{self._name}: the runtime {how} while {doing}{last}; expected a file that it runs: "
            "convert the model again, or leave out what it cannot run"
        )


def _details(answer: dict[str, Any]) -> TensorDetails:
    dtype = np.dtype(answer["dtype"])
    return TensorDetails(tuple(answer["shape"]), dtype, answer["scale"], answer["zero_point"])


def _end(process: subprocess.Popen[bytes], errors: Any) -> None:
    process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
    errors.close()
