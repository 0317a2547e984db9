"""How well a few runs tell their centre: against NumPy, and by simulation with known noise."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnasfpn.android_harness.interval import (
    NEIGHBOURS,
    UsualNoise,
    factors,
    half_width,
    log_noise,
    quantile,
    usual_noise,
)

SHARES = (0.25, 0.5)
figures = st.lists(st.floats(1, 1e6), min_size=1, max_size=9).map(sorted)


def noisy(rng: np.random.Generator, sigma: float, runs: int) -> list[float]:
    return sorted(np.exp(rng.normal(0, sigma, runs)).tolist())


@given(figures, st.floats(0, 1))
def test_quantiles_are_numpys(ordered: list[float], share: float) -> None:
    assert quantile(ordered, share) == pytest.approx(float(np.quantile(ordered, share)))


@pytest.mark.parametrize("share", SHARES)
def test_the_noise_of_many_models_is_found(share: float) -> None:
    rng = np.random.default_rng(0)
    for runs in (3, 5, 8):
        found = usual_noise((noisy(rng, 0.03, runs) for _ in range(2000)), share)
        assert found.models == 2000
        assert found.log_sd == pytest.approx(0.03, rel=0.05)


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("runs", [3, 5, 8])
def test_with_the_usual_noise_known_the_interval_holds_the_centre(share: float, runs: int) -> None:
    """Also of those rows whose own runs lie close together by chance."""
    rng = np.random.default_rng(1)
    usual, truth = UsualNoise(0.02, NEIGHBOURS), math.exp(0.02 * NormalDist().inv_cdf(share))
    rows = [noisy(rng, 0.02, runs) for _ in range(2000)]
    inside = {
        log_noise(ordered, share): abs(math.log(quantile(ordered, share) / truth))
        <= math.log1p(half_width(ordered, share, usual))
        for ordered in rows
    }
    lucky = [held for noise, held in sorted(inside.items())][: len(rows) // 4]
    assert np.mean(list(inside.values())) >= 0.95
    assert np.mean(lucky) >= 0.9


@pytest.mark.parametrize("share", SHARES)
def test_alone_few_lucky_rows_are_taken_for_known(share: float) -> None:
    rng = np.random.default_rng(2)
    rows = [noisy(rng, 0.08, runs) for _ in range(1000) for runs in (3, 5, 8)]
    known = [half_width(ordered, share, UsualNoise()) <= 0.05 for ordered in rows]
    assert np.mean(known) < 0.005


@given(figures, st.integers(-6, 6), st.sampled_from(SHARES))
def test_an_interval_does_not_depend_on_the_unit(
    ordered: list[float], power: int, share: float
) -> None:
    scaled = [2.0**power * value for value in ordered]
    usual = UsualNoise(0.01, NEIGHBOURS)
    assert half_width(scaled, share, usual) == half_width(ordered, share, usual)


def test_more_runs_tell_more_and_noise_tells_less() -> None:
    for share in SHARES:
        own = [factors(runs, share).own for runs in range(2, 9)]
        known = [factors(runs, share).known for runs in range(2, 9)]
        assert own == sorted(own, reverse=True)
        assert known == sorted(known, reverse=True)
    quiet, loud = UsualNoise(0.01, NEIGHBOURS), UsualNoise(0.02, NEIGHBOURS)
    same = [100.0] * 5
    assert half_width(same, 0.5, loud) > half_width(same, 0.5, quiet) > 0


def test_what_cannot_be_known_has_no_bound() -> None:
    assert half_width([100.0], 0.5, UsualNoise(0.01, NEIGHBOURS)) == math.inf
    below_a_microsecond = [0.0, 0.0, 1.0]
    assert half_width(below_a_microsecond, 0.5, UsualNoise()) == math.inf


def test_a_slow_run_among_eight_does_not_widen_the_interval() -> None:
    usual = UsualNoise(0.005, NEIGHBOURS)
    runs = [100.0, 100.2, 100.4, 100.6, 100.8, 101.0, 101.2]
    for share in SHARES:
        slow = half_width([*runs, 200.0], share, usual)
        assert slow < 1.5 * half_width([*runs, 101.4], share, usual)
