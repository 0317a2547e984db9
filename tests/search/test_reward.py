"""mAP x LAT^w by hand, and everything that is no result."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnasfpn.errors import InvalidInput
from mnasfpn.search.reward import Reward

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("mean_ap", "latency_ms", "expected"),
    [
        (0.249, 187.0, 0.249 / 187**0.3),  # paper, Table 3
        (0.5, 1.0, 0.5),
        (1.0, 1024.0, 0.125),  # 2^(10 x -0.3)
        (0.0, 5.0, 0.0),
        (0.0, INF, 0.0),
        (0.3, INF, 0.0),
    ],
)
def test_by_hand(mean_ap: float, latency_ms: float, expected: float) -> None:
    assert Reward()(mean_ap, latency_ms) == pytest.approx(expected, rel=1e-12)


def test_a_target_scales_every_reward_alike() -> None:
    target = Reward(target_ms=80.0)
    assert target(0.3, 80.0) == pytest.approx(0.3)
    ratios = {target(m, t) / Reward()(m, t) for m, t in ((0.1, 10.0), (0.3, 99.0))}
    assert max(ratios) == pytest.approx(min(ratios))


@pytest.mark.parametrize("mean_ap", [NAN, INF, -INF, -1.0, -1e-9])
def test_an_impossible_map_is_an_error(mean_ap: float) -> None:
    with pytest.raises(InvalidInput, match="mAP must be"):
        Reward()(mean_ap, 100.0)


@pytest.mark.parametrize("latency_ms", [NAN, 0.0, -0.0, -3.0, -INF])
def test_an_impossible_latency_is_an_error_and_never_a_fast_model(latency_ms: float) -> None:
    for mean_ap in (0.0, 0.3):
        with pytest.raises(InvalidInput, match="latency must be positive"):
            Reward()(mean_ap, latency_ms)


@pytest.mark.parametrize("exponent", [0.1, NAN, -INF])
def test_an_exponent_that_prefers_the_slower_is_refused(exponent: float) -> None:
    with pytest.raises(InvalidInput, match="exponent"):
        Reward(exponent=exponent)


@pytest.mark.parametrize("target_ms", [0.0, -1.0, NAN, INF])
def test_an_impossible_target_is_refused(target_ms: float) -> None:
    with pytest.raises(InvalidInput, match="target"):
        Reward(target_ms=target_ms)


@given(st.floats(1e-3, 1.0), st.floats(0.1, 1e4), st.floats(1.01, 2.0), st.floats(-2.0, -0.01))
def test_better_is_more_and_slower_is_less(
    mean_ap: float, latency_ms: float, factor: float, exponent: float
) -> None:
    reward = Reward(exponent)
    assert reward(mean_ap * factor, latency_ms) > reward(mean_ap, latency_ms)
    assert reward(mean_ap, latency_ms * factor) < reward(mean_ap, latency_ms)
