"""What a model does not find in the caches, by hand and found again from whole models."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mnasfpn.errors import InvalidInput, InvalidProfile
from mnasfpn.latency.fitting.calibration_fit import (
    SETTLING_US,
    WholeModel,
    fit_calibration,
    fit_law,
    predict_left_out,
)
from mnasfpn.latency.fitting.intervals import residual_interval
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
from mnasfpn.latency.profile.calibration import (
    AS_ALONE,
    HEADS,
    Calibration,
    FamilyCalibration,
    Interval,
    population,
)

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
    of_arithmetics = replace(known, families={"float32": FamilyCalibration(2.0), **known.families})
    assert of_arithmetics.family("add").factor == 2.0
    assert of_arithmetics.family("depthwise_conv").factor == 1.5
    assert of_arithmetics.family("add int8") is AS_ALONE


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


def cost(kernel: Kernel) -> tuple[float, float]:
    return kernel.madds / 50_000, 0.0


TRUTH = replace(
    NOTHING,
    families={
        "float32": FamilyCalibration(1.2, tensors_us_per_mb=300.0, weights_us_per_mb=90.0),
        "int8": FamilyCalibration(0.7, weights_us_per_mb=200.0),
    },
    intercept_us=20.0,
    settling_ms=2.0,
)


def true_ms(each: ExecutionPlan) -> float:
    parts = [TRUTH.kernel_us(kernel, cost(kernel)[0]) for kernel in each.kernels]
    warm_us, cold_us = np.asarray(parts).sum(axis=0)
    return float(TRUTH.settled_us(warm_us + TRUTH.overhead_us(each), cold_us)) / 1e3


def in_int8(each: ExecutionPlan) -> ExecutionPlan:
    return plan([replace(kernel, dtype="int8") for kernel in each.kernels])


def heads(plans: list[ExecutionPlan], noise: float = 0.0) -> list[WholeModel]:
    rng = np.random.default_rng(0)
    return [WholeModel(each, true_ms(each) * np.exp(rng.normal(0, noise)), HEADS) for each in plans]


@pytest.mark.slow
def test_a_law_is_found_again_from_whole_models(chains) -> None:
    measured = [*heads(chains), *heads([in_int8(each) for each in chains])]
    latencies_ms = [model.latency_ms for model in measured]
    assert min(latencies_ms) < 1 < 15 < max(latencies_ms)
    found = fit_calibration(measured, cost)
    assert found.settling_ms == TRUTH.settling_ms
    assert set(found.families) == {"float32", "int8"}
    for name, true in TRUTH.families.items():
        assert found.families[name].factor == pytest.approx(true.factor, rel=0.03)
        assert found.families[name].weights_us_per_mb == pytest.approx(
            true.weights_us_per_mb, rel=0.05
        )
    assert found.half_width < 0.02


def test_between_what_predicts_alike_rounding_does_not_choose(chains) -> None:
    """Kernels that cost in a model what they cost alone: any settling will do."""
    alone_ms = [sum(cost(kernel)[0] for kernel in each.kernels) / 1e3 for each in chains]
    found = fit_calibration(
        [WholeModel(*each, HEADS) for each in zip(chains, alone_ms, strict=True)], cost
    )
    assert 1e3 * found.settling_ms == SETTLING_US[0]


def test_too_few_models_are_refused(chains) -> None:
    with pytest.raises(InvalidInput, match="at least 5 measured models, got 4; measure more"):
        fit_calibration(heads(chains[:4]), cost)


def random_terms(rng: np.random.Generator, count: int) -> np.ndarray:
    """Of float32 models: microseconds alone, megabytes of tensors and of weights, overheads."""
    sizes = np.exp(rng.normal(9, 1, (count, 1))) * rng.uniform(0.5, 1.5, (count, 3))
    return np.hstack([sizes * (1, 3e-4, 3e-4), np.ones((count, 2)), sizes[:, :1] * 1e-4])


def true_us(rng: np.random.Generator, terms: np.ndarray) -> np.ndarray:
    """By a law, with what no law of these terms explains, and the noise of measuring."""
    exact = terms @ (1.1, 20.0, 60.0, 10.0, 20.0, 5.0)
    return exact * np.exp(0.03 * rng.standard_t(5, len(terms)) + rng.normal(0, 0.01, len(terms)))


def test_a_model_that_is_left_out_has_no_say_in_its_prediction() -> None:
    rng = np.random.default_rng(0)
    terms = random_terms(rng, 12)
    latency_us = true_us(rng, terms)
    before = predict_left_out(terms, latency_us, terms)
    latency_us[3] *= 10
    after = predict_left_out(terms, latency_us, terms)
    assert after[3] == before[3]
    assert (np.delete(after, 3) != np.delete(before, 3)).all()


@pytest.mark.slow
@pytest.mark.parametrize("count", [19, 24, 40])
def test_intervals_hold_on_either_side_what_they_say(count: int) -> None:
    """The whole way, again and again: a law from so many heads, and new heads with new noise."""
    rng = np.random.default_rng(count)
    below, above = [], []
    for _ in range(80):
        terms = random_terms(rng, count)
        latency_us = true_us(rng, terms)
        interval = residual_interval(predict_left_out(terms, latency_us, terms), latency_us)
        new = random_terms(rng, 500)
        ratio = true_us(rng, new) / fit_law(terms, latency_us).predict_us(new)
        below.append(np.mean(ratio < interval.low))
        above.append(np.mean(ratio > interval.high))
    assert 0.88 <= 1 - np.mean(below) - np.mean(above) <= 0.93
    assert np.mean(below) == pytest.approx(0.05, abs=0.02)
    assert np.mean(above) == pytest.approx(0.05, abs=0.02)


def test_each_population_has_an_interval_of_its_own_residuals(chains) -> None:
    """Files are predicted without their kernels' rows, so that theirs is the wider one."""
    rng = np.random.default_rng(1)
    regressed = {k: np.exp(rng.normal(0, 0.3)) for each in chains for k in each.kernels}

    def by_regression(kernel: Kernel) -> tuple[float, float]:
        return cost(kernel)[0] * regressed[kernel], 0.25

    files = [
        replace(model, population="float32 files", cost=by_regression)
        for model in heads(chains[1::2])
    ]
    few = [replace(m, population="int8 files") for m in heads([in_int8(c) for c in chains[:4]])]
    found = fit_calibration([*heads(chains[::2], noise=0.02), *files, *few], cost)
    assert set(found.intervals) == {HEADS, "float32 files"}
    of_heads, of_files = found.intervals[HEADS], found.intervals["float32 files"]
    assert (of_heads.count, of_files.count) == (16, 16)
    assert of_heads.coverage == pytest.approx(15 / 17)
    assert np.log(of_files.high / of_files.low) > 2 * np.log(of_heads.high / of_heads.low)
    assert (of_heads.regression_error, of_files.regression_error) == (0, pytest.approx(0.25))
    assert found.interval(HEADS) == (of_heads, "16 heads left out of the fit")
    wider, basis = found.interval("int8 files")
    assert basis == "no int8 files were measured whole: twice as wide as of float32 files and heads"
    assert np.log(wider.high) >= 2 * np.log(of_heads.high)


def test_an_interval_widens_by_what_its_residuals_do_not_know() -> None:
    interval = Interval(0.9, 1.3, 0.9, 24, regression_error=0.1)
    for known in (0.0, 0.1):
        assert interval.ratios(known) == pytest.approx((0.9, 1.3))
    low, high = interval.ratios(0.4)
    assert low < 0.9
    assert high > 1.3
    assert low * high == pytest.approx(0.9 * 1.3)


def test_of_which_population_a_model_is() -> None:
    assert population([("float32", 3.0)], in_table=True) == HEADS
    assert population([("float32", 3.0)], in_table=False) == "float32 files"
    assert population([("float32", 3.0), ("int8", 4.0)], in_table=True) == "int8 files"


@pytest.mark.parametrize(
    "values",
    [(0.0, 1.0, 0.9, 5), (1.1, 1.0, 0.9, 5), (0.9, np.inf, 0.9, 5), (0.9, 1.1, 90, 5)],
)
def test_impossible_intervals_are_refused(values: tuple[float, float, float, int]) -> None:
    with pytest.raises(InvalidProfile, match=r"is none|is a probability, got 90"):
        Interval(*values)


@pytest.mark.parametrize(
    "name", ["intercept_us", "crossing_us_per_mb", "settling_ms", "half_width"]
)
def test_negative_coefficients_are_refused(name: str) -> None:
    with pytest.raises(InvalidProfile, match=f"'{name}' must not be negative, got -1"):
        replace(NOTHING, **{name: -1.0})
