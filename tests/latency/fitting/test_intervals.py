"""Intervals hold as often as they say, also from few residuals."""

from __future__ import annotations

import numpy as np
import pytest

from mnasfpn.latency.fitting.intervals import (
    conformal_half_width,
    coverage_from,
    residual_interval,
)


@pytest.mark.parametrize(("count", "coverage"), [(5, 5 / 6), (8, 8 / 9), (9, 0.9), (40, 0.9)])
def test_a_new_model_lies_inside_as_often_as_said(count: int, coverage: float) -> None:
    assert coverage_from(count) == pytest.approx(coverage)
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(4000):
        ratios = np.exp(0.1 * rng.standard_t(3, count + 1))
        width = conformal_half_width(np.ones(count), ratios[:-1])
        inside.append(1 / (1 + width) <= ratios[-1] <= 1 + width)
    # At least that often, and by no more than one rank of those there are.
    assert coverage - 0.02 < np.mean(inside) < coverage + 1 / (count + 1) + 0.02


NOISES = {
    "normal": lambda rng, n: rng.normal(0, 0.05, n),
    "heavy tails": lambda rng, n: 0.03 * rng.standard_t(3, n),
    "skewed": lambda rng, n: 0.05 * rng.exponential(size=n),
    "biased": lambda rng, n: 0.1 + rng.normal(0, 0.02, n),
}


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("count", [19, 24, 30, 38, 40, 100])
def test_an_interval_leaves_as_much_out_on_either_side(count: int, noise: str) -> None:
    rng = np.random.default_rng(count)
    below = above = 0
    repeats = 6000
    for _ in range(repeats):
        ratios = np.exp(NOISES[noise](rng, count + 1))
        found = residual_interval(np.ones(count), ratios[:-1])
        below += ratios[-1] < found.low
        above += ratios[-1] > found.high
    assert 0.88 <= 1 - (below + above) / repeats <= 0.93
    assert below / repeats == pytest.approx(0.05, abs=0.02)
    assert above / repeats == pytest.approx(0.05, abs=0.02)
    assert found.coverage == 0.9


def test_with_too_few_residuals_it_says_that_it_holds_less_often() -> None:
    found = residual_interval(np.ones(9), np.linspace(0.9, 1.1, 9))
    assert (found.low, found.high) == pytest.approx((0.9, 1.1))
    assert found.coverage == pytest.approx(0.8)
    assert residual_interval(np.ones(19), np.linspace(0.9, 1.1, 19)).coverage == 0.9
