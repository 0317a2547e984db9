"""Intervals hold as often as they say, also from few residuals."""

from __future__ import annotations

import numpy as np
import pytest

from mnasfpn.latency.fitting.intervals import conformal_half_width, coverage_from


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
