"""To a new phone from what is known of another one and a handful of measurements.

Phones of one architecture differ mostly by a common factor, and less by how much better or worse
each part of the work runs on them. So ::

    new latency = common * old latency + sum over parts of  difference * part

where a part is what one family of kernels takes of a model on the old phone, or whatever else the
new latency may follow. Differences are drawn towards 0: without evidence the common factor is all
there is. How strongly they are drawn, and how noisy the measurements are, is not chosen but
averaged over, each possibility by how well it explains what was measured (its evidence). An
outlier counts little: errors have Student's t distribution.

What is measured may be whole models or single kernels: a kernel is a model of one part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...errors import InvalidInput
from ..kernels.features import Matrix

Parts = Mapping[str, float]  # name -> in the unit of the latency on the old phone

#: Standard deviations, as shares of the common factor, that are averaged over: of the difference
#: of a part that is all of a model, and of one measurement.
DIFFERENCES = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8)
NOISES = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16)
COMMON_DEVIATION = 0.5  # of the common factor from the measurements' median ratio: hardly known
FREEDOM = 4.0  # degrees of, of the distribution of errors: heavy tails
REWEIGHTINGS = 30
CONVERGED = 1e-4  # change of a factor, as a share
LEAST = 0.1  # factor of anything, as a share of the measurements' median: nothing is for nothing


@dataclass(frozen=True, slots=True)
class Transfer:
    """How the new phone differs from the old one.

    Args:
        common: new latency over old, without differences.
        differences: part -> what is added to that.
        least: no factor is below it.
        deviation: of the differences, as a share of the common factor: mean of what was averaged.
        count: measurements used.
    """

    common: float
    differences: dict[str, float]
    least: float
    deviation: float
    count: int

    def factor(self, part: str) -> float:
        """Of a part whose cost is in the old latency."""
        return max(self.common + self.differences.get(part, 0.0), self.least)

    def predict(self, old: float, parts: Parts) -> float:
        """Latency on the new phone of a model that takes ``old`` on the old one."""
        differences = sum(
            difference * parts.get(part, 0.0) for part, difference in self.differences.items()
        )
        return max(self.common * old + differences, self.least * old)


def fit_transfer(old: Sequence[float], parts: Sequence[Parts], new: Sequence[float]) -> Transfer:
    """How a new phone differs, from some models.

    Args:
        old: latency of each model on the old phone, measured or estimated.
        parts: of each model, in the same unit.
        new: latencies on the new phone.

    Raises:
        InvalidInput: nothing was measured, or a latency is not positive.
    """
    if not len(old) == len(parts) == len(new) > 0:
        raise InvalidInput(
            "a transfer needs at least one measurement, and the parts and both latencies of each, "
            f"got {len(old)} old and {len(new)} new latencies and parts of {len(parts)}"
        )
    old_latency, new_latency = np.asarray(old, float), np.asarray(new, float)
    names = sorted({name for model in parts for name in model})
    if min(old_latency.min(), new_latency.min()) <= 0:
        raise InvalidInput("latencies on both phones must be positive")
    ratios = new_latency / old_latency
    middle = float(np.median(ratios))
    shares = part_shares(old, parts, names)
    units = difference_units(shares)
    centre = shares.mean(axis=0)
    weights, deviation = _explained((shares - centre) * units, ratios / middle - 1)
    differences = middle * weights[1:] * units
    return Transfer(
        common=middle * (1 + float(weights[0])) - float(differences @ centre),
        differences=dict(zip(names, map(float, differences), strict=True)),
        least=LEAST * middle,
        deviation=deviation,
        count=len(ratios),
    )


def transfers_left_out(
    old: Sequence[float], parts: Sequence[Parts], new: Sequence[float]
) -> list[Transfer]:
    """For each model, how the new phone differs by all others.

    Raises:
        InvalidInput: fewer than two models.
    """
    found = []
    for left in range(len(new)):
        kept = [index for index in range(len(new)) if index != left]
        old_kept, new_kept = ([each[index] for index in kept] for each in (old, new))
        found.append(fit_transfer(old_kept, [parts[index] for index in kept], new_kept))
    return found


def part_shares(old: Sequence[float], parts: Sequence[Parts], names: Sequence[str]) -> Matrix:
    """[models, parts] of each old latency."""
    values = [[model.get(name, 0.0) for name in names] for model in parts]
    amounts = np.asarray(values, float).reshape(len(parts), len(names))
    shares: Matrix = amounts / np.asarray(old, float)[:, None]
    return shares


def difference_units(shares: Matrix) -> Matrix:
    """[parts], how far each part's difference may be from 0, relative to one that is everything.

    The smaller a part, the further: it is hardly seen, and its kernels are of fewer kinds, whose
    own differences do not balance. With the root of its typical share the common factor is the mean
    of all parts' factors, weighted by what they take.
    """
    typical = np.sqrt((shares**2).mean(axis=0))
    units: Matrix = 1 / np.sqrt(np.maximum(typical, 1e-6))
    return units


def _explained(x: Matrix, y: Matrix) -> tuple[Matrix, float]:
    """Coefficients [1 + parts] of a constant and of ``x``, and the mean deviation of the latter.

    Each pair of deviations has its most probable coefficients, found by reweighting, and its
    evidence by Laplace's approximation there, with the curvature that is to be expected.
    """
    deviation, noise = (each.ravel() for each in np.meshgrid(DIFFERENCES, NOISES))
    terms = np.column_stack([np.ones(len(y)), x])
    precision = np.empty((len(noise), terms.shape[1]))
    precision[:, 0] = COMMON_DEVIATION**-2
    precision[:, 1:] = np.maximum(deviation, 1e-5)[:, None] ** -2
    prior, inverse = precision[:, :, None] * np.eye(terms.shape[1]), noise**-2
    trust = np.ones((len(noise), len(y)))
    found = np.zeros_like(precision)
    for _ in range(REWEIGHTINGS):
        weighted = terms * (trust * inverse[:, None])[:, :, None]
        weighted = weighted.transpose(0, 2, 1)
        before = found
        found = np.linalg.solve(weighted @ terms + prior, (weighted @ y)[:, :, None])[:, :, 0]
        squared = (y - found @ terms.T) ** 2 * inverse[:, None]
        trust = (FREEDOM + 1) / (FREEDOM + squared)
        if np.abs(found - before).max() < CONVERGED:
            break
    likelihood = -(FREEDOM + 1) / 2 * np.log1p(squared / FREEDOM).sum(axis=1)
    likelihood -= len(y) * np.log(noise)
    expected = (FREEDOM + 1) / (FREEDOM + 3) * inverse[:, None, None] * (terms.T @ terms) + prior
    evidence = (
        likelihood
        - (precision * found**2).sum(axis=1) / 2
        + np.log(precision).sum(axis=1) / 2
        - np.linalg.slogdet(expected)[1] / 2
    )
    probability = np.exp(evidence - evidence.max())
    probability /= probability.sum()
    coefficients: Matrix = probability @ found
    return coefficients, float(probability @ deviation)
