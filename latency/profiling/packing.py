"""Many kernels in one model file, told apart again by the runtime's operator profile.

Measuring a kernel in a file of its own costs a process, a push and a warm-up for microseconds of
work. Packed, a whole table is a handful of files: each kernel reads an input and writes an output
of its own, so all of them run in every inference. What XNNPACK calls its operators is in
:mod:`...android_harness.host.operator_profile`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from ...android_harness.host.operator_profile import (
    ACTIVATION_APART,
    XNNPACK_ACTIVATION,
    XNNPACK_NAMES,
)
from ...android_harness.measurement import OpTiming, Run
from ...errors import BenchmarkOutputError, InvalidInput
from ...models.graph.graph import Graph
from ...models.graph.layer import Layer
from ...models.tflite.schema import OPERATOR_NAMES
from ..kernels.execution import ExecutionPlan, execution_plan
from ..kernels.kernel import HYBRID, Kernel, kernel_graph
from ..kernels.runtimes import XNNPACK, Runtime

#: Of inputs, outputs and weights in one file: a phone must hold several copies of them.
MOST_BYTES = 48_000_000
RESOLUTION_US = 1.0  # of an operator profile
INSTEAD = "measure kernels in files of their own: --kernels alone"
#: XNNPACK rounds the time of each of its operators down.
XNNPACK_ROUNDING_US = RESOLUTION_US / 2
FLAT = 2  # axes of a dense layer's result that lost its input's
POINT = ((1, 1), (1, 1))  # window and stride of a pointwise convolution


@dataclass(frozen=True)
class Pack:
    """Kernels that are measured together, and the graph that holds them side by side."""

    kernels: tuple[Kernel, ...]
    graph: Graph
    runtime: Runtime = XNNPACK

    @cached_property
    def executed(self) -> ExecutionPlan:
        return execution_plan(self.graph, self.runtime)

    def latencies_us(self, rows: Sequence[OpTiming]) -> dict[Kernel, float]:
        """Time of each kernel from the operator profile of the pack's file.

        Raises:
            BenchmarkOutputError: as :func:`step_latencies_us`.
        """
        latencies = step_latencies_us(self.executed, rows)
        # Execution order is not the order of the file: the delegate's kernels come together.
        return {
            self.kernels[int(step.layers[-1].split("/")[0])]: max(latency_us, RESOLUTION_US / 2)
            for step, latency_us in zip(self.executed.steps, latencies, strict=True)
        }

    @property
    def name(self) -> str:
        """Tells it from other packs of a plan, whose kernels are all different."""
        return f"pack of {len(self.kernels)} from {self.kernels[0].signature}"

    def runs(self, run: Run, statistic: str) -> dict[Kernel, Run]:
        """A profiled run of the pack as one run of each kernel, under the name of a statistic.

        Raises:
            BenchmarkOutputError: as :func:`step_latencies_us`.
        """
        if run.error:
            return dict.fromkeys(self.kernels, run)
        repeats = {"count": run.stats_us["count"]}
        return {
            kernel: replace(run, stats_us={statistic: latency_us, **repeats}, op_profile=())
            for kernel, latency_us in self.latencies_us(run.op_profile).items()
        }


def pack(
    kernels: Iterable[Kernel], runtime: Runtime = XNNPACK, most_bytes: int = MOST_BYTES
) -> tuple[Pack, ...]:
    """Kernels in as few files as ``most_bytes`` allows, in the given order.

    Raises:
        InvalidInput: a kernel cannot be built, or is given twice.
    """
    kernels = tuple(kernels)
    if len(set(kernels)) < len(kernels):
        raise InvalidInput("a kernel is given twice; pack each of them once")
    groups = _groups(kernels, most_bytes)
    return tuple(Pack(group, _side_by_side(group), runtime) for group in groups)


def _groups(kernels: Iterable[Kernel], most_bytes: int) -> Iterator[tuple[Kernel, ...]]:
    group: list[Kernel] = []
    size = 0
    for kernel in kernels:
        size += kernel.bytes_in + kernel.bytes_out + kernel.bytes_weights
        if group and size > most_bytes:
            yield tuple(group)
            group, size = [], kernel.bytes_in + kernel.bytes_out + kernel.bytes_weights
        group.append(kernel)
    if group:
        yield tuple(group)


def _side_by_side(kernels: Sequence[Kernel]) -> Graph:
    """The graphs of the kernels as one, layers renamed to ``<index>/<name>``."""
    layers: list[Layer] = []
    outputs: list[str] = []
    for index, kernel in enumerate(kernels):
        graph = kernel_graph(kernel)
        for layer in graph:
            inputs = tuple(f"{index}/{name}" for name in layer.inputs)
            layers.append(replace(layer, name=f"{index}/{layer.name}", inputs=inputs))
        outputs += [f"{index}/{name}" for name in graph.outputs]
    return Graph(tuple(layers), tuple(outputs))


def step_latencies_us(plan: ExecutionPlan, rows: Sequence[OpTiming]) -> tuple[float, ...]:
    """Time of each step of an execution plan, from an operator profile of the same graph.

    The rows must be what the runtime is known to make of the plan, one after the other.

    Raises:
        BenchmarkOutputError: there are fewer rows or more, one is of another operator, or a tool
            has merged several operators into one row, which happens when a graph has more than one
            delegate partition. Nothing is guessed then.
    """
    expected = [
        (index, step.kernel, names, partition.delegated)
        for index, (partition, step) in enumerate(
            (partition, step) for partition in plan.partitions for step in partition.steps
        )
        for names in _row_names(step.kernel, partition.delegated)
    ]
    for row in rows:
        if row.times_called != 1:
            raise BenchmarkOutputError(
                f"the operator profile has one row for {row.times_called} calls of {row.name!r}; "
                f"expected a row for each. Which kernel took how long cannot be told: {INSTEAD}"
            )
    if len(rows) != len(expected):
        raise BenchmarkOutputError(
            f"the operator profile has {len(rows)} rows; expected {len(expected)} for "
            f"{len(plan.steps)} kernels. The runtime executes this graph in a way that is not "
            f"known: {INSTEAD}"
        )
    latencies = [0.0] * len(plan.steps)
    for (index, kernel, names, delegated), row in zip(expected, rows, strict=True):
        if not row.op.removeprefix("Delegate/").startswith(names):
            raise BenchmarkOutputError(
                f"the operator profile has {row.op!r} where {kernel.signature!r} was expected, "
                f"which this runtime calls {' or '.join(names)}: {INSTEAD}"
            )
        latencies[index] += row.mean_us + (XNNPACK_ROUNDING_US if delegated else 0)
    return tuple(latencies)


def _row_names(kernel: Kernel, delegated: bool) -> Iterator[tuple[str, ...]]:
    """What the rows of a kernel may begin with, one item per row."""
    if not delegated:
        yield (kernel.label if kernel.op == "foreign" else OPERATOR_NAMES[kernel.op],)
        return
    if kernel.op not in XNNPACK_NAMES:
        raise BenchmarkOutputError(
            f"what XNNPACK calls {kernel.signature!r} is not known: {INSTEAD}"
        )
    if kernel.op == "fully_connected" and len(kernel.output) == FLAT:
        yield XNNPACK_NAMES["reshape"]
    if kernel.dtype == HYBRID and kernel.op == "conv" and (kernel.window, kernel.stride) != POINT:
        yield XNNPACK_NAMES["quantize"]  # of a pointwise product it is inside
    yield XNNPACK_NAMES[kernel.op]
    if kernel.activation and kernel.op in ACTIVATION_APART:
        yield (XNNPACK_ACTIVATION,)
