"""What splits a graph between XNNPACK's partitions, and the milliseconds that it costs."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from ...models.graph.graph import Graph
from ...models.graph.layer import Layer
from ..kernels.execution import ExecutionPlan, Partition, execution_plan
from ..kernels.fusion import Step
from ..kernels.runtimes import XNNPACK, Runtime
from .estimate import Estimator, KernelLatency


@dataclass(frozen=True, slots=True)
class Splitter:
    """An operator that XNNPACK does not take, of all the places where it parts two partitions.

    Args:
        name: of the operator, as the file calls it or as a Graph does.
        layers: that it computes, in order.
        own_ms: that they take themselves with warm caches; where the profile does not know them,
            between ``own_low_ms`` and ``own_high_ms``.
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
        merged = execution_plan(graph, _merging(plan))
        overhead_us = estimator.calibration.overhead_us
        entering_ms = (overhead_us(plan) - overhead_us(merged)) / 1e3
    return PartitionCosts(
        len(plan.delegate_partitions),
        _splitters([each for each in _range(plan) if not each.delegated], estimator),
        entering_ms,
        estimator.profile.name,
    )


def _range(plan: ExecutionPlan) -> tuple[Partition, ...]:
    """From the first partition of the delegate to its last."""
    delegated = [place for place, each in enumerate(plan.partitions) if each.delegated]
    return plan.partitions[delegated[0] : delegated[-1] + 1] if delegated else ()


@dataclass(frozen=True, slots=True)
class _Merging(Runtime):
    """XNNPACK as it would be if it took certain layers, whatever they are."""

    layers: frozenset[str] = frozenset()

    def delegates(self, layer: Layer) -> bool:
        return layer.name in self.layers


def _merging(plan: ExecutionPlan) -> Runtime:
    """What makes one partition of all of a plan's, and of what lies between them."""
    layers = (name for each in _range(plan) for step in each.steps for name in step.layers)
    return _Merging("merging", {}, XNNPACK.fuses, frozenset(layers))


def _splitters(partitions: list[Partition], estimator: Estimator) -> tuple[Splitter, ...]:
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
