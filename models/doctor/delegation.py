"""Operators that a GPU or NPU does not take, so that the rest of the graph waits for the CPU.

The GPU's table follows tflite/tools/versioning/gpu_compatibility.cc of LiteRT (2026); what is
reported for NPUs are the operators that users of them name most often. Neither is a promise:
drivers differ, and only a phone tells.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from ..tflite.schema import DETECTION_NAME
from .finding import Finding, Level
from .inspected_file import Operator, Subgraph

MOST_AXES = 4

GPU_TAKES = frozenset(
    (
        *(
            "ADD",
            "ADD_N",
            "AVERAGE_POOL_2D",
            "BATCH_MATMUL",
            "BITCAST",
            "CAST",
            "CONCATENATION",
            "CONV_2D",
            "CUMSUM",
        ),
        *("DENSIFY", "DEPTHWISE_CONV_2D", "DEPTH_TO_SPACE", "DEQUANTIZE", "EMBEDDING_LOOKUP"),
        *("DYNAMIC_UPDATE_SLICE", "FULLY_CONNECTED", "GATHER", "HARD_SWISH", "LSTM"),
        *("MAX_POOL_2D", "MEAN", "MUL", "PACK", "ONE_HOT", "QUANTIZE", "RELU_N1_TO_1", "PRELU"),
        *("RESHAPE", "SELECT", "SELECT_V2", "SLICE", "SOFTMAX", "SPACE_TO_DEPTH", "SPLIT"),
        *("SPLIT_V", "STRIDED_SLICE", "TILE", "TOPK_V2", "TRANSPOSE", "TRANSPOSE_CONV"),
        *("RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "RELU", "RELU6", "LEAKY_RELU"),
        *("REDUCE_ALL", "REDUCE_ANY", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "SUM"),
        *("PAD", "PADV2", "MIRROR_PAD", "REVERSE_V2", "ABS", "CEIL", "COS", "ELU", "EXP", "FLOOR"),
        *("GELU", "LOG", "LOGICAL_NOT", "LOGISTIC", "NEG", "ROUND", "RSQRT", "SIGN", "SIN"),
        *("SQRT", "SQUARE", "TANH", "ATAN2", "DIV", "EQUAL", "FLOOR_DIV", "FLOOR_MOD", "GREATER"),
        *("GREATER_EQUAL", "LOGICAL_AND", "LOGICAL_OR", "LESS", "LESS_EQUAL", "MAXIMUM"),
        *("MINIMUM", "NOT_EQUAL", "POW", "RIGHT_SHIFT", "STABLEHLO_REMAINDER"),
        *("STABLEHLO_SHIFT_LEFT", "SQUARED_DIFFERENCE", "SUB", "STABLEHLO_BROADCAST_IN_DIM"),
        *("STABLEHLO_CBRT", "STABLEHLO_CLAMP"),
    )
)
GPU_TAKES_CUSTOM = frozenset(
    ("Convolution2DTransposeBias", "MaxPoolingWithArgmax2D", "MaxUnpooling2D", "Resampler")
)
#: Between which types a CAST is taken, either way.
GPU_CASTS = (
    frozenset(("bool", "float16")),
    frozenset(("bool", "float32")),
    frozenset(("float32", "int32")),
)
#: Taken by the table, but named by users as what keeps whole models off GPUs and NPUs.
REPORTED = frozenset(("GATHER_ND", "TOPK_V2", "CAST"))
INSTEAD = {
    "GATHER_ND": "index with SLICE or STRIDED_SLICE",
    "TOPK_V2": "do it outside the model, on the CPU",
    "CAST": "keep one type, or cast outside the model",
    DETECTION_NAME: "export without --nms: boxes and scores, and suppress in the app",
}


def delegation_findings(graph: Subgraph, level: Level = "warns") -> Iterator[Finding]:
    """One for each kind of operator that stays behind, with how often it occurs.

    Args:
        level: of an operator that the GPU does not take.
    """
    reasons: dict[tuple[Level, str, str], int] = defaultdict(int)
    for operator in graph.operators:
        for key in _reasons(graph, operator, level):
            reasons[key] += 1
    for (found_level, name, reason), count in reasons.items():
        times = f"{count} times {name}" if count > 1 else name
        yield Finding(
            found_level,
            "operators",
            "operators that GPUs and NPUs take",
            f"{times}: {reason}",
            INSTEAD.get(name, "replace it, or let the part of the graph behind it run on the CPU"),
        )


def _reasons(graph: Subgraph, operator: Operator, level: Level) -> Iterator[tuple[Level, str, str]]:
    name = operator.name
    if name == DETECTION_NAME:
        yield "notes" if level == "notes" else "refuses", name, "refused outright on a GPU"
    elif operator.custom and name not in GPU_TAKES_CUSTOM:
        yield level, name, "a custom operator"
    elif not operator.custom and name not in GPU_TAKES:
        yield level, name, "not taken by the GPU"
    read, made = (
        [tensor for tensor in map(graph.tensor, places or ()) if tensor is not None]
        for places in (operator.inputs, operator.outputs)
    )
    types = [tensor.dtype for tensor in (*read[:1], *made[:1])]
    if name == "CAST" and not any(taken.issuperset(types) for taken in GPU_CASTS):
        yield level, name, f"{' to '.join(types)} is not taken by the GPU"
    if name in REPORTED and not operator.custom:
        yield "notes", name, "often not taken by NPUs"
    computed = [tensor for tensor in (*read, *made) if not tensor.buffer]
    most = max((len(tensor.shape or ()) for tensor in computed), default=0)
    if most > MOST_AXES:
        yield level, name, f"tensors of {most} axes, more than {MOST_AXES}"
