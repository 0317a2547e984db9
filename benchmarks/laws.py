"""Laws from kernels measured alone to whole models: those that the ablation compares.

All are special cases of one: a factor on what kernels take alone, prices per megabyte that are
paid in part, the less the faster a model is, and overheads of a model. Coefficients are
non-negative, and relative errors are minimised.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..latency.fitting.calibration_fit import RIDGE
from ..latency.fitting.held_out import Chosen, every_fifth, held_out
from ..latency.fitting.robust_least_squares import robust_least_squares
from ..latency.kernels.features import Matrix
from ..latency.profile.calibration import settled_us

SETTLINGS_US = (0.0, 1e3, 2e3, 4e3, 8e3, 16e3, 32e3)  # tried where a law has one
STRENGTHS = (0.03, 0.1, 0.3, 1.0, 3.0)  # tried where coefficients are drawn somewhere
STEP_NOISE_US = 2.0  # of an operator profile, in whole microseconds with an event around each


@dataclass(frozen=True)
class Law:
    """A way from kernels to models.

    Args:
        factors: on the latency alone: none, one, or one of each family of kernels.
        prices: terms of a kernel that have a price per megabyte: of tensors, weights and windows.
        own_prices: of each family, not of all kernels alike.
        overheads: intercept, delegate partitions and what crosses them.
        settling: whether prices are paid in part, the less the faster the model is.
        operators: whether coefficients of kernels are drawn to what operator profiles say.
    """

    name: str
    factors: str = "one"
    prices: tuple[int, ...] = ()
    own_prices: bool = False
    overheads: bool = False
    settling: bool = False
    operators: bool = False

    @property
    def choices(self) -> list[tuple[float, float]]:
        """(settling in microseconds, strength) to be chosen between."""
        return [
            (settling, strength)
            for settling in (SETTLINGS_US if self.settling else (0.0,))
            for strength in (STRENGTHS if self.drawn else (RIDGE,))
        ]

    @property
    def drawn(self) -> bool:
        """Whether coefficients are drawn somewhere, how strongly a fifth left out has to say."""
        return self.factors == "family" or self.operators


TENSORS, WEIGHTS, WINDOWS = 1, 2, 3
ALL = (TENSORS, WEIGHTS, WINDOWS)
TWO = (TENSORS, WEIGHTS)
FITTED = (
    Law("one factor"),
    Law("one factor, overheads", overheads=True),
    Law("one factor, weights", prices=(WEIGHTS,)),
    Law("one factor, weights, overheads", prices=(WEIGHTS,), overheads=True),
    Law("one factor, weights, settling", prices=(WEIGHTS,), settling=True),
    Law("one factor, tensors, weights, settling", prices=TWO, settling=True),
    Law("one factor, tensors, weights, overheads, settling", "one", TWO, False, True, True),
    Law("one factor, all prices, overheads, settling", "one", ALL, False, True, True),
    Law("a factor of each family, weights, overheads", "family", (WEIGHTS,), False, True),
    Law("warm and cold: each family its own, overheads, settling", "family", ALL, True, True, True),
)
#: From the simplest to the richest.
LAWS = (
    Law("plain sum", "none"),
    *(law for each in FITTED for law in (each, replace(each, operators=True))),
)


@dataclass(frozen=True)
class Models:
    """n measured models, K families.

    Args:
        latency_us: [n].
        families: [n, K, 4]: sums over kernels of the latency alone, and megabytes.
        overheads: [n, 3].
        steps: of each model: the same of single kernels, [m, K, 4], and what they took in it, [m].
    """

    latency_us: Matrix
    families: Matrix
    overheads: Matrix
    steps: tuple[tuple[Matrix, Matrix], ...]

    def only(self, chosen: Chosen) -> Models:
        return Models(
            self.latency_us[chosen],
            self.families[chosen],
            self.overheads[chosen],
            tuple(self.steps[i] for i in chosen),
        )


def terms(law: Law, families: Matrix, overheads: Matrix) -> tuple[Matrix, Matrix, Matrix]:
    """[n, ...] of a law's factors, prices and overheads."""
    factors, prices = families[..., :1], families[..., list(law.prices)]
    if law.factors != "family":
        factors = factors.sum(axis=1, keepdims=True)
    if not law.own_prices:
        prices = prices.sum(axis=1, keepdims=True)
    count = len(families)
    flat = factors.reshape(count, -1), prices.reshape(count, -1)
    return *flat, overheads if law.overheads else overheads[:, :0]


def predict(law: Law, models: Models, fitted: tuple[float, Matrix]) -> Matrix:
    """[n], microseconds."""
    settling_us, coefficients = fitted
    factors, prices, overheads = terms(law, models.families, models.overheads)
    own, cold, shared = np.split(coefficients, np.cumsum([factors.shape[1], prices.shape[1]]))
    return settled_us(factors @ own + overheads @ shared, prices @ cold, settling_us)


def fit(law: Law, models: Models) -> tuple[float, Matrix]:
    """Settling and coefficients."""
    if law.factors == "none":
        return 0.0, np.ones(1)
    everything = np.arange(len(models.latency_us))
    splits = list(every_fifth(len(everything))) if law.drawn else [(everything, everything)]

    def off(choice: tuple[float, float]) -> float:
        predicted_us = held_out(
            splits,
            lambda kept, left: predict(
                law, models.only(left), (choice[0], _solve(law, models.only(kept), *choice))
            ),
        )
        return float(np.abs(predicted_us / models.latency_us - 1).mean())

    best = min(law.choices, key=off)
    return best[0], _solve(law, models, *best)


def _solve(law: Law, models: Models, settling_us: float, strength: float) -> Matrix:
    factors, prices, overheads = terms(law, models.families, models.overheads)
    paid = models.latency_us / (models.latency_us + settling_us)
    design = np.hstack([factors, prices * paid[:, None], overheads])
    typical = (design / models.latency_us[:, None]).mean(axis=0)
    target = np.zeros(design.shape[1])
    target[: factors.shape[1]] = 1.0
    pull = RIDGE * typical
    if law.factors == "family":
        pull[: factors.shape[1]] = strength
    if law.operators:
        of_kernels = factors.shape[1] + prices.shape[1]
        target[:of_kernels] = _of_steps(law, models, settling_us)
        pull[: factors.shape[1]] = strength
        pull[factors.shape[1] : of_kernels] = strength * typical[factors.shape[1] : of_kernels]
    return robust_least_squares(design, models.latency_us, models.latency_us, pull, target)


def _of_steps(law: Law, models: Models, settling_us: float) -> Matrix:
    """Factors and prices as operators alone have them."""
    families, wanted_us = (np.concatenate(each) for each in zip(*models.steps, strict=True))
    latency_us = np.repeat(models.latency_us, [len(us) for _, us in models.steps])
    factors, prices, _ = terms(law, families, np.zeros((len(families), 0)))
    design = np.hstack([factors, prices * (latency_us / (latency_us + settling_us))[:, None]])
    return robust_least_squares(design, wanted_us, np.sqrt(wanted_us + STEP_NOISE_US))
