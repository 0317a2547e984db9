"""Files in a process of their own: what the runtime rejects, dies or hangs of ends in one line."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from mnasfpn.errors import InvalidModelFile
from mnasfpn.models.evaluation.predictors import tflite_predictor
from mnasfpn.models.graph.builder import GraphBuilder
from mnasfpn.models.tflite.file import TfliteFile
from mnasfpn.models.tflite.interpreter_process import InterpreterProcess
from mnasfpn.models.tflite.writer import write_tflite
from mnasfpn.tests.models.tflite.foreign_files import two_signatures

SHAPE = (1, 4, 4, 3)


def one_operator(code: int, options: object) -> bytes:
    file = TfliteFile()
    x, y = file.tensor("x", SHAPE), file.tensor("y", SHAPE)
    file.operator(code, 1, options, [x], y)
    return file.pack({"x": x}, {"y": y})


#: SPLIT without its axis, which LiteRT 2.3 reads all the same: a segmentation fault.
DEADLY = one_operator(schema.BuiltinOperator.SPLIT, schema.SplitOptionsT(numSplits=0))
#: A window of two thousand million channels around each of 48 numbers.
ENDLESS = one_operator(
    schema.BuiltinOperator.LOCAL_RESPONSE_NORMALIZATION,
    schema.LocalResponseNormalizationOptionsT(radius=2**30),
)


def test_what_it_computes_is_what_the_file_says() -> None:
    builder = GraphBuilder()
    x = builder.input("x", SHAPE)
    sum_, product = builder.unary("sum", "add", x, constant=2.0), builder.mul("product", x, x)
    interpreter = InterpreterProcess(write_tflite(builder.graph((sum_, product))))
    assert [details.shape for details in interpreter.outputs] == [SHAPE, SHAPE]
    for scale in (1.0, 3.0):
        given = scale * np.arange(48, dtype=np.float32).reshape(SHAPE)
        found = interpreter.run(given)
        np.testing.assert_allclose(found[0], given + 2)
        np.testing.assert_allclose(found[1], given**2)


def test_integers_say_what_they_stand_for() -> None:
    builder = GraphBuilder()
    x = builder.input("x", SHAPE)
    content = write_tflite(builder.graph((builder.unary("q", "quantize", x),)))
    assert InterpreterProcess(content).outputs[0].dtype == np.float32


@pytest.mark.parametrize(("name", "factor"), [("twice", 2.0), ("thrice", 3.0)])
def test_a_signature_is_run(name: str, factor: float) -> None:
    given = np.arange(4, dtype=np.float32).reshape(1, 4)
    (found,) = InterpreterProcess(two_signatures(), signature=name).run(given)
    np.testing.assert_allclose(found, factor * given)


def test_no_such_signature() -> None:
    with pytest.raises(InvalidModelFile, match=r'Invalid signature_key provided: "once"'):
        InterpreterProcess(two_signatures(), signature="once")


def test_a_file_that_is_rejected() -> None:
    content = one_operator(schema.BuiltinOperator.MAX_POOL_2D, schema.Pool2DOptionsT())
    with pytest.raises(InvalidModelFile, match=r"odd\.tflite: cannot be run .*stride_height > 0"):
        InterpreterProcess(content, "odd.tflite")


def test_a_file_that_the_runtime_dies_of() -> None:
    with pytest.raises(InvalidModelFile) as caught:
        tflite_predictor(DEADLY)
    message = str(caught.value)
    assert message.startswith("the model: the runtime died of SIGSEGV while loading it")
    assert "\n" not in message
    assert "convert the model again" in message


def test_a_file_that_the_runtime_hangs_of() -> None:
    interpreter = InterpreterProcess(ENDLESS, "endless.tflite", most_s=5)
    with pytest.raises(InvalidModelFile, match=r"endless\.tflite: the runtime was killed, after 5"):
        interpreter.run(np.ones(SHAPE, np.float32))


def test_the_process_ends_with_the_object() -> None:
    interpreter = InterpreterProcess(two_signatures())
    process = interpreter._process
    del interpreter
    assert process.returncode is not None
