"""Profiling with packed kernels: the table is what the operator profile says, and is resumable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from mnasfpn.android_harness.device import Job, RunSettings
from mnasfpn.android_harness.host.operator_profile import (
    ACTIVATION_APART,
    XNNPACK_ACTIVATION,
    XNNPACK_NAMES,
)
from mnasfpn.android_harness.measurement import OpTiming, Run
from mnasfpn.errors import BenchmarkOutputError
from mnasfpn.latency.fitting.fit import fit
from mnasfpn.latency.kernels.execution import ExecutionPlan
from mnasfpn.latency.kernels.kernel import Kernel
from mnasfpn.latency.profiling.packing import XNNPACK_ROUNDING_US
from mnasfpn.latency.profiling.plan import ProfilingPlan
from mnasfpn.latency.profiling.profile_device import profile_device
from mnasfpn.latency.profiling.session import PACK_SENTINEL_NAME, Session
from mnasfpn.latency.profiling.store import MeasurementStore
from mnasfpn.models.tflite.schema import BUILTIN_CODES, BUILTIN_NAMES
from mnasfpn.tests.latency.synthetic_device import executed


class Profiled:
    """The synthetic device with an operator profile that obeys the same law."""

    def __init__(self, device, times_called: int = 1) -> None:
        self.inner, self.times_called = device, times_called

    def describe(self):
        return self.inner.describe()

    def telemetry(self):
        return self.inner.telemetry()

    def run_round(
        self, jobs: Sequence[Job], settings: RunSettings, round_number: int
    ) -> Iterator[tuple[Job, Run]]:
        for job, run in self.inner.run_round(jobs, settings, round_number):
            if settings.op_profile:
                rows = tuple(self.rows(executed(job.model)))
                stats = {"median": sum(row.mean_us for row in rows), "count": settings.runs}
                yield job, replace(run, samples_us=(), stats_us=stats, op_profile=rows)
            else:
                yield job, run

    def rows(self, plan: ExecutionPlan) -> Iterator[OpTiming]:
        for partition in plan.partitions:
            for step in partition.steps:
                kernel, us = step.kernel, self.inner.kernel_us(step.kernel)
                names = [BUILTIN_NAMES[BUILTIN_CODES[kernel.op]]]
                if partition.delegated:
                    names = [XNNPACK_NAMES[kernel.op][0]]
                    if kernel.activation and kernel.op in ACTIVATION_APART:
                        names.append(XNNPACK_ACTIVATION)
                    us -= len(names) * XNNPACK_ROUNDING_US
                for name in names:
                    yield OpTiming(name, name, us / len(names), self.times_called)


@pytest.fixture
def packed_plan(tiny_plan: ProfilingPlan) -> ProfilingPlan:
    return replace(tiny_plan, packed=True)


@pytest.mark.slow
def test_the_table_is_what_the_profile_says_without_any_call(
    packed_plan, synthetic, protocol, tmp_path: Path
) -> None:
    device = Profiled(synthetic())
    with MeasurementStore(tmp_path / "m.db") as store:
        profile = profile_device(Session(device, store, protocol), packed_plan)
    assert profile.dispatch_us == 0
    assert len(profile.table) == len(packed_plan.kernels)
    for row in profile.table:
        expected_us = max(device.inner.kernel_us(Kernel.parse(row.kernel)), 0.5)
        assert row.latency_us == pytest.approx(expected_us)
    fitted = fit(profile)
    assert fitted.validation is not None
    assert fitted.validation.accuracy.within_10.value == 1


@pytest.mark.slow
def test_packs_are_visited_instead_of_kernels_and_never_twice(
    packed_plan, synthetic, protocol, tmp_path: Path
) -> None:
    visited = []
    for _ in range(2):
        device = Profiled(synthetic())
        with MeasurementStore(tmp_path / "m.db") as store:
            profile_device(Session(device, store, protocol), packed_plan)
        visited.append([key for key in device.inner.visited if not key.startswith("sentinel")])
    first, second = visited
    signatures = {kernel.signature for kernel in packed_plan.kernels}
    assert not signatures & set(first)
    for packed in packed_plan.packs:
        assert first.count(packed.name) == protocol.rounds
    assert second == []


def test_a_profile_whose_rows_are_merged_is_refused_before_heads_are_measured(
    packed_plan, synthetic, protocol, tmp_path: Path
) -> None:
    device = Profiled(synthetic(), times_called=2)
    with (
        MeasurementStore(tmp_path / "m.db") as store,
        pytest.raises(BenchmarkOutputError, match="files of their own"),
    ):
        profile_device(Session(device, store, protocol), packed_plan)
    packs = {packed.name for packed in packed_plan.packs}
    assert set(device.inner.visited) == packs | {PACK_SENTINEL_NAME}
