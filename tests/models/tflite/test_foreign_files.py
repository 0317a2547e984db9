"""What a runtime runs is read, however a converter laid it out; what is refused, for what it is."""

from __future__ import annotations

import contextlib

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers

from mnasfpn.errors import InvalidInput, InvalidModelFile
from mnasfpn.latency.kernels.execution import execution_plan
from mnasfpn.models.graph.builder import GraphBuilder
from mnasfpn.models.graph.graph import Graph
from mnasfpn.models.model_files import resolve, resolve_all
from mnasfpn.models.tflite.interpreter_process import InterpreterProcess
from mnasfpn.models.tflite.reader import read_tflite
from mnasfpn.models.tflite.writer import write_tflite

from .foreign_files import (
    INT32,
    OPERATOR,
    ROW,
    model,
    operator,
    subgraph,
    tensor,
    times,
    two_signatures,
)

RELU, TANH, ABS = OPERATOR.RELU, OPERATOR.TANH, OPERATOR.ABS


def read_as_run(content: bytes) -> Graph:
    """The graph of a file that the runtime runs."""
    interpreter = InterpreterProcess(content)
    interpreter.run(*(np.zeros(each.shape, each.dtype) for each in interpreter.inputs))
    return read_tflite(content)


def operators(graph: Graph) -> list[str]:
    return [layer.attributes.label or layer.op for layer in graph]


def test_the_first_signature_and_the_one_named(tmp_path) -> None:
    assert read_as_run(two_signatures()).outputs == ("doubled",)
    assert read_tflite(two_signatures(), "twice").outputs == ("doubled",)
    assert read_tflite(two_signatures(), "thrice").outputs == ("tripled",)
    with pytest.raises(InvalidModelFile, match=r"no signature 'once'; expected .*: twice, thrice"):
        read_tflite(two_signatures(), "once")
    path = tmp_path / "model.tflite"
    path.write_bytes(two_signatures())
    assert resolve(str(path), "thrice").graph.outputs == ("tripled",)


@pytest.mark.parametrize("text", ["mobilenetv2-mnasfpn", "cells.jsonl"])
def test_only_a_tflite_has_a_signature(text: str) -> None:
    with pytest.raises(InvalidInput, match=r"no signature 'x': only a \.tflite"):
        list(resolve_all(text, "x"))


def composite(index: int, name: str = "odml.own") -> object:
    attributes = np.frombuffer(bytes(flexbuffers.Dumps({"of": "ours"})), np.uint8)
    return schema.StableHLOCompositeOptionsT(name, index, attributes)


def with_composite(name: str = "odml.own", index: int = 1) -> bytes:
    """tanh, then a composite of (abs, times a constant that is handed in), then relu."""
    outer = subgraph(
        [tensor("x"), tensor("y"), tensor("a"), tensor("b"), tensor("factor", (1,), 1)],
        [
            operator(TANH, [0], [2]),
            operator(OPERATOR.STABLEHLO_COMPOSITE, [2, 4], [3], second=composite(index, name)),
            operator(RELU, [3], [1]),
        ],
    )
    inner = subgraph(
        [tensor("arg0"), tensor("arg1", (1,)), tensor("abs"), tensor("product")],
        [operator(ABS, [0], [2]), times([2, 1], 3)],
        inputs=[0, 1],
        outputs=[3],
    )
    return model(outer, inner, constants=[np.array([3], np.float32)])


def test_a_composite_is_what_it_is_made_of() -> None:
    graph = read_as_run(with_composite())
    assert operators(graph) == ["input", "tanh", "ABS", "mul", "relu"]
    assert graph["product"].attributes.constant == 3.0
    assert graph["y"].inputs == ("product",)


def test_a_composite_of_the_runtime_is_one_operator() -> None:
    graph = read_tflite(with_composite("odml.scaled_dot_product_attention"))
    assert "odml.scaled_dot_product_attention" in operators(graph)
    assert "ABS" not in operators(graph)


@pytest.mark.parametrize(
    ("index", "message"),
    [(0, "has 1 inputs and 1 outputs; it is called with 2"), (7, "subgraph 7")],
)
def test_a_composite_of_something_else_or_of_nothing_is_damage(index: int, message: str) -> None:
    with pytest.raises(InvalidModelFile, match=message):
        read_tflite(with_composite(index=index))


def test_a_composite_of_itself_is_damage() -> None:
    of_itself = operator(OPERATOR.STABLEHLO_COMPOSITE, [0], [1], second=composite(0))
    with pytest.raises(InvalidModelFile, match=r"call each other .* 32 deep"):
        read_tflite(model(subgraph([tensor("x"), tensor("y")], [of_itself])))


def test_composites_without_end_do_not_hang() -> None:
    """Each of thirty subgraphs stands for two of the next."""
    graphs = [
        subgraph(
            [tensor("x"), tensor("y"), tensor("z")],
            [
                operator(OPERATOR.STABLEHLO_COMPOSITE, [0], [2], second=composite(index + 1)),
                operator(OPERATOR.STABLEHLO_COMPOSITE, [2], [1], second=composite(index + 1)),
            ],
        )
        for index in range(30)
    ]
    last = subgraph([tensor("x"), tensor("y")], [operator(RELU, [0], [1])])
    with pytest.raises(InvalidModelFile, match="call each other more than 2,000 times"):
        read_tflite(model(*graphs, last))


def test_what_initialises_variables_runs_once() -> None:
    """CALL_ONCE is left out; what is written for the next inference is not."""
    resource = schema.TensorType.RESOURCE
    handle = schema.VarHandleOptionsT(container="", sharedName="v")
    main = subgraph(
        [tensor("x"), tensor("y"), tensor("v", (), 0, resource), tensor("old")],
        [
            operator(OPERATOR.CALL_ONCE, [], [], schema.CallOnceOptionsT(initSubgraphIndex=1)),
            operator(OPERATOR.VAR_HANDLE, [], [2], handle),
            operator(OPERATOR.READ_VARIABLE, [2], [3], schema.ReadVariableOptionsT()),
            operator(OPERATOR.ASSIGN_VARIABLE, [2, 0], [], schema.AssignVariableOptionsT()),
            times([3, 0], 1),
        ],
    )
    first = subgraph(
        [tensor("c", buffer=1), tensor("v", (), 0, resource)],
        [
            operator(OPERATOR.VAR_HANDLE, [], [1], handle),
            operator(OPERATOR.ASSIGN_VARIABLE, [1, 0], [], schema.AssignVariableOptionsT()),
        ],
        inputs=[],
        outputs=[],
    )
    graph = read_as_run(model(main, first, constants=[np.ones(ROW, np.float32)]))
    assert "CALL_ONCE" not in operators(graph)
    assert graph.outputs == ("y", "ASSIGN_VARIABLE")
    kernels = {kernel.label for kernel in execution_plan(graph).kernels}
    assert {"VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE"} <= kernels


def test_spare_subgraphs_and_tensors_do_not_matter() -> None:
    """Not even if no runtime could do anything with them."""
    used = subgraph(
        [tensor("x"), tensor("y"), tensor("spare", (0,)), tensor("odd", (-7, -7))],
        [operator(RELU, [0], [1])],
    )
    spare = subgraph([tensor("x")], [operator(OPERATOR.WHILE, [0], [0])], outputs=[0])
    assert operators(read_tflite(model(used, spare))) == ["input", "relu"]


@pytest.mark.parametrize(
    ("empty", "expected"),
    [((1, 0), ["input", "concat"]), ((1, 4), ["input", "constant", "concat"])],
)
def test_a_joined_tensor_of_no_elements_is_no_tensor(empty, expected) -> None:
    content = model(
        subgraph(
            [tensor("x"), tensor("y", (1, 4 + empty[1])), tensor("cache", empty, 1)],
            [operator(OPERATOR.CONCATENATION, [0, 2], [1], schema.ConcatenationOptionsT(axis=1))],
        ),
        constants=[np.zeros(empty, np.float32)],
    )
    assert operators(read_as_run(content)) == expected


def test_operators_on_nothing_are_foreign_and_cost_a_call() -> None:
    content = model(
        subgraph(
            [tensor("x", (0,)), tensor("y", (0,)), tensor("one", (1,))],
            [operator(OPERATOR.ADD, [0, 2], [1], schema.AddOptionsT())],
            inputs=[0, 2],
        )
    )
    graph = read_as_run(content)
    assert operators(graph) == ["input", "input", "ADD"]
    (kernel,) = execution_plan(graph).kernels
    assert kernel.signature == "foreign 0, 1 -> 0 =ADD"
    assert kernel.parse(kernel.signature) == kernel


def test_a_shape_of_no_elements_makes_a_scalar() -> None:
    content = model(
        subgraph(
            [tensor("x", (1, 1)), tensor("y", ()), tensor("shape", (0,), 1, INT32)],
            [operator(OPERATOR.RESHAPE, [0, 2], [1])],
        ),
        constants=[np.zeros(0, np.int32)],
    )
    assert operators(read_as_run(content)) == ["input", "reshape"]


def test_operators_are_sorted() -> None:
    content = model(
        subgraph(
            [tensor("x"), tensor("y"), tensor("a"), tensor("b")],
            [operator(RELU, [3], [1]), operator(TANH, [0], [2]), operator(ABS, [2], [3])],
        )
    )
    assert operators(read_as_run(content)) == ["input", "tanh", "ABS", "relu"]


def test_operators_that_can_be_computed_stay_in_the_order_of_the_file() -> None:
    content = model(
        subgraph(
            [tensor("x"), tensor("y"), tensor("z")],
            [operator(TANH, [0], [2]), operator(RELU, [0], [1])],
            outputs=[1, 2],
        )
    )
    assert operators(read_as_run(content)) == ["input", "tanh", "relu"]


def test_operators_that_wait_for_each_other_are_damage() -> None:
    content = model(
        subgraph(
            [tensor("x"), tensor("y"), tensor("z")],
            [times([0, 2], 1), operator(RELU, [1], [2])],
        )
    )
    with pytest.raises(InvalidModelFile, match="2 operators wait for each other"):
        read_tflite(content)


def test_an_input_that_is_listed_twice_is_one() -> None:
    content = model(subgraph([tensor("x"), tensor("y")], [times([0, 0], 1)], inputs=[0, 0]))
    assert operators(read_as_run(content)) == ["input", "mul"]


@pytest.mark.parametrize(
    ("graph", "layers"),
    [
        (subgraph([], [], inputs=[], outputs=[]), []),
        (subgraph([tensor("x")], [], outputs=[0]), ["input"]),
        (subgraph([tensor("c", buffer=1)], [], inputs=[], outputs=[0]), ["constant"]),
        (
            subgraph([tensor("x"), tensor("y")], [operator(RELU, [0], [1])], outputs=[]),
            ["input", "relu"],
        ),
    ],
)
def test_files_that_do_nothing_or_tell_nothing(graph, layers) -> None:
    found = read_as_run(model(graph, constants=[np.ones(ROW, np.float32)]))
    assert operators(found) == layers
    assert len(execution_plan(found).kernels) == layers.count("relu")


def test_no_subgraph_is_said_as_such() -> None:
    with pytest.raises(InvalidModelFile, match="it has no subgraph, so there is nothing to run"):
        read_tflite(model())


@pytest.mark.parametrize("name", ["WHILE", "IF", "STABLEHLO_WHILE", "STABLEHLO_CASE"])
def test_control_flow_is_refused_as_such(name: str) -> None:
    code = getattr(OPERATOR, name)
    content = model(subgraph([tensor("x"), tensor("y")], [operator(code, [0], [1])]))
    with pytest.raises(InvalidModelFile, match=rf"control flow \({name}\), which cannot be estim"):
        read_tflite(content)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        (0, "input 'x' has a shape that is only known at run time .*fixed input size"),
        (1, "tensor 'y' has a shape that is only known at run time .*depends on what the data are"),
    ],
)
def test_shapes_of_inputs_and_of_results_are_told_apart(place: int, message: str) -> None:
    free = {"shapeSignature": np.array([1, -1], np.int32)}
    tensors = [tensor(name, **(free if index == place else {})) for index, name in enumerate("xy")]
    with pytest.raises(InvalidModelFile, match=message):
        read_tflite(model(subgraph(tensors, [operator(OPERATOR.UNIQUE, [0], [1])])))


def test_types_newer_than_this_version_are_said_so() -> None:
    content = model(subgraph([tensor("x", dtype=99), tensor("y")], [operator(RELU, [0], [1])]))
    with pytest.raises(InvalidModelFile, match="has the type 99, which this version does not know"):
        read_tflite(content)


def test_operators_newer_than_this_version_are_foreign() -> None:
    content = model(subgraph([tensor("x"), tensor("y")], [operator(999, [0], [1])]))
    assert operators(read_tflite(content)) == ["input", "BUILTIN_999"]


def test_further_outputs_are_no_work_of_their_own() -> None:
    content = model(
        subgraph(
            [tensor("axis", (), 1, INT32), tensor("x"), tensor("a", (1, 2)), tensor("b", (1, 2))],
            [operator(OPERATOR.SPLIT, [0, 1], [2, 3], schema.SplitOptionsT(numSplits=2))],
            inputs=[1],
            outputs=[2, 3],
        ),
        constants=[np.array(1, np.int32)],
    )
    (step,) = execution_plan(read_as_run(content)).steps
    assert step.layers == ("a", "b")
    assert step.kernel.signature == "foreign 1x4 -> 1x2, 1x2 =SPLIT"
    assert step.kernel.bytes_out == 16
    assert step.kernel.parse(step.kernel.signature) == step.kernel


def with_detections() -> bytes:
    builder = GraphBuilder()
    boxes, scores = builder.input("boxes", (1, 30, 4)), builder.input("scores", (1, 30, 5))
    found = builder.add_layer("found", "detections", (boxes, scores), None, target=(1, 7, 4))
    return write_tflite(builder.graph((found,)))


def test_the_options_of_detections_say_how_many_there_are() -> None:
    """The file says no shape: TensorFlow's converters leave it open."""
    file = schema.ModelT.InitFromPackedBuf(with_detections(), 0)
    for index in file.subgraphs[0].operators[0].outputs:
        file.subgraphs[0].tensors[index].shape = np.array([], np.int32)
    builder = flatbuffers.Builder(1024)
    builder.Finish(file.Pack(builder), b"TFL3")
    graph = read_as_run(bytes(builder.Output()))
    assert graph["found"].shape == (1, 7, 4)
    (step,) = execution_plan(graph).steps
    assert step.kernel.signature == "detections 1x30x4, 1x30x5 -> 1x7x4"


@pytest.mark.slow
@pytest.mark.parametrize("content", [two_signatures(), with_composite(), with_detections()])
def test_damaged_oddities_are_read_or_refused(content: bytes) -> None:
    """Every byte in turn, with an extreme value: never another error, never a hang."""
    for place in range(8, len(content)):
        for value in (0, 1, 127, 255):
            damaged = bytearray(content)
            damaged[place] = value
            with contextlib.suppress(InvalidModelFile):
                read_tflite(bytes(damaged))
