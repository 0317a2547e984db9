"""Warm-up and cosine: where they begin and end, and what short trainings have always used."""

from __future__ import annotations

import numpy as np
import pytest

from mnasfpn.models.training.learning_rate import cosine, short_training, warm_up


def test_a_warm_up_rises_evenly_and_stays() -> None:
    assert [warm_up(step, 4) for step in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]
    assert warm_up(0, 0.5) == 1


def test_a_cosine_falls_from_one_to_nothing() -> None:
    assert [cosine(step, 100) for step in (-5, 0, 50, 100)] == pytest.approx([1, 1, 0.5, 0])
    falling = [cosine(step, 100) for step in range(101)]
    assert falling == sorted(falling, reverse=True)


@pytest.mark.parametrize("steps", [1, 4, 120, 500])
def test_short_trainings(steps: int) -> None:
    """Searches of old are repeated with these very numbers."""
    for step in range(steps):
        warm = min(1.0, (step + 1) / max(steps * 0.1, 1.0))
        wanted = warm * (1 + np.cos(np.pi * step / steps)) / 2
        assert short_training(step, steps) == pytest.approx(wanted, rel=1e-15)
