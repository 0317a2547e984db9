"""A device that obeys a known law. It computes from the files that it is given."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mnasfpn.android_harness.device import Job, RunSettings
from mnasfpn.android_harness.measurement import DeviceInfo, Run, Telemetry
from mnasfpn.latency.kernels.execution import ExecutionPlan, execution_plan
from mnasfpn.latency.kernels.kernel import Kernel
from mnasfpn.latency.profiling.store import digest, name_of
from mnasfpn.models.graph.graph import Graph
from mnasfpn.models.tflite.reader import read_tflite

_PLANS: dict[str, ExecutionPlan] = {}


def executed(file: Path) -> ExecutionPlan:
    """What a runtime executes of a file, by its content alone."""
    content = digest(file.read_bytes())
    if content not in _PLANS:
        _PLANS[content] = execution_plan(read_tflite(file))
    return _PLANS[content]


@dataclass
class SyntheticDevice:
    """Latency is a formula of the kernels in the file it is given. Simulated, and says so.

    Args:
        noise: relative standard deviation of a sample.
        cold: factor on kernels in a whole model; measured alone they are warm.
        visited: names of what was measured, in order.
    """

    noise: float = 0.0
    dispatch_us: float = 2.0
    partition_us: float = 30.0
    cold: dict[str, float] = field(default_factory=lambda: {"depthwise_conv": 1.3, "add": 1.6})
    serial: str = "synthetic"
    visited: list[str] = field(default_factory=list)

    def describe(self) -> DeviceInfo:
        return DeviceInfo(
            self.serial, "Synthetic", "law", "none", "none", "formula", provenance="simulated"
        )

    def telemetry(self) -> Telemetry:
        return Telemetry()

    def run_round(
        self, jobs: Sequence[Job], settings: RunSettings, round_number: int
    ) -> Iterator[tuple[Job, Run]]:
        rng = np.random.default_rng(round_number)
        for position, job in enumerate(jobs):
            self.visited.append(name_of(job.key))
            true_us = self.plan_us(executed(job.model))
            factors = np.exp(self.noise * rng.standard_normal(settings.runs))
            yield job, Run(round_number, position, tuple((true_us * factors).tolist()))

    @staticmethod
    def kernel_us(kernel: Kernel) -> float:
        """Measured alone, warm: work, traffic, and something per pixel."""
        traffic = kernel.bytes_in + kernel.bytes_out + kernel.bytes_weights
        return 0.2 + kernel.madds / 2e4 + traffic / 1e4 + math.prod(kernel.output[1:-1]) / 1e3

    def latency_us(self, graph: Graph) -> float:
        return self.plan_us(execution_plan(graph))

    def plan_us(self, plan: ExecutionPlan) -> float:
        alone = len(plan.kernels) == 1
        total = self.dispatch_us
        for kernel in plan.kernels:
            total += self.kernel_us(kernel) * (1 if alone else self.cold.get(kernel.kind, 1))
        return total + (0 if alone else self.partition_us * len(plan.delegate_partitions))
