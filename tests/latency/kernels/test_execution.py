from __future__ import annotations

import numpy as np
import pytest

from mnasfpn.errors import InvalidInput
from mnasfpn.latency.kernels.execution import execution_plan
from mnasfpn.latency.kernels.kernel import DTYPE_BYTES, Kernel, kernel_graph
from mnasfpn.latency.kernels.runtimes import BUILTIN, runtime_named
from mnasfpn.latency.profiling.head_graph import head_graph
from mnasfpn.latency.profiling.sampled_heads import random_heads
from mnasfpn.latency.profiling.sampled_networks import random_networks
from mnasfpn.latency.profiling.space_kernels import space_kernels
from mnasfpn.models.graph.arithmetic import Arithmetic, in_arithmetic, integer_graph
from mnasfpn.models.graph.builder import GraphBuilder
from mnasfpn.models.graph.graph import Graph
from mnasfpn.models.published import PUBLISHED
from mnasfpn.models.space import CONN_SEARCH, MNASFPN, NO_EXPAND
from mnasfpn.models.tflite.writer import write_tflite

from ai_edge_litert.interpreter import Interpreter  # isort: skip


def delegate_nodes(graph: Graph) -> list[tuple[frozenset[str], frozenset[str]]]:
    """(tensors read, tensors written) of each delegate node of the real interpreter."""
    interpreter = Interpreter(model_content=write_tflite(graph), num_threads=1)
    interpreter.allocate_tensors()
    names = {detail["index"]: detail["name"] for detail in interpreter.get_tensor_details()}
    layers = {layer.name for layer in graph}

    def named(indices: np.ndarray) -> frozenset[str]:
        return frozenset(names[i] for i in indices if names.get(i) in layers)

    return [
        (named(node["inputs"]), named(node["outputs"]))
        for node in interpreter._get_ops_details()
        if node["op_name"] == "DELEGATE"
    ]


def assert_as_the_runtime(graph: Graph) -> None:
    """Partitions, what enters and what leaves them, are those of the real runtime."""
    expected = []
    for partition in execution_plan(graph).delegate_partitions:
        made = {name for step in partition.steps for name in step.layers}
        read = {name for layer in made for name in graph[layer].inputs} - made
        written = {
            name
            for name in made
            if name in graph.outputs
            or any(name in layer.inputs for layer in graph if layer.name not in made)
        }
        sizes = [
            sum(DTYPE_BYTES[graph[name].dtype] * graph[name].elements for name in names)
            for names in (read, written)
        ]
        assert sizes == [partition.bytes_in, partition.bytes_out]
        expected.append((frozenset(read), frozenset(written)))
    nodes = delegate_nodes(graph)
    assert len(nodes) == len(expected)
    assert set(nodes) == set(expected)


@pytest.mark.parametrize("arithmetic", ["int8", "hybrid"])
def test_partitions_of_quantised_networks_are_the_runtimes(arithmetic: Arithmetic) -> None:
    """Its integer kernels are fewer: hard-swish, average pools and softmax stay behind."""
    networks = random_networks(4, 3, arithmetic)
    for network in networks:
        assert_as_the_runtime(network.graph)
    assert max(len(execution_plan(network.graph).delegate_partitions) for network in networks) > 3
    (head,) = random_heads(MNASFPN, 1, seed=12)
    assert_as_the_runtime(in_arithmetic(head_graph(head.genotype), arithmetic))


@pytest.mark.parametrize("space", [MNASFPN, CONN_SEARCH, NO_EXPAND], ids=lambda s: s.name)
def test_partitions_of_random_heads_are_the_runtimes(space) -> None:
    for head in random_heads(space, 6, seed=11):
        assert_as_the_runtime(head_graph(head.genotype))


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_partitions_of_published_systems_are_the_runtimes(name: str) -> None:
    assert_as_the_runtime(PUBLISHED[name].graph())


@pytest.mark.slow
def test_each_kind_of_kernel_goes_where_the_runtime_sends_it() -> None:
    kinds = {
        (kernel.kind, kernel.window, kernel.stride): kernel for kernel in space_kernels(MNASFPN)
    }
    others = (
        "concat 1x2x8, 1x2x8, 1x2x8, 1x2x8, 1x2x8 -> 1x10x8",
        "concat 1x2x8, 1x2x8, 1x2x8, 1x2x8, 1x2x8, 1x2x8 -> 1x12x8",
        "average_pool 1x9x9x4 -> 1x3x3x4 k3x3 s3x3",
        "average_pool 1x8x8x4 -> 1x2x2x4 k3x3 s4x4",
        "max_pool 1x8x8x4 -> 1x4x4x4 k1x1 s2x2",
        "resize_bilinear 1x8x8x4 -> 1x16x16x4",
        "hard_swish 1x8x8x4 -> 1x8x8x4",
        "fully_connected 1x64 -> 1x10",
        "softmax 1x10 -> 1x10",
    )
    for kernel in (*kinds.values(), *map(Kernel.parse, others)):
        graph = kernel_graph(kernel)
        planned = len(execution_plan(graph).delegate_partitions)
        assert planned == len(delegate_nodes(graph)), kernel.signature


def test_neighbours_are_fused_only_where_nobody_reads_between_them() -> None:
    builder = GraphBuilder()
    x = builder.input("x", (1, 9, 9, 4))
    padded = builder.unary("pad", "pad", x, pads=((1, 1), (1, 1)))
    conv = builder.conv("conv", padded, 8, 3, 2, padding="valid")
    relu = builder.unary("relu", "relu6", conv)
    graph = builder.graph((relu,))
    (fused,) = execution_plan(graph).steps
    assert fused.kernel.signature == "conv 1x9x9x4 -> 1x5x5x8 k3x3 s2x2 relu6"
    assert fused.layers == ("pad", "conv", "relu")
    assert len(execution_plan(builder.graph((relu, conv))).steps) == 2
    assert len(execution_plan(builder.graph((relu, padded))).steps) == 2
    assert len(execution_plan(graph, BUILTIN).steps) == 3
    assert not execution_plan(graph, BUILTIN).delegate_partitions


def test_a_pad_that_is_not_sames_stays_alone() -> None:
    builder = GraphBuilder()
    x = builder.input("x", (1, 9, 9, 4))
    padded = builder.unary("pad", "pad", x, pads=((3, 3), (3, 3)))
    conv = builder.conv("conv", padded, 8, 3, padding="valid")
    plan = execution_plan(builder.graph((conv,)))
    assert [kernel.op for kernel in plan.kernels] == ["pad", "conv"]


def test_an_unknown_runtime_is_named() -> None:
    with pytest.raises(InvalidInput, match="xnnpack"):
        runtime_named("tensorrt")


def swish(shared: bool) -> Graph:
    builder = GraphBuilder()
    x = builder.conv("x", builder.input("in", (1, 8, 8, 16)), 16)
    gate = builder.unary("gate", "sigmoid", x)
    outputs = [builder.mul("y", x, gate)]
    return builder.graph([*outputs, gate] if shared else outputs)


@pytest.mark.parametrize(("shared", "steps"), [(False, 1), (True, 2)])
def test_in_int8_a_gate_of_its_own_input_is_one_table(shared: bool, steps: int) -> None:
    """Unless somebody else reads the gate; in float32 they are always two."""
    (delegated,) = execution_plan(integer_graph(swish(shared), "int8")).partitions
    inner = [s for s in delegated.steps if {"gate", "y"} & set(s.layers)]
    assert len(inner) == steps
    assert inner[0].kernel == Kernel.parse("sigmoid 1x8x8x16 -> 1x8x8x16 int8")
    assert [k.op for k in execution_plan(swish(shared)).kernels] == ["conv", "sigmoid", "mul"]
