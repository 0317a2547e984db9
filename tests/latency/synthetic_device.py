"""A device that obeys a known law. It computes from the files that it is given."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mnasfpn.android_harness.device import Job, RunSettings
from mnasfpn.android_harness.measurement import DeviceInfo, Run, Telemetry
from mnasfpn.latency.kernels.cache_traffic import cold_megabytes
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
        tensors_us_per_mb, weights_us_per_mb: of kernels in a whole model; alone they find all of it
            in the caches.
        visited: names of what was measured, in order.
    """

    noise: float = 0.0
    dispatch_us: float = 2.0
    partition_us: float = 30.0
    tensors_us_per_mb: float = 40.0
    weights_us_per_mb: float = 200.0
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
        total = self.dispatch_us + sum(map(self.kernel_us, plan.kernels))
        if len(plan.kernels) == 1:
            return total
        partitions_us = self.partition_us * len(plan.delegate_partitions)
        return total + sum(map(self.cold_us, plan.kernels)) + partitions_us

    def cold_us(self, kernel: Kernel) -> float:
        """What a kernel takes more in a whole model."""
        tensors, weights, _ = cold_megabytes(kernel)
        return self.tensors_us_per_mb * tensors + self.weights_us_per_mb * weights
