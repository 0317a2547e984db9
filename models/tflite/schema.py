"""The TensorFlow Lite file format in the words of a Graph: one table for the reader and the writer.

Source: tensorflow/lite/schema/schema.fbs, through the classes generated from it that the
ai-edge-litert package brings.
"""

from __future__ import annotations

from ai_edge_litert import schema_py_generated as schema

from ..graph.operators import DETECTIONS

IDENTIFIER = b"TFL3"  # at byte 4 of every file
SCHEMA_VERSION = 3
SIGNATURE = "serving_default"

#: Operator of a Graph -> builtin code, for operators that are one builtin each.
BUILTIN_CODES: dict[str, int] = {
    "conv": schema.BuiltinOperator.CONV_2D,
    "depthwise_conv": schema.BuiltinOperator.DEPTHWISE_CONV_2D,
    "fully_connected": schema.BuiltinOperator.FULLY_CONNECTED,
    "max_pool": schema.BuiltinOperator.MAX_POOL_2D,
    "average_pool": schema.BuiltinOperator.AVERAGE_POOL_2D,
    "global_average_pool": schema.BuiltinOperator.MEAN,
    "global_max_pool": schema.BuiltinOperator.REDUCE_MAX,
    "resize_nearest": schema.BuiltinOperator.RESIZE_NEAREST_NEIGHBOR,
    "resize_bilinear": schema.BuiltinOperator.RESIZE_BILINEAR,
    "add": schema.BuiltinOperator.ADD,
    "sub": schema.BuiltinOperator.SUB,
    "mul": schema.BuiltinOperator.MUL,
    "relu": schema.BuiltinOperator.RELU,
    "relu6": schema.BuiltinOperator.RELU6,
    "hard_swish": schema.BuiltinOperator.HARD_SWISH,
    "sigmoid": schema.BuiltinOperator.LOGISTIC,
    "softmax": schema.BuiltinOperator.SOFTMAX,
    "prelu": schema.BuiltinOperator.PRELU,
    "leaky_relu": schema.BuiltinOperator.LEAKY_RELU,
    "gelu": schema.BuiltinOperator.GELU,
    "gelu_tanh": schema.BuiltinOperator.GELU,  # approximated by a tanh
    "tanh": schema.BuiltinOperator.TANH,
    "neg": schema.BuiltinOperator.NEG,
    "rsqrt": schema.BuiltinOperator.RSQRT,
    "div": schema.BuiltinOperator.DIV,
    "squared_difference": schema.BuiltinOperator.SQUARED_DIFFERENCE,
    "mean": schema.BuiltinOperator.MEAN,
    "transpose": schema.BuiltinOperator.TRANSPOSE,
    "slice": schema.BuiltinOperator.STRIDED_SLICE,
    "concat": schema.BuiltinOperator.CONCATENATION,
    "reshape": schema.BuiltinOperator.RESHAPE,
    "pad": schema.BuiltinOperator.PAD,
    "quantize": schema.BuiltinOperator.QUANTIZE,
    "requantize": schema.BuiltinOperator.QUANTIZE,  # from integers of another scale or type
    "dequantize": schema.BuiltinOperator.DEQUANTIZE,
}

#: Builtin code -> its name, as every tool prints it.
BUILTIN_NAMES: dict[int, str] = {
    code: name for name, code in vars(schema.BuiltinOperator).items() if not name.startswith("_")
}

#: Custom operator with which TensorFlow's detectors end.
DETECTION_NAME = "TFLite_Detection_PostProcess"

#: Operator of a Graph -> name of its file's operator, as every tool prints it.
OPERATOR_NAMES: dict[str, str] = {
    **{op: BUILTIN_NAMES[code] for op, code in BUILTIN_CODES.items()},
    **dict.fromkeys(DETECTIONS, DETECTION_NAME),
}

PADDING: dict[str, int] = {"same": schema.Padding.SAME, "valid": schema.Padding.VALID}

#: Fused activation of a Graph's layer -> enumeration value.
ACTIVATION: dict[str | None, int] = {
    None: schema.ActivationFunctionType.NONE,
    "relu": schema.ActivationFunctionType.RELU,
    "relu6": schema.ActivationFunctionType.RELU6,
}
