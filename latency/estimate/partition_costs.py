"""What splits a graph between XNNPACK's partitions, and the milliseconds that it costs."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from ...models.graph.graph import Graph
from ..kernels.execution import ExecutionPlan, Partition, execution_plan
from ..kernels.fusion import Step
from ..kernels.runtimes import XNNPACK
from ..profile.calibration import MEGABYTE, Calibration
from .estimate import Estimator, KernelLatency


@dataclass(frozen=True, slots=True)
class Splitter:
    """An operator that XNNPACK does not take, of all the places where it parts two partitions.

    Args:
        name: of the operator, as the file calls it or as a Graph does.
        layers: that it computes, in order.
        own_ms: that they take themselves; where the profile does not know them, between
            ``own_low_ms`` and ``own_high_ms``.
    """

    name: str
    layers: tuple[str, ...]
    own_ms: float
    own_low_ms: float
    own_high_ms: float
    known: bool


@dataclass(frozen=True, slots=True)
class PartitionCosts:
    """XNNPACK's partitions of a graph.

    Args:
        partitions: delegated; one is the least.
        splitters: the costliest first.
        entering_ms: what more than one partition costs besides the operators between them: to enter
            each, and to hand tensors over. None: the profile was measured without XNNPACK.
        profile: that says so, by name.
    """

    partitions: int
    splitters: tuple[Splitter, ...]
    entering_ms: float | None
    profile: str


def partition_costs(graph: Graph, estimator: Estimator) -> PartitionCosts:
    """Partitions as XNNPACK makes them of a graph, whichever runtime the profile is of."""
    plan = execution_plan(graph, XNNPACK)
    entering_ms = None
    if estimator.runtime == XNNPACK:
        entering_ms = _entering_us(plan, graph.prune(), estimator.calibration) / 1e3
    return PartitionCosts(
        len(plan.delegate_partitions),
        _splitters(graph, _between(plan), estimator),
        entering_ms,
        estimator.profile.name,
    )


def _between(plan: ExecutionPlan) -> list[Partition]:
    """Partitions of the interpreter's own that have one of the delegate before and after them."""
    delegated = [place for place, each in enumerate(plan.partitions) if each.delegated]
    if not delegated:
        return []
    inner = plan.partitions[delegated[0] : delegated[-1]]
    return [each for each in inner if not each.delegated]


def _splitters(
    graph: Graph, partitions: list[Partition], estimator: Estimator
) -> tuple[Splitter, ...]:
    steps: dict[str, list[Step]] = defaultdict(list)
    for partition in partitions:
        for step in partition.steps:
            steps[step.kernel.label or step.kernel.op].append(step)
    found = []
    for name, each in steps.items():
        latencies = [estimator.kernel(step.kernel) for step in each]
        found.append(
            Splitter(
                name=name,
                layers=tuple(layer for step in each for layer in step.layers),
                own_ms=sum(latency.warm_us for latency in latencies) / 1e3,
                own_low_ms=sum(_bounds(latency)[0] for latency in latencies) / 1e3,
                own_high_ms=sum(_bounds(latency)[1] for latency in latencies) / 1e3,
                known=all(latency.bound is None for latency in latencies),
            )
        )
    return tuple(sorted(found, key=lambda splitter: -splitter.own_ms))


def _bounds(latency: KernelLatency) -> tuple[float, float]:
    """In microseconds; the same twice of a kernel that the profile knows."""
    if latency.bound is None:
        return latency.warm_us, latency.warm_us
    return latency.bound.low_us, latency.bound.high_us


def _entering_us(plan: ExecutionPlan, graph: Graph, calibration: Calibration) -> float:
    """Beyond what one partition of the whole graph would cost."""
    if not plan.delegate_partitions:
        return 0.0
    ends = {layer.name: layer for layer in graph if layer.name in graph.outputs}
    crossing = sum(_bytes(layer) for layer in (*graph.inputs, *ends.values()))
    whole_us = (
        calibration.partition_us + calibration.crossing_us_per_mb * crossing / MEGABYTE
    )
    return calibration.overhead_us(plan) - calibration.intercept_us - whole_us
