"""A device that obeys a known law, and what is measured on it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from mnasfpn.android_harness.device import Job, RunSettings
from mnasfpn.android_harness.measurement import DeviceInfo, Run, Telemetry
from mnasfpn.android_harness.protocol import MeasuringProtocol
from mnasfpn.latency.fitting.fit import fit
from mnasfpn.latency.kernels.execution import execution_plan
from mnasfpn.latency.kernels.kernel import Kernel, kernel_graph
from mnasfpn.latency.profile.device_profile import DeviceProfile
from mnasfpn.latency.profiling.plan import ProfilingPlan
from mnasfpn.latency.profiling.profile_device import profile_device
from mnasfpn.latency.profiling.session import SENTINEL, SENTINEL_KEY, Session
from mnasfpn.latency.profiling.store import MeasurementStore
from mnasfpn.models.graph.graph import Graph
from mnasfpn.models.space import Space

PROTOCOL = MeasuringProtocol(
    "synthetic", statistics=("median",), rounds=3, runs=3, cooldown_timeout_s=0
)


@dataclass
class SyntheticDevice:
    """Latency is a formula of the execution plan. Simulated, and says so.

    Args:
        graphs: key -> what a job of that key runs.
        noise: relative standard deviation of a sample.
        cold: factor on kernels in a whole model; measured alone they are warm.
    """

    graphs: dict[str, Graph]
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
            self.visited.append(job.key)
            true_us = self.latency_us(self.graphs[job.key])
            factors = np.exp(self.noise * rng.standard_normal(settings.runs))
            yield job, Run(round_number, position, tuple((true_us * factors).tolist()))

    @staticmethod
    def kernel_us(kernel: Kernel) -> float:
        """Measured alone, warm: work, traffic, and something per pixel."""
        traffic = kernel.bytes_in + kernel.bytes_out + kernel.bytes_weights
        return 0.2 + kernel.madds / 2e4 + traffic / 1e4 + math.prod(kernel.output[1:-1]) / 1e3

    def latency_us(self, graph: Graph) -> float:
        plan = execution_plan(graph)
        alone = len(plan.kernels) == 1
        total = self.dispatch_us
        for kernel in plan.kernels:
            total += self.kernel_us(kernel) * (1 if alone else self.cold.get(kernel.kind, 1))
        return total + (0 if alone else self.partition_us * len(plan.delegate_partitions))


TINY = Space("tiny", channels=(16, 24), kernels=(3, 5), expansions=(16, 40, 64), internal_blocks=2)


def synthetic(plan: ProfilingPlan, **law: object) -> SyntheticDevice:
    return SyntheticDevice({**plan.graphs, SENTINEL_KEY: kernel_graph(SENTINEL)}, **law)


@pytest.fixture(name="synthetic")
def synthetic_factory() -> Callable[..., SyntheticDevice]:
    """``synthetic(plan, noise=..., ...)``: a device that can run everything in a plan."""
    return synthetic


@pytest.fixture
def protocol() -> MeasuringProtocol:
    return PROTOCOL


@pytest.fixture(scope="session")
def tiny_plan() -> ProfilingPlan:
    return ProfilingPlan(TINY, calibration_heads=12, validation_heads=12, input_size=128)


@pytest.fixture(scope="session")
def measured(tiny_plan: ProfilingPlan, tmp_path_factory: pytest.TempPathFactory) -> DeviceProfile:
    """Measured on a synthetic device with 1 % of noise, not fitted."""
    with MeasurementStore(tmp_path_factory.mktemp("store") / "measurements.db") as store:
        return profile_device(Session(synthetic(tiny_plan, noise=0.01), store, PROTOCOL), tiny_plan)


@pytest.fixture(scope="session")
def fitted(measured: DeviceProfile) -> DeviceProfile:
    return fit(measured)
