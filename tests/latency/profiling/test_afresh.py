"""A store whose models were measured in vain, and a quieter device."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

from mnasfpn.android_harness.device import Job, RunSettings
from mnasfpn.android_harness.measurement import DeviceInfo, Run, Status, Telemetry
from mnasfpn.android_harness.protocol import MeasuringProtocol
from mnasfpn.latency.kernels.kernel import Kernel, kernel_graph
from mnasfpn.latency.profiling.session import Session
from mnasfpn.latency.profiling.store import MeasurementStore

PROTOCOL = MeasuringProtocol("three", statistics=("median",), rounds=3, extra_rounds=2, runs=1)
ADD = kernel_graph(Kernel.parse("add 1x4x4x8, 1x4x4x8 -> 1x4x4x8"))


class Growing:
    """Every visit takes so much longer than the one before, whatever the model."""

    def __init__(self, factor: float) -> None:
        self.factor, self.visits = factor, itertools.count()

    def describe(self) -> DeviceInfo:
        return DeviceInfo("growing", *("none",) * 5, provenance="simulated")

    def telemetry(self) -> Telemetry:
        return Telemetry()

    def run_round(
        self, jobs: Sequence[Job], settings: RunSettings, round_number: int
    ) -> Iterator[tuple[Job, Run]]:
        for position, job in enumerate(jobs):
            yield job, Run(round_number, position, (100.0 * self.factor ** next(self.visits),))


def test_what_is_used_up_is_measured_again_when_it_is_asked_for(tmp_path: Path) -> None:
    def status(factor: float, afresh: bool) -> tuple[Status, int]:
        with MeasurementStore(tmp_path / "m.db") as store:
            session = Session(Growing(factor), store, PROTOCOL, afresh=afresh)
            session.measure({"add": ADD})
            found = session.measurements()["add"]
        return found.verdict.status, len(found.runs)

    assert status(1.1, afresh=False) == (Status.UNSTABLE, 5)
    assert status(1.0, afresh=False) == (Status.UNSTABLE, 5)  # a quiet day does not help by itself
    assert status(1.0, afresh=True) == (Status.VALID, 8)
    assert status(1.0, afresh=True) == (Status.VALID, 8)
