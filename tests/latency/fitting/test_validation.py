from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau, spearmanr
from sklearn.metrics import mean_absolute_percentage_error, r2_score, root_mean_squared_error

from mnasfpn.errors import InvalidInput
from mnasfpn.latency.fitting.intervals import conformal_error
from mnasfpn.latency.fitting.validation import HeldOutModel, agreement, validate


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


def test_conformal_error_covers_what_it_claims() -> None:
    rng = np.random.default_rng(2)
    covered = []
    for _ in range(400):
        ratios = np.exp(0.1 * rng.standard_normal(25))
        error = conformal_error(np.ones(24), ratios[:24])
        covered.append(1 / (1 + error) <= ratios[24] <= 1 + error)
    assert 0.86 <= np.mean(covered) <= 0.96


def test_too_few_models_are_refused() -> None:
    with pytest.raises(InvalidInput, match="at least 5"):
        validate(points([1, 2], [1, 2]))
