"""Rates from whole models: known laws are recovered, and what cannot be told apart is not."""

import numpy as np
import pytest

from mnasfpn.errors import InvalidInput, NotCovered
from mnasfpn.latency.fitting.kernel_rates import (
    FEW_RATES,
    Rate,
    TimedModel,
    design,
    fit_rates,
    geometric_factor,
    rates_by_kind,
)
from mnasfpn.latency.kernels.features import FEATURE_NAMES
from mnasfpn.latency.kernels.kernel import Kernel

LAW = {
    "pointwise arithmetic": 2e-4,
    "convolution arithmetic": 5e-4,
    "depthwise arithmetic": 9e-4,
    "convolution weights": 3e-4,
    "moving data": 8e-5,
}
TRUE = tuple(rate for rate in FEW_RATES if rate.name in LAW)


def kernels(rng):
    """A small network of random sizes."""
    found = []
    for _ in range(int(rng.integers(3, 7))):
        size, cin, cout = (int(rng.integers(4, 30)), *(8 * int(n) for n in rng.integers(1, 20, 2)))
        source, target = (1, size, size, cin), (1, size, size, cout)
        window = int(rng.choice((3, 5)))
        found += [
            Kernel("conv", (source,), target),
            Kernel("depthwise_conv", (target,), target, (window, window)),
            Kernel("add", (target, target), target),
        ]
        if rng.random() < 0.3:
            found.append(Kernel("conv", (source,), target, (3, 3)))
    return tuple(found)


def timed(count, seed=0, factors=("",), noise=0.0, intercept_us=0.0):
    """Models of the law, in groups whose latencies differ by a factor each."""
    rng = np.random.default_rng(seed)
    models = []
    for index in range(count):
        group = list(factors)[index % len(factors)]
        factor = factors[group] if isinstance(factors, dict) else 1.0
        parts = kernels(rng)
        us = design([parts], TRUE)[0] @ np.asarray([LAW[rate.name] for rate in TRUE])
        ms = factor * (us + intercept_us) / 1e3 * np.exp(noise * rng.standard_normal())
        models.append(TimedModel(f"m{index}", parts, float(ms), group=group))
    return models


def all_kernels(models):
    return [kernel for model in models for kernel in model.kernels]


def test_rates_of_a_known_law_are_recovered():
    found = fit_rates(timed(40))
    assert found.us_per_unit == pytest.approx(LAW, rel=1e-4)  # no other is determined
    assert found.factors == {"": 1.0}
    assert found.intercept_us == 0


def test_an_intercept_is_recovered():
    found = fit_rates(timed(40, intercept_us=500), intercept=True)
    assert found.intercept_us == pytest.approx(500, rel=1e-3)
    assert found.us_per_unit["pointwise arithmetic"] == pytest.approx(2e-4, rel=1e-3)


def test_factors_of_groups_are_recovered():
    factors = {"2018": 1.0, "2019": 0.8, "2020": 0.5}
    found = fit_rates(timed(60, factors=factors), reference="2018")
    assert found.factors == pytest.approx(factors, rel=1e-3)
    assert found.us_per_unit["depthwise arithmetic"] == pytest.approx(9e-4, rel=1e-3)


def test_mixing_groups_without_factors_is_worse():
    """Why groups exist: two versions of a runtime under one name spoil the rates."""
    models = timed(60, factors={"a": 1.0, "b": 0.6})
    mixed = [TimedModel(m.name, m.kernels, m.latency_ms) for m in models]
    measured = np.asarray([m.latency_ms for m in models if m.group == "a"])
    of_group = [m.kernels for m in models if m.group == "a"]

    def error(fit):
        return np.abs(fit.predict_ms(of_group) / measured - 1).mean()

    assert error(fit_rates(models, reference="a")) < 0.01
    assert error(fit_rates(mixed)) > 0.1


def test_noise_and_weights():
    """Predictions of new models keep within the noise; a model of no weight does not count."""
    found = fit_rates(timed(60, noise=0.03))
    new = timed(40, seed=1)
    ratio = found.predict_ms([m.kernels for m in new]) / [m.latency_ms for m in new]
    assert np.abs(ratio - 1).mean() < 0.03
    models = timed(40)
    wrong = TimedModel("wrong", models[0].kernels, models[0].latency_ms * 50, weight=1e-12)
    spoiled = fit_rates([*models, wrong])
    assert spoiled.us_per_unit["pointwise arithmetic"] == pytest.approx(2e-4, rel=1e-3)


def test_kinds_that_no_model_can_tell_apart_share_their_sum():
    """Every model has as many adds as muls of the same size: only the sum of both is known."""
    rng = np.random.default_rng(3)
    models = []
    for index in range(20):
        shape = (1, int(rng.integers(4, 40)), 8, 16)
        parts = tuple(Kernel(op, (shape, shape), shape) for op in ("add", "mul"))
        moved = sum(kernel.bytes_in + kernel.bytes_out for kernel in parts)
        models.append(TimedModel(f"m{index}", parts, moved * 1e-6))
    rates = (Rate("add", ("add",), ("bytes_out",)), Rate("mul", ("mul",), ("bytes_out",)))
    found = fit_rates(models, rates)
    predicted = found.predict_ms([m.kernels for m in models])
    np.testing.assert_allclose(predicted, [m.latency_ms for m in models], rtol=1e-6)
    assert sum(found.us_per_unit.values()) == pytest.approx(2 * 3 * 1e-3, rel=1e-6)


def test_a_kind_that_no_model_has_is_no_regressor():
    """Not to be found in a profile, so that an estimate of it is refused."""
    models = timed(40)
    regressors = fit_rates(models).regressors(all_kernels(models), half_width=0.1)
    assert set(regressors) == {"conv_1x1", "conv_kxk", "depthwise_conv", "add"}


def test_a_kind_that_is_asked_for_and_no_model_has_is_physics():
    """It moves its bytes at the others' rate, or does something to each element besides."""
    models = timed(40)
    pools = [
        Kernel("global_max_pool", ((1, size, size, 32),), (1, 1, 1, 32)) for size in (1, 5, 40)
    ]
    regressors = fit_rates(models).regressors([*all_kernels(models), *pools], half_width=0.1)
    physics = regressors["global_max_pool"]
    assert physics.count == 0
    for pool in pools:
        moved_us = LAW["moving data"] * (pool.bytes_in + pool.bytes_out)
        assert physics.predict((pool,))[0] == pytest.approx(moved_us, rel=1e-4)
        assert physics.extrapolates(pool)  # so that an estimate doubles the half width
        worked_us = max(LAW.values()) * pool.bytes_in / 4
        assert 2 * physics.half_width * moved_us >= worked_us * 0.999
    assert regressors["add"].half_width == 0.1
    assert regressors["add"].count > 0


def test_regressors_say_what_the_rates_say():
    models = timed(40)
    found = fit_rates(models)
    regressors = found.regressors(all_kernels(models), half_width=0.1)
    for model in models[:5]:
        us = sum(float(regressors[k.kind].predict((k,))[0]) for k in model.kernels)
        assert us / 1e3 == pytest.approx(found.predict_ms([model.kernels])[0], rel=1e-9)
        assert not any(regressors[k.kind].extrapolates(k) for k in model.kernels)
    large = Kernel("conv", ((1, 99, 99, 512),), (1, 99, 99, 512))
    assert regressors["conv_1x1"].extrapolates(large)


def test_rates_by_kind():
    rates = rates_by_kind(("add", "conv_1x1"))
    assert len({rate.name for rate in rates}) == len(rates) == 6
    assert all(set(rate.features) <= set(FEATURE_NAMES) for rate in rates)
    found = fit_rates(timed(60), rates_by_kind(("add", "conv_1x1", "conv_kxk", "depthwise_conv")))
    new = timed(20, seed=4)
    np.testing.assert_allclose(
        found.predict_ms([m.kernels for m in new]), [m.latency_ms for m in new], rtol=0.01
    )


def test_one_factor():
    measured = np.asarray([2.0, 8.0])
    assert geometric_factor(measured, np.asarray([1.0, 16.0])) == pytest.approx(1.0)
    assert geometric_factor(3 * measured, measured) == pytest.approx(3.0)


def test_refusals():
    with pytest.raises(InvalidInput, match=r"m0: latency must be positive, got 0 ms"):
        TimedModel("m0", (), 0)
    with pytest.raises(InvalidInput, match=r"reference group '2018'; groups: \[.*'a'"):
        fit_rates(timed(5, factors={"a": 1.0}), reference="2018")


def test_a_kind_that_no_model_has_moves_its_data_at_least():
    """Pools where only convolutions and additions were timed: never a silent zero."""
    conv = Kernel.parse("conv 1x8x8x16 -> 1x8x8x16 k1x1 s1x1")
    add = Kernel.parse("add 1x8x8x16, 1x8x8x16 -> 1x8x8x16")
    pool = Kernel.parse("max_pool 1x8x8x16 -> 1x4x4x16 k2x2 s2x2")
    timed = [
        TimedModel(str(n), (conv,) * n + (add,) * (5 - n), (20 * n + 30 * (5 - n)) / 1e3)
        for n in range(1, 5)
    ]
    found = fit_rates(timed)
    us_per_byte = 30 / (add.bytes_in + add.bytes_out)
    expected_us = us_per_byte * (pool.bytes_in + pool.bytes_out)
    assert found.predict_ms([(pool,)])[0] * 1e3 == pytest.approx(expected_us, rel=1e-3)
    assert "pooling" not in found.us_per_unit


def test_a_kind_without_any_rate_is_refused():
    conv = Kernel.parse("conv 1x8x8x16 -> 1x8x8x16 k1x1 s1x1")
    pool = Kernel.parse("max_pool 1x8x8x16 -> 1x4x4x16 k2x2 s2x2")
    timed = [TimedModel(str(n), (conv,) * n, 0.02 * n) for n in (1, 2, 3)]
    found = fit_rates(timed, rates_by_kind(("conv_1x1",)))
    with pytest.raises(NotCovered, match="kind 'max_pool'"):
        found.predict_ms([(conv, pool)])
