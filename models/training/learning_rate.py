"""Shares of a learning rate: a linear warm-up, and half a cosine down to nothing."""

from __future__ import annotations

import math

WARM_UP = 0.1  # of a short training's steps


def warm_up(step: int, steps: float) -> float:
    """What a linear warm-up over so many steps has reached at a step (from 0); 1 after it."""
    return min(1.0, (step + 1) / steps)


def cosine(step: float, steps: float) -> float:
    """What is left at a step of a cosine that falls from 1 to 0; 1 before it begins at step 0."""
    return (1 + math.cos(math.pi * max(step, 0) / steps)) / 2


def short_training(step: int, steps: int) -> float:
    """Of trainings of some hundred steps: a warm-up over the first tenth of a cosine over all."""
    return warm_up(step, max(steps * WARM_UP, 1.0)) * cosine(step, steps)
