"""How well a few runs tell their centre: an interval from all of them. Pure functions.

Two figures of noise bound it, and the wider interval counts:

- The *own* noise of a model, a robust spread of its runs. Three to eight runs tell it badly: by
  chance they may lie close together far from the centre.
- The *usual* noise, the median over all models of the same device, and not less than that of its
  sentinel. One row's luck does not move it: no row is said to be known better than others can be.

Where too few others are known, little but its own runs speaks for a model; then its own noise is
taken several times as large. What a noise means for the centre of n runs depends on the quantile
that is the centre, and on n: simulated, with a fixed seed (:func:`factors`). That the
intervals hold is shown by ``python -m mnasfpn.benchmarks.verdicts``.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

CONFIDENCE = 0.95
#: A model's own noise is read between these many quantiles below and above the centre.
REACH = 0.3
#: So many models, the sentinels among them, tell a device's usual noise.
NEIGHBOURS = 10
#: How much rarer a lucky row must be where there are fewer.
ALONE = 1000.0
_SAMPLES = 20_000


@dataclass(frozen=True, slots=True)
class UsualNoise:
    """Standard deviation of the logarithms of a run's figure, from so many ``models``."""

    log_sd: float = 0.0
    models: int = 0


@dataclass(frozen=True, slots=True)
class Factors:
    """What n runs of normal noise do to the quantile that is their centre.

    Args:
        unit: median of the robust spread, per standard deviation.
        own: bound of the centre's error, per noise as n runs show it.
        known: bound of the centre's error, per standard deviation.
    """

    unit: float
    own: float
    known: float


def quantile(ordered: Sequence[float], share: float) -> float:
    """Of ascending values, with linear interpolation, as NumPy's default."""
    place = share * (len(ordered) - 1)
    below = min(int(place), len(ordered) - 2) if len(ordered) > 1 else 0
    rest = place - below
    return ordered[below] + (rest * (ordered[below + 1] - ordered[below]) if rest else 0.0)


def log_noise(ordered: Sequence[float], share: float) -> float:
    """Of two runs or more by their ascending figures: standard deviation of the logarithms.

    From the quantiles beside the centre, so that few slow runs do not count for much.
    """
    low, high = (quantile(ordered, at) for at in _reach(share))
    if low <= 0:  # a tool counts whole microseconds, and the model takes less than one
        return math.inf
    return math.log(high / low) / factors(len(ordered), share).unit


def usual_noise(rows: Iterable[Sequence[float]], share: float) -> UsualNoise:
    """Of many models, of each the ascending figures of its runs; fewer than three say nothing."""
    noises = [log_noise(ordered, share) for ordered in rows if len(ordered) >= 3]
    return UsualNoise(statistics.median(noises), len(noises)) if noises else UsualNoise()


def half_width(ordered: Sequence[float], share: float, usual: UsualNoise) -> float:
    """How far off the centre may be, as a ratio: the truth lies within a factor 1 + half width.

    Args:
        ordered: ascending figures of the runs; of one alone nothing is known.
        share: the quantile that is their centre.
    """
    runs = len(ordered)
    if runs < 2:
        return math.inf
    given = factors(runs, share)
    own = given.own * log_noise(ordered, share)
    if usual.models < NEIGHBOURS:
        own *= ALONE ** (1 / (runs - 1))  # as the tail of a quotient by a noise of n runs falls
    widest = max(own, given.known * usual.log_sd)
    return math.expm1(widest) if widest < 100 else math.inf


@cache
def factors(runs: int, share: float) -> Factors:
    """Simulated with normal noise, always with the same random numbers."""
    noise = np.sort(np.random.default_rng(runs).normal(size=(_SAMPLES, runs)))
    error = np.abs(_quantiles(noise, share) - statistics.NormalDist().inv_cdf(share))
    low, high = _reach(share)
    apart = _quantiles(noise, high) - _quantiles(noise, low)
    unit = float(np.median(apart))
    return Factors(
        unit,
        own=float(np.quantile(error / (apart / unit), CONFIDENCE)),
        known=float(np.quantile(error, CONFIDENCE)),
    )


def _reach(share: float) -> tuple[float, float]:
    return max(share - REACH, 0.0), min(share + REACH, 1.0)


def _quantiles(ordered: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """Of every row, like :func:`quantile`."""
    found: NDArray[np.float64] = np.quantile(ordered, share, axis=1)
    return found
