"""Latencies of whole arrays of genotypes: the same sums as one by one, a million times over.

What a genotype costs is a sum over its blocks, but which blocks are executed, which down-sampling
two of them share, how often the runtime goes back and forth between delegate and interpreter and
what crosses over follow from how the blocks are wired (:mod:`.wiring`). All four are
computed here for many genotypes at once:

* A block is executed if an output depends on it: bit masks, from the last block to the first.
* A feature is down-sampled to a level once: of what the blocks of a level read, each is counted
  that is of a finer one.
* Phases and crossings: see :mod:`.phases`.
* Warm and cold are two such sums; see :mod:`..profile.calibration`.
"""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np

from ...errors import InvalidInput
from ...models.detector import Detector
from ...models.genotype_array import GenotypeArray
from ...models.space import Space
from ..estimate.estimate import Estimator
from ..kernels.features import Matrix
from ..profile.device_profile import DeviceProfile
from .phases import phases_us
from .tables import BACKBONE, ColdCounter, HeadAlone, N, Prices, PriceTables, build_tables
from .wiring import Array, Cells, Wiring, executed_cells, has, union, wire

CHUNK = 4096  # genotypes at once: what is in use then fits a second-level cache
_DOWN = tuple(combinations(range(N), 2))  # levels from and to which features are down-sampled


class BatchEstimator:
    """A profile made ready to estimate arrays of genotypes of one space.

    Args:
        template: a detector whose backbone and predictor the cells come between, or features that
            they stand on alone.

    Attributes:
        accuracy: one line about the profile, as in
            :class:`..estimate.estimate.LatencyEstimate`.

    Raises:
        NotCovered: the profile has not been fitted, or lacks kernels that the space can need.
        InvalidInput: see :func:`~.tables.build_tables`.
    """

    def __init__(
        self, profile: DeviceProfile, space: Space, template: Detector | HeadAlone | None = None
    ) -> None:
        self.space, self.accuracy = space, profile.summary
        estimator = Estimator(profile)
        self.calibration = estimator.calibration
        self.warm, self.cold = (
            build_tables(each, space, template or HeadAlone())
            for each in (estimator, ColdCounter(profile))
        )

    def latencies_ms(self, genotypes: GenotypeArray) -> Matrix:
        """[n], what :meth:`..estimate.estimate.Estimator.estimate` says of each one's graph.

        Raises:
            InvalidInput: the genotypes are of another space.
        """
        if genotypes.space != self.space:
            raise InvalidInput(
                f"this estimator is for space {self.space.name!r}, the genotypes are of "
                f"{genotypes.space.name!r}"
            )
        latencies_us = np.empty(len(genotypes))
        for repeats in np.unique(genotypes.repeats):
            rows = np.flatnonzero(genotypes.repeats == repeats)
            for start in range(0, len(rows), CHUNK):
                chunk = rows[start : start + CHUNK]
                wiring = wire(self.space, [a.take(chunk, axis=0) for a in genotypes.arrays()])
                latencies_us[chunk] = self._latency_us(wiring, int(repeats))
        return latencies_us / 1e3

    def _latency_us(self, w: Wiring, repeats: int) -> Prices:
        cells = executed_cells(self.warm, w, repeats)
        needed, warm_us = _kernels_us(self.warm, w, cells, repeats)
        if self.warm.delegates:
            warm_us += phases_us(self.warm, w, cells, has(needed, N - 1))
        _, cold_us = _kernels_us(self.cold, w, cells, repeats)
        return self.calibration.settled_us(warm_us, cold_us)


def _kernels_us(
    tables: PriceTables, w: Wiring, cells: list[Cells], repeats: int
) -> tuple[Array, Prices]:
    """Which backbone features are needed, and what all kernels cost: no phases, no crossings."""
    residual = (tables.residual[0] << np.arange(N)).sum(axis=1)
    needed = cells[0].read | residual.take(w.channels)
    c6 = has(needed, N - 1)
    backbone = needed & 0b111 | c6 << (N - 2)
    added_us = tables.residual_us * (tables.residual[0] + (repeats - 1.0) * tables.residual[1])
    total: Prices = (tables.rest_us + added_us.sum(axis=1))[backbone, w.channels]
    total += tables.c6_us.take(w.channels) * c6
    total += _blocks_us(tables, w, cells)
    if tables.pool_us.any():
        total += _pools_us(tables, w, cells, c6)
    return needed, total


def _blocks_us(tables: PriceTables, w: Wiring, cells: list[Cells]) -> Prices:
    """Convolutions and merges; the first cell's inputs have the backbone's channels."""
    variants, kernels = tables.depthwise_us[..., 0].size, tables.depthwise_us.shape[-1]
    digits = w.digit.sum(axis=1, dtype=np.int32)
    body = (w.variant * kernels + w.kernel) * 2 + w.gated
    us = tables.inputs_us.ravel().take(digits * variants + w.variant)
    us += tables.body_us.ravel().take(body)
    first = (w.reads & 0b111) * np.int32(variants) + w.variant
    total: Prices = np.einsum("bn,bn->n", tables.first_us.ravel().take(first), cells[0].live)
    for some in cells:
        total += some.count * np.einsum("bn,bn->n", us, some.live)
    return total


def _pools_us(tables: PriceTables, w: Wiring, cells: list[Cells], c6: Array) -> Prices:
    """Down-sampling of features: each feature to each level once, whoever reads it."""
    total = np.zeros(len(w.channels))
    found = [_read_by_level(w, some.live) for some in cells]
    for some, read in zip(cells, found, strict=True):
        for source, target in _DOWN:
            pools = np.bitwise_count(read[target] & w.of_level[source])
            total += (some.count * tables.pool_us[source, :, target]).take(w.channels) * pools
    for source, target in _DOWN:  # the first cell's inputs have the backbone's channels
        more_us = tables.pool_us[BACKBONE + source, :, target] - tables.pool_us[source, :, target]
        total += more_us.take(w.channels) * has(found[0][target], source)
    # C6 begins as C5 down-sampled once, so that this is there already.
    shared = has(found[0][N - 1], N - 2) & c6
    total -= tables.pool_us[BACKBONE + N - 2, :, N - 1].take(w.channels) * shared
    # A cell's output that nothing is added to is the next cell's input: the same feature.
    found = [read for some, read in zip(cells, found, strict=True) for _ in range(some.count)]
    for cell, (before, after) in enumerate(pairwise(found)):
        apart_us = tables.pool_us[:N] * ~tables.residual[min(cell, 1)].T[:, :, None]
        for source, target in _DOWN:
            if apart_us[source].any():
                both = has(before[target], w.outputs[source]) & has(after[target], source)
                total -= apart_us[source, :, target].take(w.channels) * both
    return total


def _read_by_level(w: Wiring, live: Array) -> list[Array]:
    """[L][n], set of the features that executed blocks of a level read."""
    return [union(w.reads * (live & (w.level == level))) for level in range(N)]
