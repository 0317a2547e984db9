"""Small files with what converters of today make, written with the classes of the schema."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

OPERATOR = schema.BuiltinOperator
FLOAT, INT32 = schema.TensorType.FLOAT32, schema.TensorType.INT32
ROW = (1, 4)


def tensor(
    name: str, shape: Sequence[int] = ROW, buffer: int = 0, dtype: int = FLOAT, **more: Any
) -> Any:
    return schema.TensorT(
        shape=np.array(shape, np.int32), type=dtype, buffer=buffer, name=name, hasRank=True, **more
    )


def operator(
    code: int,
    inputs: Sequence[int],
    outputs: Sequence[int],
    options: Any = None,
    second: Any = None,
) -> tuple[int, Any]:
    """(builtin code, operator); ``second`` goes to the newer union of options."""
    kinds = {}
    if options is not None:
        kind = type(options).__name__.removesuffix("T")
        kinds = {"builtinOptionsType": getattr(schema.BuiltinOptions, kind)}
    if second is not None:
        kind = type(second).__name__.removesuffix("T")
        kinds = {"builtinOptions2Type": getattr(schema.BuiltinOptions2, kind)}
    made = schema.OperatorT(
        inputs=np.array(inputs, np.int32),
        outputs=np.array(outputs, np.int32),
        builtinOptions=options,
        builtinOptions2=second,
        **kinds,
    )
    return code, made


def subgraph(
    tensors: Sequence[Any],
    operators: Sequence[tuple[int, Any]],
    inputs: Sequence[int] = (0,),
    outputs: Sequence[int] = (1,),
) -> tuple[Any, list[tuple[int, Any]]]:
    made = schema.SubGraphT(
        tensors=list(tensors),
        inputs=np.array(inputs, np.int32),
        outputs=np.array(outputs, np.int32),
        name="",
    )
    return made, list(operators)


def model(
    *subgraphs: tuple[Any, list[tuple[int, Any]]],
    constants: Sequence[Any] = (),
    signatures: Sequence[str] = (),
) -> bytes:
    """A file; a signature for each of the first subgraphs; constants are buffers 1, 2, ..."""
    codes = sorted({code for _, operators in subgraphs for code, _ in operators})
    for graph, operators in subgraphs:
        graph.operators = [each for _, each in operators]
        for code, each in operators:
            each.opcodeIndex = codes.index(code)
    buffers = [schema.BufferT()]
    buffers += [
        schema.BufferT(np.ascontiguousarray(each).view(np.uint8).reshape(-1)) for each in constants
    ]
    file = schema.ModelT(
        version=3,
        operatorCodes=[schema.OperatorCodeT(min(code, 127), None, 1, code) for code in codes],
        subgraphs=[graph for graph, _ in subgraphs],
        buffers=buffers,
        signatureDefs=[
            schema.SignatureDefT(
                inputs=[schema.TensorMapT("x", int(subgraphs[index][0].inputs[0]))],
                outputs=[schema.TensorMapT("y", int(subgraphs[index][0].outputs[0]))],
                signatureKey=key,
                subgraphIndex=index,
            )
            for index, key in enumerate(signatures)
        ],
    )
    builder = flatbuffers.Builder(1024)
    builder.Finish(file.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def times(inputs: Sequence[int], output: int) -> tuple[int, Any]:
    return operator(OPERATOR.MUL, inputs, [output], schema.MulOptionsT())


def two_signatures() -> bytes:
    """Twice and three times a row."""
    graphs = [
        subgraph([tensor("x"), tensor(name), tensor("factor", (1,), buffer)], [times([0, 2], 1)])
        for buffer, name in enumerate(("doubled", "tripled"), start=1)
    ]
    factors = [np.array([factor], np.float32) for factor in (2, 3)]
    return model(*graphs, constants=factors, signatures=("twice", "thrice"))
