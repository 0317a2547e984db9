"""Devices that stand in for real ones answer by the file that they are given, not by its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mnasfpn.android_harness.device import Job, RunSettings
from mnasfpn.benchmarks.stand_in_host import StandIn
from mnasfpn.latency.kernels.kernel import Kernel, kernel_graph
from mnasfpn.models.tflite.writer import write_tflite
from mnasfpn.tests.cli.simulated_host import SimulatedHost
from mnasfpn.tests.latency.synthetic_device import SyntheticDevice

SMALL, LARGE = (
    write_tflite(kernel_graph(Kernel.parse(f"conv 1x{n}x{n}x64 -> 1x{n}x{n}x64 k1x1 s1x1")))
    for n in (10, 40)
)


@pytest.mark.parametrize("device", [SyntheticDevice, SimulatedHost, StandIn])
def test_latencies_follow_from_the_file(device: Callable[[], Any], tmp_path: Path) -> None:
    stands_in, path = device(), tmp_path / "model.tflite"

    def median_us(key: str, content: bytes) -> float:
        path.write_bytes(content)
        ((_, run),) = stands_in.run_round([Job(key, path)], RunSettings(), 0)
        return sorted(run.samples_us)[len(run.samples_us) // 2]

    assert stands_in.describe().provenance == "simulated"
    small_us, large_us = median_us("a", SMALL), median_us("a", LARGE)
    assert large_us > 5 * small_us
    assert median_us("b", SMALL) == pytest.approx(small_us, rel=0.01)
