"""What a model does not find in the caches, by hand and found again from whole models."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mnasfpn.errors import InvalidInput, InvalidProfile
from mnasfpn.latency.fitting.calibration_fit import SETTLING_US, SHRINKAGES, fit_calibration
from mnasfpn.latency.kernels.cache_traffic import (
    MANY_TAPS,
    cold_megabytes,
    family,
    kind_of,
    packed_weights,
)
from mnasfpn.latency.kernels.execution import ExecutionPlan, Partition
from mnasfpn.latency.kernels.fusion import Step
from mnasfpn.latency.kernels.kernel import Kernel
from mnasfpn.latency.profile.calibration import AS_ALONE, Calibration, FamilyCalibration

NOTHING = Calibration({}, 5, 0.1, 0.1, 0.9)
SMALL = Kernel.parse("depthwise_conv 1x8x8x32 -> 1x8x8x32 k5x5 s1x1")
LARGE_WINDOW = Kernel.parse("depthwise_conv 1x8x8x32 -> 1x8x8x32 k7x7 s1x1")


def pointwise(channels: int, filters: int) -> Kernel:
    return Kernel("conv", ((1, 4, 4, channels),), (1, 4, 4, filters))


def plan(kernels: list[Kernel]) -> ExecutionPlan:
    return ExecutionPlan((Partition(True, tuple(Step(k, ()) for k in kernels), 0, 0),))


def test_weights_are_counted_as_vector_kernels_pack_them() -> None:
    grouped = Kernel.parse("conv 1x8x8x24 -> 1x8x8x24 k3x3 s1x1 g6")
    assert packed_weights(grouped) == 4 * 9 * 4 * 6 * 16  # groups of 4 filters fill vectors of 16
    assert packed_weights(SMALL) == 4 * 25 * 32
    assert packed_weights(LARGE_WINDOW) == 4 * 49 * 32 * 16
    assert packed_weights(Kernel.parse("relu 1x8x8x32 -> 1x8x8x32")) == 0


def test_megabytes_of_tensors_weights_and_windows() -> None:
    tensors, weights, windows = cold_megabytes(SMALL)
    assert tensors == pytest.approx(2 * 4 * 8 * 8 * 32 / 1e6)
    assert weights == pytest.approx(4 * 25 * 32 / 1e6)
    assert windows == pytest.approx(8 * 8 * 25 * 8 / 1e6)
    assert cold_megabytes(pointwise(64, 32))[2] == 0  # reads its input directly
    gate = Kernel.parse("conv 1x1x1x100 -> 1x1x1x100 k1x1 s1x1")
    assert cold_megabytes(gate)[1] == pytest.approx(0.02)  # half of 4 * 100 * 100 bytes


def test_large_depthwise_windows_are_a_family_of_their_own() -> None:
    assert family(SMALL) == "depthwise_conv"
    assert family(LARGE_WINDOW) == "depthwise_conv" + MANY_TAPS
    assert kind_of(family(LARGE_WINDOW)) == kind_of(family(SMALL)) == "depthwise_conv"
    known = replace(NOTHING, families={"depthwise_conv": FamilyCalibration(1.5)})
    assert known.family(family(LARGE_WINDOW)).factor == 1.5
    assert known.family("add") is AS_ALONE


@pytest.mark.parametrize(("warm", "cold", "settling"), [(4.0, 3.0, 0.0), (1.0, 6.0, 3.0)])
def test_a_latency_solves_its_equation(warm: float, cold: float, settling: float) -> None:
    calibration = replace(NOTHING, settling_ms=settling)
    found = calibration.settled_us(np.array([1e3 * warm]), np.array([1e3 * cold]))[0] / 1e3
    share = found / (found + settling)
    assert found == pytest.approx(warm + cold * share)
    assert calibration.cold_share(1e3 * warm, 1e3 * cold) == pytest.approx(share)


def test_by_hand() -> None:
    """x = 1 + 6 x / (x + 3) is x^2 - 4 x - 3 = 0."""
    latency_ms = (
        replace(NOTHING, settling_ms=3.0).settled_us(np.array([1e3]), np.array([6e3])) / 1e3
    )
    assert latency_ms[0] == pytest.approx(2 + np.sqrt(7))


@pytest.fixture(scope="module")
def chains() -> list[ExecutionPlan]:
    """Of a few to many layers of all sizes: less than a millisecond to more than fifteen."""
    rng = np.random.default_rng(0)
    lengths = [length for length in (2, 3, 5, 8, 13, 21, 34, 55) for _ in range(4)]
    return [
        plan([pointwise(*map(int, 64 * rng.integers(2, 20, 2))) for _ in range(length)])
        for length in lengths
    ]


def net_us(kernel: Kernel) -> float:
    return kernel.madds / 50_000


TRUTH = replace(
    NOTHING,
    families={"conv_1x1": FamilyCalibration(1.2, weights_us_per_mb=90.0)},
    settling_ms=2.0,
)


def true_ms(each: ExecutionPlan) -> float:
    found = np.asarray([TRUTH.kernel_us(kernel, net_us(kernel)) for kernel in each.kernels])
    return float(TRUTH.settled_us(*found.sum(axis=0))) / 1e3


def test_a_law_is_found_again_from_whole_models(chains) -> None:
    measured_ms = list(map(true_ms, chains))
    assert min(measured_ms) < 1 < 15 < max(measured_ms)
    found = fit_calibration(chains, measured_ms, net_us)
    assert found.settling_ms == TRUTH.settling_ms
    assert found.families["conv_1x1"].factor == pytest.approx(1.2, rel=0.03)
    assert found.families["conv_1x1"].weights_us_per_mb == pytest.approx(90.0, rel=0.05)
    assert found.half_width < 0.01


def test_between_what_predicts_alike_rounding_does_not_choose(chains) -> None:
    """Kernels that cost in a model what they cost alone: any settling and shrinkage will do."""
    alone_ms = [sum(map(net_us, each.kernels)) / 1e3 for each in chains]
    found = fit_calibration(chains, alone_ms, net_us)
    assert (1e3 * found.settling_ms, found.shrinkage) == (SETTLING_US[0], SHRINKAGES[0])


def test_steps_tell_what_few_models_do_not(chains) -> None:
    """Five models with 3 % of noise, with and without what each of their kernels took in them."""
    few = chains[::7]
    rng = np.random.default_rng(0)
    exact_ms = list(map(true_ms, few))
    steps_us = []
    for each, latency_ms in zip(few, exact_ms, strict=True):
        share = latency_ms / (latency_ms + TRUTH.settling_ms)
        parts = (TRUTH.kernel_us(kernel, net_us(kernel)) for kernel in each.kernels)
        steps_us.append([warm_us + share * cold_us for warm_us, cold_us in parts])
    noisy_ms = exact_ms * np.exp(rng.normal(0, 0.03, len(few)))

    def worst(calibration: Calibration) -> float:
        wrong = []
        for each in chains:
            found = np.asarray(
                [calibration.kernel_us(kernel, net_us(kernel)) for kernel in each.kernels]
            )
            latency_ms = float(calibration.settled_us(*found.sum(axis=0))) / 1e3
            wrong.append(abs(latency_ms / true_ms(each) - 1))
        return max(wrong)

    with_steps = worst(fit_calibration(few, noisy_ms, net_us, steps_us))
    assert with_steps < 0.05
    assert with_steps < worst(fit_calibration(few, noisy_ms, net_us))


def test_steps_of_another_plan_are_refused(chains) -> None:
    steps_us = [[1.0] * (len(each.kernels) + 1) for each in chains]
    with pytest.raises(InvalidInput, match=r"has 2 kernels and 3 measured steps.*measure"):
        fit_calibration(chains, list(map(true_ms, chains)), net_us, steps_us)


@pytest.mark.parametrize(
    "name", ["intercept_us", "crossing_us_per_mb", "settling_ms", "half_width"]
)
def test_negative_coefficients_are_refused(name: str) -> None:
    with pytest.raises(InvalidProfile, match=f"'{name}' must not be negative, got -1"):
        replace(NOTHING, **{name: -1.0})
