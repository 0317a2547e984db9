"""What can be read off a file without running it: its operators, and how its outputs are stored."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from .convert import OUTPUTS


@dataclass(frozen=True, slots=True)
class OutputQuantisation:
    """Of one output: real value = (stored - zero_point) * scale; scale 0 means float."""

    output: str
    scale: float
    zero_point: int


def list_operators(content: bytes) -> tuple[dict[str, int], tuple[str, ...]]:
    """Builtin operators of a .tflite file with their number, and the names of all others."""
    from ai_edge_litert import schema_py_generated as schema

    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if name[0] != "_"}
    model = schema.Model.GetRootAs(content)
    builtin: Counter[str] = Counter()
    custom: list[str] = []
    graph = model.Subgraphs(0)
    for index in range(graph.OperatorsLength()):
        code = model.OperatorCodes(graph.Operators(index).OpcodeIndex())
        if (name := code.CustomCode()) is not None:
            custom.append(name.decode())
        else:
            builtin[names[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]] += 1
    return dict(sorted(builtin.items())), tuple(sorted(set(custom)))


def delegate_partitions(content: bytes) -> int:
    """Into how many pieces XNNPACK's part of a file falls on this PC."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    # The only place where the runtime says it.
    return sum(each["op_name"] == "DELEGATE" for each in interpreter._get_ops_details())


def output_quantisation(content: bytes) -> tuple[OutputQuantisation, ...]:
    """Of a raw file; looks behind the DEQUANTIZE that ends an integer model."""
    from ai_edge_litert import schema_py_generated as schema

    graph = schema.Model.GetRootAs(content).Subgraphs(0)
    made_by = {
        graph.Operators(index).Outputs(0): graph.Operators(index)
        for index in range(graph.OperatorsLength())
    }
    found = []
    for name, output in zip(OUTPUTS, graph.OutputsAsNumpy().tolist(), strict=True):
        details = graph.Tensors(output).Quantization()
        if (details is None or not details.ScaleLength()) and output in made_by:
            details = graph.Tensors(made_by[output].Inputs(0)).Quantization()
        quantised = details is not None and details.ScaleLength() == 1
        found.append(
            OutputQuantisation(
                output=name,
                scale=float(details.Scale(0)) if quantised else 0.0,
                zero_point=int(details.ZeroPoint(0)) if quantised else 0,
            )
        )
    return tuple(found)
