from __future__ import annotations

from dataclasses import replace

import pytest

from mnasfpn.errors import InvalidInput
from mnasfpn.models.training.recipes import RECIPES, recipe

TRAIN2017 = 118_287


def test_val2017_has_the_papers_277k_steps():
    assert recipe("val2017").steps_per_epoch(TRAIN2017) == 1848
    assert recipe("val2017").steps(TRAIN2017) == 277_200


@pytest.mark.parametrize(
    ("epoch", "rate"), [(1, 0.04), (119, 0.04), (120, 0.004), (139, 0.004), (140, 0.0004)]
)
def test_val2017_rates(epoch, rate):
    assert recipe("val2017").rate(epoch * 1848, TRAIN2017) == pytest.approx(rate)


def test_val2017_warms_up_from_nothing_within_an_epoch():
    rates = [recipe("val2017").rate(step, TRAIN2017) for step in (0, 923, 1847)]
    assert rates[0] == pytest.approx(0.04 / 1849)
    assert rates[1] == pytest.approx(0.02, rel=1e-2)
    assert rates[2] < 0.04


def test_test_dev_rates():
    dev = recipe("test-dev")
    assert dev.steps(TRAIN2017) == 100_000
    assert dev.rate(2_000, TRAIN2017) == pytest.approx(4.0)
    assert dev.rate(51_000, TRAIN2017) == pytest.approx(2.0)
    assert dev.rate(99_999, TRAIN2017) == pytest.approx(0, abs=1e-6)


def test_proxy_drops_once_in_20_epochs():
    proxy = recipe("proxy")
    per_epoch = proxy.steps_per_epoch(111_000)
    assert proxy.rate(16 * per_epoch, 111_000) == pytest.approx(0.004)
    assert proxy.steps(111_000) == 20 * per_epoch


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_learns_at_every_step_of_a_tiny_dataset(name):
    steps = RECIPES[name].steps(3)
    assert steps >= 1
    assert all(RECIPES[name].rate(step, 3) > 0 for step in range(0, steps, max(steps // 50, 1)))


def test_unknown_recipe_lists_the_known():
    with pytest.raises(InvalidInput, match=r"'best'.*val2017, test-dev, .*features, digits"):
        recipe("best")


def test_impossible_recipes_are_refused():
    with pytest.raises(InvalidInput, match="warm-up"):
        replace(recipe("digits"), warmup=1e6)
    with pytest.raises(InvalidInput, match="positive"):
        replace(recipe("digits"), batch_size=0)
