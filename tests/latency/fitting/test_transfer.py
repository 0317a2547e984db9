"""Transfer: known differences between two phones are found from a few measurements."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mnasfpn.benchmarks.simulated import simulated_profile
from mnasfpn.errors import InvalidInput, NotCovered
from mnasfpn.latency.estimate.estimate import Estimator
from mnasfpn.latency.fitting.transfer import fit_transfer, plan_parts, transfer_profile
from mnasfpn.latency.kernels.execution import execution_plan
from mnasfpn.latency.kernels.kernel import Kernel, kernel_graph
from mnasfpn.latency.profile.calibration import SHARED
from mnasfpn.latency.profile.device_profile import MeasuredNetwork
from mnasfpn.latency.profiling.head_graph import head_graph
from mnasfpn.models.genotype_array import random_genotypes
from mnasfpn.models.space import MNASFPN, Space

DATA = Path(__file__).parents[3].parent / "shared" / "data" / "phones"
SOME_KERNEL = "conv 1x8x8x16 -> 1x8x8x16 k1x1 s1x1"
KINDS = ("conv_1x1", "depthwise_conv", "add", "intercept_us")


def models(count, seed, kinds=KINDS):
    """Old costs of random models."""
    rng = np.random.default_rng(seed)
    return [dict(zip(kinds, rng.uniform(0.5, 5, len(kinds)), strict=True)) for _ in range(count)]


def latencies(parts, factors, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    exact = np.asarray([sum(factors[k] * v for k, v in model.items()) for model in parts])
    return exact * np.exp(noise * rng.standard_normal(len(exact)))


def worst(transfer, parts, factors):
    predicted = np.asarray([transfer.predict(model) for model in parts])
    return float(np.abs(predicted / latencies(parts, factors) - 1).max())


def test_a_common_factor_takes_one_measurement():
    factors = dict.fromkeys(KINDS, 1.7)
    parts = models(1, 0)
    found = fit_transfer(parts, latencies(parts, factors))
    assert found.common == pytest.approx(1.7)
    assert found.factors == pytest.approx(factors)
    assert found.factor("never seen") == pytest.approx(1.7)
    assert found.half_width == np.inf


def test_factors_of_kinds_are_found_where_they_differ():
    factors = {"conv_1x1": 0.8, "depthwise_conv": 2.0, "add": 1.2, "intercept_us": 1.0}
    parts = models(20, 1)
    found = fit_transfer(parts, latencies(parts, factors))
    assert found.factors == pytest.approx(factors, rel=0.02)
    assert worst(found, models(50, 2), factors) < 0.01


def test_the_error_shrinks_with_measurements_and_beats_a_common_factor():
    factors = {"conv_1x1": 0.8, "depthwise_conv": 2.0, "add": 1.2, "intercept_us": 1.0}
    errors = {}
    for count in (2, 5, 20):
        draws = []
        for seed in range(5):
            parts = models(count, 10 + seed)
            found = fit_transfer(parts, latencies(parts, factors, noise=0.01, seed=seed))
            draws.append(worst(found, models(50, 99), factors))
        errors[count] = np.median(draws)
    assert errors[20] < errors[5] < errors[2]
    assert errors[20] < 0.03


def test_noise_alone_is_not_taken_for_differences_between_kinds():
    """Phones that differ by one factor: few noisy models must not bend the kinds apart."""
    factors = dict.fromkeys(KINDS, 0.6)
    errors = []
    for seed in range(10):
        parts = models(6, seed)
        found = fit_transfer(parts, latencies(parts, factors, noise=0.03, seed=seed))
        errors.append(worst(found, models(50, 98), factors))
    assert np.median(errors) < 0.04


def test_an_outlier_does_not_move_the_common_factor():
    factors = dict.fromkeys(KINDS, 1.5)
    parts = models(3, 3)
    measured = latencies(parts, factors)
    measured[0] *= 5
    assert fit_transfer(parts, measured).common == pytest.approx(1.5)


def test_single_kernels_are_models_of_one_kind():
    factors = {"conv_1x1": 0.9, "depthwise_conv": 1.8}
    parts = [{kind: float(us)} for kind in factors for us in (3, 5, 8, 13, 21)]
    found = fit_transfer(parts, latencies(parts, factors))
    assert found.factors == pytest.approx(factors, rel=0.02)


def test_the_interval_covers_what_was_not_measured():
    factors = {"conv_1x1": 0.8, "depthwise_conv": 2.0, "add": 1.2, "intercept_us": 1.0}
    parts, others = models(20, 4), models(200, 5)
    found = fit_transfer(parts, latencies(parts, factors, noise=0.05))
    ratio = latencies(others, factors, noise=0.05, seed=6) / [found.predict(m) for m in others]
    assert np.mean(np.abs(np.log(ratio)) <= np.log(1 + found.half_width)) > 0.8


@pytest.mark.parametrize(
    ("parts", "measured", "message"),
    [
        ([], [], "at least one measurement"),
        ([{"add": 1.0}], [1.0, 2.0], "got 1 and 2"),
        ([{"add": 0.0}], [1.0], "must be positive"),
        ([{"add": 1.0}], [0.0], "must be positive"),
    ],
)
def test_refusals(parts, measured, message):
    with pytest.raises(InvalidInput, match=message):
        fit_transfer(parts, measured)


SPACE = Space("tiny", channels=(16, 24), kernels=(3, 5), expansions=(16, 40), internal_blocks=2)


def heads(count, seed):
    genotypes = random_genotypes(SPACE, np.random.default_rng(seed), count, (1, 2))
    return [execution_plan(head_graph(genotype, input_size=128)) for genotype in genotypes]


def test_a_profile_becomes_the_new_phones():
    """The new phone is the old one with other factors; ten heads find them."""
    old = simulated_profile()
    calibration = old.calibration
    changed = {**calibration.families}
    changed["depthwise_conv"] = changed["depthwise_conv"].scaled(2.5)
    truth = replace(
        old,
        calibration=replace(
            calibration,
            families={name: each.scaled(1.4) for name, each in changed.items()},
            settling_ms=1.4 * calibration.settling_ms,
            **{name: 1.4 * getattr(calibration, name) for name in SHARED},
        ),
    )
    measured, others = heads(10, 0), heads(20, 1)
    new = transfer_profile(
        old,
        replace(old.device, model="New"),
        measured,
        [_total_ms(Estimator(truth), plan) for plan in measured],
    )
    assert new.name == "New, transferred from simulated: random rates"
    assert new.validation is None
    assert new.provenance == "simulated"
    expected = np.asarray([_total_ms(Estimator(truth), plan) for plan in others])
    ratio = np.asarray([_total_ms(Estimator(new), plan) for plan in others]) / expected
    before = np.asarray([_total_ms(Estimator(old), plan) for plan in others]) / expected
    assert np.abs(ratio - 1).max() < 0.08
    assert np.abs(ratio - 1).mean() < 0.03
    assert np.abs(before - 1).min() > 0.2


def test_a_transferred_profile_keeps_no_measurement_and_no_better_label_than_its_parts():
    old = simulated_profile()
    old = replace(
        old,
        provenance="measured",
        networks=(MeasuredNetwork("network/0/0", (SOME_KERNEL,), 0, 1.0, 0.0),),
    )
    plans, device = heads(6, 0), replace(old.device, provenance="published")
    new = transfer_profile(old, device, plans, [1.0] * 6)
    assert (new.heads, new.networks) == ((), ())
    assert new.provenance == "published"
    assert new.calibration.coverage == pytest.approx(6 / 7)


def test_parts_add_up_to_the_estimate():
    estimator = Estimator(simulated_profile())
    genotype = random_genotypes(MNASFPN, np.random.default_rng(2), 1, 2).genotype(0)
    graph = head_graph(genotype)
    parts = plan_parts(estimator, execution_plan(graph))
    assert sum(parts.values()) / 1e3 == pytest.approx(estimator.estimate(graph).latency_ms)


def test_profiles_that_cannot_be_transferred():
    old = simulated_profile(without="resize_nearest")
    with pytest.raises(NotCovered, match=r"nothing about 'resize_nearest .* nothing to transfer"):
        transfer_profile(old, old.device, heads(8, 0), [1.0] * 8)
    kernel = Kernel.parse(SOME_KERNEL)
    with pytest.raises(InvalidInput, match="measure two"):
        transfer_profile(old, old.device, [execution_plan(kernel_graph(kernel))], [1.0])


def _total_ms(estimator, plan):
    return sum(plan_parts(estimator, plan).values()) / 1e3


@pytest.mark.slow
def test_real_phones_from_ten_networks():
    """Pixel 4 to Galaxy S10: as good as leaving one of 68 out, and far better than from scratch."""
    if not DATA.is_dir():
        pytest.skip(f"{DATA} is not there: others' measurements are no part of the package")
    from mnasfpn.benchmarks.transfer import real_networks

    rows = {(row.what, row.measured): row for row in real_networks(DATA)}
    ten = rows["real CNNs, Pixel 4 -> s10", 10]
    assert ten.transfer_mape < 0.06
    assert ten.transfer_within_10 > 0.85
    assert all(row.transfer_mape < row.scratch_mape for row in rows.values())
