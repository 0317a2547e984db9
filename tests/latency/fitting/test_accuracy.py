from __future__ import annotations

import time
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnasfpn.errors import InvalidInput
from mnasfpn.latency.fitting.accuracy import agreement, kendall_tau, share, validate
from mnasfpn.latency.fitting.intervals import conformal_half_width
from mnasfpn.latency.profile.validation import HeldOutModel


def points(measured, predicted, repeat=None):
    repeats = repeat if repeat is not None else [None] * len(measured)
    return [
        HeldOutModel(f"head{i}", m, p, 0.9 * p, 1.1 * p, r)
        for i, (m, p, r) in enumerate(zip(measured, predicted, repeats, strict=True))
    ]


lists = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=5, max_size=12).filter(
    lambda rows: len({m for m, _ in rows}) > 1 and len({p for _, p in rows}) > 1
)


@given(lists)
def test_figures_agree_with_scipy_and_sklearn_also_with_ties(rows) -> None:
    from scipy.stats import kendalltau, spearmanr
    from sklearn.metrics import (
        mean_absolute_percentage_error,
        r2_score,
        root_mean_squared_error,
    )

    measured, predicted = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    found = agreement(measured, predicted)
    assert found.r2.value == pytest.approx(r2_score(measured, predicted))
    assert found.rmse_ms.value == pytest.approx(root_mean_squared_error(measured, predicted))
    assert found.mape.value == pytest.approx(mean_absolute_percentage_error(measured, predicted))
    assert found.kendall_tau.value == pytest.approx(kendalltau(measured, predicted)[0], abs=1e-12)
    assert found.spearman.value == pytest.approx(spearmanr(measured, predicted)[0], abs=1e-12)


def test_figures_worked_by_hand() -> None:
    result = validate(points([10, 20, 40, 80, 100], [10, 21, 36, 90, 150]))
    accuracy = result.accuracy
    assert accuracy.rmspe.value == pytest.approx(
        np.sqrt((0 + 0.05**2 + 0.1**2 + 0.125**2 + 0.5**2) / 5)
    )
    assert accuracy.within_5.value == pytest.approx(0.4)
    assert accuracy.within_10.value == pytest.approx(0.6)
    assert accuracy.within_15.value == pytest.approx(0.8)
    assert accuracy.kendall_tau.value == 1
    assert result.largest_error == "head4"
    assert result.interval_coverage == pytest.approx(0.4)  # 32.4..39.6 just misses 40
    assert result.noise_floor is None


def test_the_noise_floor_is_the_second_measurement() -> None:
    measured = [10.0, 20.0, 30.0, 40.0, 50.0]
    result = validate(points(measured, measured, repeat=[11.0, 22.0, 33.0, 44.0, 55.0]))
    assert result.accuracy.mape.value == 0
    assert result.noise_floor is not None
    assert result.noise_floor.mape.value == pytest.approx(0.1)


def test_a_repeat_is_further_off_than_a_perfect_prediction_by_the_root_of_two() -> None:
    """So the noise floor as measured is no bound on predictors."""
    rng = np.random.default_rng(0)
    true_ms = rng.uniform(5, 50, 2000)
    one, two = true_ms * np.exp(0.03 * rng.standard_normal((2, 2000)))
    result = validate(points(one, true_ms, repeat=two))
    assert result.noise_floor is not None
    ratio = result.noise_floor.rmspe.value / result.accuracy.rmspe.value
    assert ratio == pytest.approx(np.sqrt(2), rel=0.05)
    assert "measured again: RMSPE 4." in str(result)


def test_a_model_measured_once_takes_no_part_in_the_noise_floor() -> None:
    measured = [10.0, 20.0, 30.0, 40.0, 50.0, 60.0]
    found = points(measured, measured, repeat=[1.1 * value for value in measured])
    once = replace(found[2], repeat_ms=None)
    result = validate([*found[:2], once, *found[3:]])
    assert result.noise_floor is not None
    assert result.noise_floor.models == 5
    assert result.noise_floor.mape.value == pytest.approx(0.1)
    assert validate([once, once, *found[3:]]).noise_floor is None  # three are too few


def test_bootstrap_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for trial in range(60):
        measured = rng.uniform(10, 100, 40)
        found = agreement(measured, measured * np.exp(0.05 * rng.standard_normal(40)), trial)
        hits += found.mape.low <= 0.05 * np.sqrt(2 / np.pi) <= found.mape.high
    assert hits >= 50  # 57 expected of 60


def test_wilson_s_interval_by_hand() -> None:
    """Of n / n its ends are n / (n + 1.96^2) and 1: five of five say less than forty of forty."""
    for count in (5, 40):
        found = share(count, count)
        assert (found.value, found.high) == (1, 1)
        assert found.low == pytest.approx(count / (count + 1.959964**2), rel=1e-6)
    assert share(0, 5).high == pytest.approx(1 - share(5, 5).low)
    half = share(5, 10)
    assert (half.low + half.high) / 2 == pytest.approx(0.5)


def test_shares_have_wilson_s_interval() -> None:
    found = agreement(np.arange(1.0, 9.0), np.arange(1.0, 9.0) * [1.2, *[1.07] * 3, *[1.0] * 4])
    assert found.within_5 == share(4, 8)
    assert found.within_10 == share(7, 8)
    assert found.within_15 == share(7, 8)


def test_the_interval_of_kendall_s_tau_by_hand() -> None:
    """Five models, the last two the other way round: they agree with the order of 2 others, not 4.

    The variance is 2 / 20 * (2 * 3 / (5 * 16) * (3 * 0.8^2 + 2 * 1.2^2) + 1 - 0.8^2).
    """
    found = kendall_tau(np.array([1.0, 2, 3, 4, 5]), np.array([1.0, 2, 3, 5, 4]))
    assert found.value == pytest.approx(0.8)
    assert found.low == pytest.approx(0.8 - 1.959964 * np.sqrt(0.1 * (0.36 + 0.36)))
    assert found.high == 1


def test_the_interval_of_kendall_s_tau_holds_the_truth_where_the_order_is_nearly_perfect() -> None:
    """Fisher's transformation, with a deviation of sqrt(0.437 / 20), holds it 8 times in 10."""
    rng = np.random.default_rng(3)

    def drawn(count: int) -> tuple[np.ndarray, np.ndarray]:
        measured = rng.uniform(10, 100, count)
        return measured, measured * np.exp(0.05 * rng.standard_normal(count))

    truth = kendall_tau(*drawn(3000)).value
    found = [kendall_tau(*drawn(24)) for _ in range(100)]
    assert sum(each.low <= truth <= each.high for each in found) >= 93


def test_models_that_are_all_alike_have_no_order_and_no_variance() -> None:
    found = agreement(np.full(5, 10.0), np.full(5, 11.0))
    assert (found.r2.value, found.kendall_tau.value, found.spearman.value) == (0, 0, 0)
    assert found.mape.value == pytest.approx(0.1)


def test_few_models_have_finite_intervals_around_their_figures() -> None:
    """Of five, one resample in 625 is one model five times."""
    measured = np.array([10.0, 20, 40, 80, 100])
    found = agreement(measured, np.array([10.0, 21, 90, 36, 150]))
    for field in fields(found):
        figure = getattr(found, field.name)
        if field.name != "models":
            assert figure.low <= figure.value <= figure.high, field.name
    with pytest.raises(InvalidInput, match="two models or more, got 1"):
        agreement(measured[:1], measured[:1])


def test_figures_of_many_models_are_soon_there() -> None:
    rng = np.random.default_rng(0)
    measured = rng.uniform(10, 100, 1000)
    start = time.process_time()
    agreement(measured, measured * np.exp(0.05 * rng.standard_normal(1000)))
    assert time.process_time() - start < 3


def test_conformal_half_width_covers_what_it_claims() -> None:
    rng = np.random.default_rng(2)
    covered = []
    for _ in range(400):
        ratios = np.exp(0.1 * rng.standard_normal(25))
        width = conformal_half_width(np.ones(24), ratios[:24])
        covered.append(1 / (1 + width) <= ratios[24] <= 1 + width)
    assert 0.86 <= np.mean(covered) <= 0.96


def test_too_few_models_are_refused() -> None:
    with pytest.raises(InvalidInput, match="at least 5"):
        validate(points([1, 2], [1, 2]))
