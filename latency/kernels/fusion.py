"""Which layers a runtime executes as one kernel.

Pads and activations join the operator that they belong to; what XNNPACK does beside that with
integers is here too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from ...models.graph.attributes import Activation
from ...models.graph.graph import Graph
from ...models.graph.layer import Layer
from ...models.graph.operators import BINARY
from .kernel import WINDOWED, Kernel, same_output
from .runtimes import kernel_dtype

CLAMPS: dict[str, Activation] = {"relu": "relu", "relu6": "relu6"}
CLAMPABLE = {"conv", "depthwise_conv", "fully_connected", "add", "sub", "mul"} | set(WINDOWED)


@dataclass(frozen=True, slots=True)
class Step:
    """One kernel and the layers it computes; the last of them is its result."""

    kernel: Kernel
    layers: tuple[str, ...]


def fused(
    graph: Graph, layers: Iterable[Layer], consumers: dict[str, tuple[Layer, ...]], fuses: bool
) -> list[Step]:
    """Layers as steps: a pad joins the VALID convolution after it, an activation what it follows.

    Only if nobody else needs the tensor between the two.
    """
    steps: dict[str, Step] = {}  # by the name of the layer whose tensor it makes
    outputs = frozenset(graph.outputs)
    for layer in layers:
        if layer.op == "further_output":
            (first,) = layer.inputs
            steps[first] = _with_further(steps[first], layer)
            continue
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


def _with_further(step: Step, layer: Layer) -> Step:
    """The step of an operator that makes another tensor as well."""
    kernel = step.kernel
    if kernel.op == "foreign":  # of others, the first says how large it is
        kernel = replace(kernel, further=(*kernel.further, layer.shape))
    return Step(kernel, (*step.layers, layer.name))


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
    if layer.op in BINARY and len(inputs) == 1 and attributes.constant is None:
        inputs = (*inputs, layer.shape[-1:])
    return Kernel(
        op="depthwise_conv" if depthwise and groups > 1 else layer.op,
        inputs=inputs,
        output=layer.shape,
        window=window,
        stride=attributes.stride if windowed or layer.op == "slice" else (1, 1),
        dilation=attributes.dilation if windowed else (1, 1),
        groups=1 if depthwise else groups,
        activation=attributes.activation,
        dtype=kernel_dtype(layer),
        label=attributes.label,
        axes=attributes.axes,
    )
