"""The process that runs one .tflite for :mod:`.interpreter_process`, which may die of it.

Reads from standard input a line of JSON and the bytes of the file, then the bytes of all inputs for
each inference; answers each with a line of JSON, and an inference with the bytes of all outputs.
Strings are neither handed in nor out: such inputs keep what they hold, such outputs are empty.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

NUMBERS = "biufc"  # kinds of types of numpy
STRINGS = np.dtype("S1")  # stands for them

Run = Callable[[list[Any]], list[Any]]


def main() -> None:
    # What native code prints goes to standard error.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    requests = sys.stdin.buffer
    asked = json.loads(requests.readline())
    inputs, outputs, run = _answered(answers, _opened, requests.read(asked["size"]), asked)
    _answer(answers, {"inputs": _described(inputs), "outputs": _described(outputs)})
    sizes = [int(np.prod(each["shape"])) * _dtype(each).itemsize for each in inputs]
    while True:
        given = [requests.read(size) for size in sizes]
        if any(len(content) < size for content, size in zip(given, sizes, strict=True)):
            return  # who asks is gone
        arrays = [
            np.frombuffer(content, _dtype(each)).reshape(each["shape"])
            for content, each in zip(given, inputs, strict=True)
        ]
        results = [_numbers(result) for result in _answered(answers, run, arrays)]
        _answer(answers, {"shapes": [result.shape for result in results]})
        for result in results:
            answers.write(result.tobytes())
        answers.flush()


def _opened(content: bytes, asked: dict[str, Any]) -> tuple[list[Any], list[Any], Run]:
    """Details of inputs and outputs, and what runs them."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content, num_threads=asked["threads"])
    if asked["signature"] is not None:
        runner = interpreter.get_signature_runner(asked["signature"])
        given, made = runner.get_input_details(), runner.get_output_details()

        def run_signature(arrays: list[Any]) -> list[Any]:
            found = runner(**dict(zip(given, arrays, strict=True)))
            return [found[name] for name in made]

        return [*given.values()], [*made.values()], run_signature
    interpreter.allocate_tensors()
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()

    def run(arrays: list[Any]) -> list[Any]:
        for details, array in zip(inputs, arrays, strict=True):
            if _dtype(details) != STRINGS:
                interpreter.set_tensor(details["index"], array)
        interpreter.invoke()
        # Shapes may have become others.
        return [_result(interpreter, details) for details in interpreter.get_output_details()]

    return inputs, outputs, run


def _described(details: list[Any]) -> list[dict[str, Any]]:
    return [
        {
            "shape": [int(size) for size in each["shape"]],
            "dtype": _dtype(each).str,
            "scale": float(each["quantization"][0]),
            "zero_point": int(each["quantization"][1]),
        }
        for each in details
    ]


def _result(interpreter: Any, details: dict[str, Any]) -> Any:
    """An output; the runtime hands out none of strings or without elements."""
    if _dtype(details) == STRINGS or 0 in details["shape"]:
        return np.empty(details["shape"], _dtype(details))
    return interpreter.get_tensor(details["index"])


def _dtype(details: dict[str, Any]) -> Any:
    found = np.dtype(details["dtype"])
    return found if found.kind in NUMBERS else STRINGS


def _numbers(result: Any) -> Any:
    array = np.asarray(result, order="C")
    return array if array.dtype.kind in NUMBERS else np.empty(0, STRINGS)


def _answered(answers: BinaryIO, function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns; its error is told, and is the end of this process."""
    try:
        return function(*arguments)
    except Exception as error:
        _answer(answers, {"error": " ".join(str(error).split()) or type(error).__name__})
        raise SystemExit(0) from None


def _answer(answers: BinaryIO, answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer).encode() + b"\n")
    answers.flush()


if __name__ == "__main__":
    main()
