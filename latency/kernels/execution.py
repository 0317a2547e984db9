"""ExecutionPlan: what a runtime makes of a Graph - fused kernels, in partitions, in order.

TensorFlow Lite hands the nodes a delegate takes to it in groups. Nodes are visited in file order;
a group takes every node of one side (delegated or not) that is ready, until none is left, and then
the other side has its turn. Each group of delegated nodes is one node of the interpreter's plan,
and entering it costs time that no kernel measured alone shows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ...models.graph.graph import Graph
from ...models.graph.layer import Layer
from ...models.graph.operators import GIVEN
from .fusion import Step, fused
from .kernel import DTYPE_BYTES, Kernel
from .runtimes import XNNPACK, Runtime


@dataclass(frozen=True, slots=True)
class Partition:
    """Steps that one side executes without the other in between.

    Args:
        delegated: executed by the delegate, as one node of the interpreter.
        bytes_in: of the distinct tensors read that were made outside, graph inputs included.
        bytes_out: of the tensors made here that are read outside or are graph outputs.
    """

    delegated: bool
    steps: tuple[Step, ...]
    bytes_in: int
    bytes_out: int


@dataclass(frozen=True, slots=True)
class ExecutionPlan:
    """Partitions in the order in which they run."""

    partitions: tuple[Partition, ...]

    @property
    def steps(self) -> tuple[Step, ...]:
        return tuple(step for partition in self.partitions for step in partition.steps)

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        return tuple(step.kernel for step in self.steps)

    @property
    def delegate_partitions(self) -> tuple[Partition, ...]:
        return tuple(partition for partition in self.partitions if partition.delegated)


def execution_plan(graph: Graph, runtime: Runtime = XNNPACK) -> ExecutionPlan:
    """What the runtime executes for a graph; layers that reach no output are not executed."""
    graph = graph.prune()
    consumers = graph.consumers()
    return ExecutionPlan(
        tuple(
            Partition(
                delegated=delegated,
                steps=tuple(fused(graph, layers, consumers, runtime.fuses and delegated)),
                bytes_in=sum(map(_bytes, _read_from_outside(graph, layers))),
                bytes_out=sum(map(_bytes, _read_outside(graph, layers, consumers))),
            )
            for delegated, layers in _groups(graph, runtime)
        )
    )


def _groups(graph: Graph, runtime: Runtime) -> list[tuple[bool, list[Layer]]]:
    """(delegated, its layers in order) for each group, as TensorFlow Lite forms them.

    Layers become ready when all they read is there, so one pass over a graph in computing order
    collects all that a group can take.
    """
    waiting = [layer for layer in graph if layer.op not in GIVEN]
    done = {layer.name for layer in graph if layer.op in GIVEN}
    # Further outputs of an operator are on its side.
    sides = {
        layer.name: runtime.delegates(
            graph[layer.inputs[0]] if layer.op == "further_output" else layer
        )
        for layer in waiting
    }
    groups = []
    while waiting:
        side = sides[waiting[0].name]
        taken, left = [], []
        for layer in waiting:
            if sides[layer.name] == side and done.issuperset(layer.inputs):
                taken.append(layer)
                done.add(layer.name)
            else:
                left.append(layer)
        groups.append((side, taken))
        waiting = left
    return groups


def _read_from_outside(graph: Graph, layers: Sequence[Layer]) -> list[Layer]:
    inside = {layer.name for layer in layers}
    read = dict.fromkeys(name for layer in layers for name in layer.inputs)
    return [graph[name] for name in read if name not in inside]


def _read_outside(
    graph: Graph, layers: Sequence[Layer], consumers: dict[str, tuple[Layer, ...]]
) -> list[Layer]:
    inside, outputs = {layer.name for layer in layers}, frozenset(graph.outputs)
    return [
        layer
        for layer in layers
        if layer.name in outputs
        or any(reader.name not in inside for reader in consumers[layer.name])
    ]


def _bytes(layer: Layer) -> int:
    return math.prod(layer.shape) * DTYPE_BYTES.get(layer.dtype, 4)
