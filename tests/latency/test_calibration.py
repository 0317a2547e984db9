"""Weights that a model does not find in the caches, by hand and found again from whole models."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mnasfpn.errors import InvalidProfile
from mnasfpn.latency.calibration import (
    Calibration,
    cold_weights,
    far_weights,
    fit_calibration,
    packed_weights,
)
from mnasfpn.latency.execution import ExecutionPlan, Partition, Step
from mnasfpn.latency.kernels import Kernel

MIB = 2**20


NOTHING = Calibration(
    factors={"conv_1x1": 1.0},
    intercept_us=0.0,
    partition_us=0.0,
    crossing_us_per_mb=0.0,
    weights_us_per_mb=0.0,
    models=0,
    shrinkage=0.1,
    error=0.0,
    coverage=0.9,
)


def pointwise(channels: int, filters: int) -> Kernel:
    return Kernel("conv", ((1, 4, 4, channels),), (1, 4, 4, filters))


def plan(kernels: list[Kernel]) -> ExecutionPlan:
    return ExecutionPlan((Partition(True, tuple(Step(k, ()) for k in kernels), 0, 0),))


@pytest.mark.parametrize(
    ("filters", "cold_mib"),
    [(256, 1), (512, 2), (640, 1.5), (768, 1), (1024, 0), (2048, 0)],
)
def test_what_the_nearest_cache_holds_alone_is_cold_in_a_model(
    filters: int, cold_mib: float
) -> None:
    """1024 channels: 1 MiB for 256 filters; the cache holds 2 MiB."""
    assert cold_weights(pointwise(1024, filters), 2 * MIB) == cold_mib * MIB


def test_weights_are_counted_as_vector_kernels_pack_them() -> None:
    grouped = Kernel.parse("conv 1x8x8x24 -> 1x8x8x24 k3x3 s1x1 g6")
    assert packed_weights(grouped) == 4 * 9 * 4 * 6 * 16  # groups of 4 filters fill vectors of 16
    small = Kernel.parse("depthwise_conv 1x8x8x32 -> 1x8x8x32 k5x5 s1x1")
    large = Kernel.parse("depthwise_conv 1x8x8x32 -> 1x8x8x32 k7x7 s1x1")
    assert packed_weights(small) == 4 * 25 * 32
    assert packed_weights(large) == 4 * 49 * 32 * 16
    assert packed_weights(Kernel.parse("relu 1x8x8x32 -> 1x8x8x32")) == 0


def test_the_longer_a_model_takes_the_more_of_its_weights_are_gone() -> None:
    layers = [pointwise(1024, 1024)] * 3  # 4 MiB each
    gate = Kernel.parse("conv 1x1x1x1024 -> 1x1x1x1024 k1x1 s1x1")
    assert [far_weights(kernel) for kernel in (layers[0], gate)] == [4 * MIB, 2 * MIB]
    calibration = replace(NOTHING, far_weights_us_per_mb=70.0)
    all_us = 70.0 * 14 * MIB / 1e6
    model = plan([*layers, gate])
    found = [calibration.far_us(model, ms * 1e3) for ms in (0, 2, 3.5, 8, 50)]
    assert found == pytest.approx([0, 0, all_us / 4, all_us, all_us])


def test_both_rates_are_found_again_from_whole_models() -> None:
    """Chains of layers of several sizes, timed by a law with known rates."""
    truth = replace(NOTHING, weights_us_per_mb=25.0, far_weights_us_per_mb=70.0, near_bytes=4 * MIB)

    def net_us(kernel: Kernel) -> float:
        return kernel.madds / 50_000

    rng = np.random.default_rng(0)
    plans = []
    for length in (2, 3, 5, 8, 13, 21, 34, 55):
        for _ in range(4):
            sizes = 64 * rng.integers(2, 20, (length, 2))
            plans.append(plan([pointwise(int(a), int(b)) for a, b in sizes]))
    measured_ms = []
    for each in plans:
        others_us = sum(truth.kernel_us(kernel, net_us(kernel)) for kernel in each.kernels)
        measured_ms.append((others_us + truth.far_us(each, others_us)) / 1e3)
    assert min(measured_ms) < 2 < 8 < max(measured_ms)
    found = fit_calibration(plans, measured_ms, net_us)
    assert found.near_bytes == truth.near_bytes
    assert found.weights_us_per_mb == pytest.approx(25.0, rel=0.15)
    assert found.far_weights_us_per_mb == pytest.approx(70.0, rel=0.15)
    assert found.factors["conv_1x1"] == pytest.approx(1.0, abs=0.05)
    assert found.error < 0.02


def test_a_cache_of_nothing_is_refused() -> None:
    with pytest.raises(InvalidProfile, match="'near_bytes' must be positive"):
        Calibration({}, 0, 0, 0, 0, 5, 0.1, 0.1, 0.8, near_bytes=0)
