"""ExecutionPlan: what a runtime makes of a Graph - fused kernels, in partitions, in order.

TensorFlow Lite hands the nodes a delegate takes to it in groups. Nodes are visited in file order;
a group takes every node of one side (delegated or not) that is ready, until none is left, and then
the other side has its turn. Each group of delegated nodes is one node of the interpreter's plan,
and entering it costs time that no kernel measured alone shows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ...models.graph.attributes import Activation
from ...models.graph.graph import Graph
from ...models.graph.layer import Layer
from ...models.graph.operators import GIVEN
from .kernel import DTYPE_BYTES, WINDOWED, Kernel, same_output
from .runtimes import XNNPACK, Runtime, kernel_dtype


@dataclass(frozen=True, slots=True)
class Step:
    """One kernel and the layers it computes; the last of them is its result."""

    kernel: Kernel
    layers: tuple[str, ...]


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
                steps=tuple(_fuse(graph, layers, consumers, runtime.fuses and delegated)),
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
    groups = []
    while waiting:
        side = runtime.delegates(waiting[0])
        taken, left = [], []
        for layer in waiting:
            if runtime.delegates(layer) == side and done.issuperset(layer.inputs):
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


CLAMPS: dict[str, Activation] = {"relu": "relu", "relu6": "relu6"}
CLAMPABLE = {"conv", "depthwise_conv", "fully_connected", "add", "sub", "mul"} | set(WINDOWED)


def _fuse(
    graph: Graph, layers: Iterable[Layer], consumers: dict[str, tuple[Layer, ...]], fuses: bool
) -> list[Step]:
    """Layers as steps: a pad joins the VALID convolution after it, an activation what it follows.

    Only if nobody else needs the tensor between the two.
    """
    steps: dict[str, Step] = {}  # by the name of the layer whose tensor it makes
    outputs = frozenset(graph.outputs)
    for layer in layers:
        before = steps.get(layer.inputs[0]) if layer.inputs else None
        alone = (
            fuses
            and before is not None
            and len(consumers[layer.inputs[0]]) == 1
            and layer.inputs[0] not in outputs
        )
        kernel = _kernel(graph, layer)
        gate = _own_gate(graph, layer, consumers) if fuses else None
        if gate in steps:
            step = steps.pop(gate)
            steps[layer.name] = Step(step.kernel, (*step.layers, layer.name))
            continue
        joined = _joined(before.kernel, kernel) if alone and before else None
        if joined is not None and before is not None:
            del steps[layer.inputs[0]]
            steps[layer.name] = Step(joined, (*before.layers, layer.name))
        else:
            steps[layer.name] = Step(kernel, (layer.name,))
    return list(steps.values())


def _own_gate(graph: Graph, layer: Layer, consumers: dict[str, tuple[Layer, ...]]) -> str | None:
    """The sigmoid that an int8 ``mul`` weights the sigmoid's own input with, if only that.

    Of eight bits, XNNPACK looks x * sigmoid(x) up in one table, as it does sigmoid(x).
    """
    if layer.op != "mul" or layer.dtype != "int8" or len(layer.inputs) != 2:
        return None
    for name, other in (layer.inputs, layer.inputs[::-1]):
        gate = graph[name]
        own = gate.op == "sigmoid" and gate.inputs == (other,)
        if own and len(consumers[name]) == 1 and name not in graph.outputs:
            return name
    return None


def _joined(first: Kernel, second: Kernel) -> Kernel | None:
    """Both as one kernel, or None if the runtime runs them one after the other."""
    if second.op in CLAMPS and first.op in CLAMPABLE and first.activation is None:
        return replace(first, activation=CLAMPS[second.op])
    if first.op == "pad" and second.op in ("conv", "depthwise_conv"):
        # Only pads that come to SAME's output; others keep their own row, as a copy.
        unpadded = first.inputs[0]
        if second.output[1:3] == same_output(unpadded, second.stride):
            return replace(second, inputs=(unpadded,))
    return None


def _kernel(graph: Graph, layer: Layer) -> Kernel:
    """The kernel of one layer by itself."""
    attributes = layer.attributes
    window = (1, 1)
    if layer.op in ("conv", "depthwise_conv") and layer.weights is not None:
        window = (layer.weights[0], layer.weights[1])
    elif layer.op in WINDOWED:
        window = attributes.window
    windowed = layer.op in WINDOWED
    groups = attributes.groups
    # A group for each channel is a depthwise convolution, however the file calls it.
    depthwise = layer.op == "conv" and groups == layer.shape[3] == graph[layer.inputs[0]].shape[3]
    inputs = tuple(graph[name].shape for name in layer.inputs)
    if layer.op in ("add", "sub", "mul") and len(inputs) == 1 and attributes.constant is None:
        inputs = (*inputs, layer.shape[-1:])
    return Kernel(
        op="depthwise_conv" if depthwise and groups > 1 else layer.op,
        inputs=inputs,
        output=layer.shape,
        window=window,
        stride=attributes.stride if windowed else (1, 1),
        dilation=attributes.dilation if windowed else (1, 1),
        groups=1 if depthwise else groups,
        activation=attributes.activation,
        dtype=kernel_dtype(layer),
        label=attributes.label,
    )
