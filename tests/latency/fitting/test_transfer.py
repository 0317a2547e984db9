"""Transfer: known differences between two phones are found from a few measurements."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnasfpn.errors import InvalidInput
from mnasfpn.latency.fitting.transfer import fit_transfer, transfers_left_out

PARTS = ("conv_1x1", "depthwise_conv", "add", "intercept_us")
DIFFERENT = {"conv_1x1": 0.8, "depthwise_conv": 2.0, "add": 1.2, "intercept_us": 1.0}


def models(count, seed, names=PARTS):
    """Old costs of random models."""
    rng = np.random.default_rng(seed)
    return [dict(zip(names, rng.uniform(0.5, 5, len(names)), strict=True)) for _ in range(count)]


def totals(parts):
    return [sum(model.values()) for model in parts]


def latencies(parts, factors, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    exact = np.asarray([sum(factors[k] * v for k, v in model.items()) for model in parts])
    return (exact * np.exp(noise * rng.standard_normal(len(exact)))).tolist()


def fitted(parts, new):
    return fit_transfer(totals(parts), parts, new)


def errors(transfer, parts, factors):
    predicted = [transfer.predict(sum(model.values()), model) for model in parts]
    return np.abs(np.asarray(predicted) / latencies(parts, factors) - 1)


def test_a_common_factor_takes_one_measurement():
    parts = models(1, 0)
    found = fitted(parts, latencies(parts, dict.fromkeys(PARTS, 1.7)))
    assert found.common == pytest.approx(1.7)
    assert [found.factor(part) for part in (*PARTS, "never seen")] == pytest.approx([1.7] * 5)
    assert found.count == 1


def test_factors_of_parts_are_found_where_they_differ():
    parts = models(20, 1)
    found = fitted(parts, latencies(parts, DIFFERENT))
    assert {part: found.factor(part) for part in PARTS} == pytest.approx(DIFFERENT, rel=0.05)
    assert errors(found, models(50, 2), DIFFERENT).max() < 0.01


def test_the_error_shrinks_with_measurements_and_beats_a_common_factor():
    found = {}
    for count in (2, 5, 20):
        draws = []
        for seed in range(5):
            parts = models(count, 10 + seed)
            transfer = fitted(parts, latencies(parts, DIFFERENT, noise=0.01, seed=seed))
            draws.append(errors(transfer, models(50, 99), DIFFERENT).max())
        found[count] = np.median(draws)
    assert found[20] < found[5] < found[2]
    assert found[20] < 0.03


def test_noise_alone_is_not_taken_for_differences():
    """Phones that differ by one factor: few noisy models must not bend the parts apart."""
    factors = dict.fromkeys(PARTS, 0.6)
    worst = []
    for seed in range(10):
        parts = models(6, seed)
        found = fitted(parts, latencies(parts, factors, noise=0.03, seed=seed))
        worst.append(errors(found, models(50, 98), factors).max())
    assert np.median(worst) < 0.04


def test_an_outlier_counts_little():
    parts = models(8, 3)
    new = latencies(parts, dict.fromkeys(PARTS, 1.5), noise=0.005)
    new[0] *= 3
    assert errors(fitted(parts, new), models(50, 4), dict.fromkeys(PARTS, 1.5)).max() < 0.05


def test_single_kernels_are_models_of_one_part():
    factors = {"conv_1x1": 0.9, "depthwise_conv": 1.8}
    parts = [{kind: float(us)} for kind in factors for us in (3, 5, 8, 13, 21)]
    found = fitted(parts, latencies(parts, factors))
    assert {part: found.factor(part) for part in factors} == pytest.approx(factors, rel=0.02)


def test_measured_latencies_of_the_old_phone_are_better_than_sums_of_its_parts():
    """What the old phone's parts do not explain is alike on both phones."""
    rng = np.random.default_rng(5)
    parts, others = models(10, 5), models(50, 6)
    luck, its_luck = (np.exp(0.1 * rng.standard_normal(n)) for n in (10, 50))
    new = (luck * latencies(parts, DIFFERENT)).tolist()
    measured = fit_transfer((luck * totals(parts)).tolist(), parts, new)
    estimated = fitted(parts, new)
    expected = its_luck * latencies(others, DIFFERENT)
    old = its_luck * totals(others)

    def off(transfer, latency):
        predicted = [transfer.predict(*each) for each in zip(latency, others, strict=True)]
        return np.abs(np.asarray(predicted) / expected - 1).mean()

    assert off(measured, old) < 0.6 * off(estimated, totals(others))


def test_something_beside_the_latency_may_tell():
    """Not a part of the old latency, of either sign: how much slower a little core is."""
    rng = np.random.default_rng(0)
    old = rng.uniform(10, 100, 60)
    beside = rng.standard_normal(60)
    new = 2 * old * (1 + 0.1 * beside)
    parts = [{"beside": value} for value in old * beside]
    found = fit_transfer(old[:8].tolist(), parts[:8], new[:8].tolist())
    predicted = [found.predict(*each) for each in zip(old, parts, strict=True)]
    assert np.abs(np.asarray(predicted) / new - 1).max() < 0.01


@settings(max_examples=25, deadline=None)
@given(unit=st.floats(1e-3, 1e3), factor=st.floats(0.01, 100), count=st.integers(2, 12))
def test_units_do_not_matter(unit, factor, count):
    parts = models(count, count)
    new = latencies(parts, DIFFERENT, noise=0.02)
    found = fitted(parts, new)
    scaled = [{name: unit * value for name, value in model.items()} for model in parts]
    again = fit_transfer(totals(scaled), scaled, [unit * factor * value for value in new])
    for part in PARTS:
        assert again.factor(part) == pytest.approx(factor * found.factor(part), rel=1e-6)


def test_nothing_is_for_nothing():
    """However much faster a part looks, its factor stays positive, and so do predictions."""
    parts = [{"a": 1.0, "b": 9.0}, {"a": 9.0, "b": 1.0}] * 4
    found = fitted(parts, [10.0, 1.0] * 4)
    assert 0 < found.factor("a") < 0.2 * found.factor("b")
    assert found.predict(1.0, {"a": 1.0}) > 0


def test_who_is_left_out_has_no_say():
    parts = models(6, 7)
    new = latencies(parts, DIFFERENT, noise=0.02)
    before = transfers_left_out(totals(parts), parts, new)
    changed = transfers_left_out(totals(parts), parts, [10 * new[0], *new[1:]])
    assert changed[0] == before[0]
    assert changed[1] != before[1]
    assert [each.count for each in before] == [5] * 6


@pytest.mark.parametrize(
    ("old", "parts", "new", "message"),
    [
        ([], [], [], "at least one measurement"),
        ([1.0], [{"add": 1.0}], [1.0, 2.0], "got 1 old and 2 new"),
        ([0.0], [{"add": 0.0}], [1.0], "must be positive"),
        ([1.0], [{"add": 1.0}], [0.0], "must be positive"),
    ],
)
def test_refusals(old, parts, new, message):
    with pytest.raises(InvalidInput, match=message):
        fit_transfer(old, parts, new)
