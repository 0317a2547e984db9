"""The program of :class:`.attempt.AttemptProcess`: runs files in ai-edge-litert, one after another.

Reads a request per line; answers with one line of JSON for each step that succeeded, or with the
runtime's message. Where the runtime aborts, this process ends, and the last line says how far it
came.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import numpy as np

SEED = 0


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # the runtime prints to stdout too

    def answer(**fields: Any) -> None:
        answers.write(json.dumps(fields) + "\n")
        answers.flush()

    from ai_edge_litert.interpreter import Interpreter

    for line in sys.stdin:
        request = json.loads(line)
        try:
            interpreter = Interpreter(model_path=request["path"], num_threads=1)
            interpreter.allocate_tensors()
            answer(stage="loaded")
            outputs = _run(interpreter, request["inputs"], request["outputs"])
            answer(stage="ran", outputs=outputs, partitions=_partitions(interpreter))
        except UnicodeDecodeError as error:  # of Python's face of the runtime, not of the runtime
            answer(stage="untried", message=f"a name that is not UTF-8 ({error})")
        except (RuntimeError, ValueError, TypeError) as error:
            answer(stage="stopped", message=str(error))


def _run(interpreter: Any, inputs: list[int], outputs: list[int]) -> list[tuple[str, list[int]]]:
    """Types and shapes of the outputs after one inference of noise.

    By index: a damaged name is no reason not to run.
    """
    rng = np.random.default_rng(SEED)
    for index in inputs:
        tensor = interpreter.get_tensor(index)
        if np.issubdtype(tensor.dtype, np.floating):
            noise = rng.uniform(-1, 1, tensor.shape)
        else:
            noise = rng.integers(0, 2 if tensor.dtype == np.bool_ else 100, tensor.shape)
        interpreter.set_tensor(index, noise.astype(tensor.dtype))
    interpreter.invoke()
    made = [interpreter.get_tensor(index) for index in outputs]
    return [(tensor.dtype.name, list(tensor.shape)) for tensor in made]


def _partitions(interpreter: Any) -> int | None:
    """Of XNNPACK; None if this release does not tell its plan, or not its names."""
    try:
        names = [each["op_name"] for each in interpreter._get_ops_details()]
    except (AttributeError, UnicodeDecodeError):
        return None
    return names.count("DELEGATE")


if __name__ == "__main__":
    main()
