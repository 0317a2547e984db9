"""Weights of a float32 file stored as float16: half the size, the same computation.

As TensorFlow's converter does it: every stored constant is read through a DEQUANTIZE, which
runtimes apply once, when the file is loaded.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from ...errors import JobFailed
from ..tflite.model_object import add_buffer, add_code, add_tensor, name_of

WITH_WEIGHTS = frozenset(
    (
        schema.BuiltinOperator.CONV_2D,
        schema.BuiltinOperator.DEPTHWISE_CONV_2D,
        schema.BuiltinOperator.FULLY_CONNECTED,
    )
)


def halve_weights(model: Any) -> None:
    """Store kernels and biases of a ``ModelT`` as float16.

    Raises:
        JobFailed: a weight is larger than float16 holds.
    """
    (graph,) = model.subgraphs
    code = add_code(model, schema.BuiltinOperator.DEQUANTIZE, 3)
    dequantise = []
    for index in _weight_tensors(model, graph):
        tensor = graph.tensors[index]
        values = model.buffers[tensor.buffer].data.view(np.float32)
        with np.errstate(over="ignore"):
            halves = values.astype(np.float16)
        if not np.isfinite(halves).all():
            raise JobFailed(
                f"{name_of(tensor)} holds {np.abs(values).max():.3g}, and float16 nothing above "
                "65504; export as float32, or train with weight decay"
            )
        stored = add_tensor(
            graph, f"{name_of(tensor)}/float16", tensor.shape, "float16", add_buffer(model, halves)
        )
        tensor.buffer = 0
        dequantise.append(
            schema.OperatorT(
                opcodeIndex=code,
                inputs=np.array([stored], np.int32),
                outputs=np.array([index], np.int32),
                builtinOptionsType=schema.BuiltinOptions.DequantizeOptions,
                builtinOptions=schema.DequantizeOptionsT(),
            )
        )
    graph.operators = [*dequantise, *graph.operators]
    _drop_unused_buffers(model, graph)


def _weight_tensors(model: Any, graph: Any) -> list[int]:
    """Constants beside the first input of operators with weights."""
    found: dict[int, None] = {}
    for operator in graph.operators:
        if model.operatorCodes[operator.opcodeIndex].builtinCode in WITH_WEIGHTS:
            constants = (int(index) for index in operator.inputs[1:] if index >= 0)
            found |= dict.fromkeys(i for i in constants if graph.tensors[i].buffer)
    return list(found)


def _drop_unused_buffers(model: Any, graph: Any) -> None:
    """All but the first, which stands for none, and those that a tensor or metadata names."""
    named = {tensor.buffer for tensor in graph.tensors}
    named |= {entry.buffer for entry in model.metadata or ()}
    kept = [index for index in range(len(model.buffers)) if index in named or index == 0]
    places = {index: place for place, index in enumerate(kept)}
    model.buffers = [model.buffers[index] for index in kept]
    for tensor in graph.tensors:
        tensor.buffer = places[tensor.buffer]
    for entry in model.metadata or ():
        entry.buffer = places[entry.buffer]
