"""Latencies of whole arrays of genotypes: the same sums as one by one, a million times over.

What a genotype costs is a sum over its blocks, but which blocks are executed, which down-sampling
two of them share, how often the runtime goes back and forth between delegate and interpreter and
what crosses over follow from how the blocks are wired. All four are computed here for many
genotypes at once, with small integers:

* A block is executed if an output depends on it: bit masks, from the last block to the first.
* The runtime executes in phases, delegate and interpreter in turn. A tensor's phase is the latest
  of its inputs', one later where the interpreter has to resample in between; nothing else matters.
* A tensor crosses where it is read in another phase than it was made in.

Arrays are [.., n]: the genotypes are the last axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InvalidInput
from ..models.detector import Detector
from ..models.genotype import MIN_LEVEL
from ..models.genotype_array import GenotypeArray
from ..models.space import Space
from .batch_tables import BACKBONE, NOTHING, SE, Features, N, Table, Tables, build_tables
from .estimate import Estimator
from .features import Matrix
from .profile import DeviceProfile

Array = npt.NDArray[Any]

CHUNK = 4096  # genotypes at once: what is in use then fits a second-level cache
_INPUT_BITS = np.int32(1) << np.arange(N, dtype=np.int32)[:, None]
GATES = 1 << 16  # counts of gates stand above counts of tensors in one integer


class BatchEstimator:
    """A profile made ready to estimate arrays of genotypes of one space.

    Args:
        template: a detector whose backbone and predictor the cells come between, or features that
            they stand on alone.

    Raises:
        NotCovered: the profile has not been fitted, or lacks kernels that the space can need.
        InvalidInput: see :func:`~.batch_tables.build_tables`.
    """

    def __init__(
        self, profile: DeviceProfile, space: Space, template: Detector | Features | None = None
    ) -> None:
        self.space = space
        self.tables = build_tables(Estimator(profile), space, template or Features())

    def latencies_ms(self, genotypes: GenotypeArray) -> Matrix:
        """[n], what :meth:`.estimate.Estimator.estimate` says of each one's graph.

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
                wiring = _wire(self.space, [values[chunk] for values in genotypes.arrays()])
                latencies_us[chunk] = _latency_us(self.tables, wiring, int(repeats))
        return latencies_us / 1e3


@dataclass(slots=True)
class _Wiring:
    """A chunk of genotypes with the genotypes last; B blocks, S inputs of each at most.

    Features are numbered as in a genotype: 0..3 the cell's inputs, then the blocks, then one that
    stands for no input.
    """

    channels: Array  # [n]
    feature: Array  # [B, S, n]
    flat: Array  # [B, S, n] position of that feature in an array [features, n]
    reads: Array  # [B, n] bits of the features a block reads
    level: Array  # [B, n] 0..3
    source: Array  # [B, S, n] level a feature comes from, or NOTHING
    pair: Array  # [B, S, n] position in [sources, L] of a feature's level and the block's
    variant: Array  # [B, n] position in [C, L, F]
    body: Array  # [B, n] position in [C, L, F, K, M]
    gated: Array  # [B, n]
    outputs: Array  # [L, n] feature number of the output of each level


def _wire(space: Space, chunk: list[Array]) -> _Wiring:
    _, channels, inputs, levels, expansions, kernels, merges = chunk
    n, blocks, slots = len(channels), space.blocks, max(space.in_degrees)
    none = N + blocks
    feature = inputs[:, :, :slots].transpose(1, 2, 0).astype(np.int16)
    if len(space.in_degrees) > 1:
        feature[feature < 0] = none
    level = levels.T.astype(np.int16) - MIN_LEVEL
    by_feature = np.empty((none + 1, n), np.int16)
    by_feature[:N], by_feature[N:none], by_feature[none] = np.arange(N)[:, None], level, NOTHING
    row = np.arange(n, dtype=np.int32)
    flat = (feature * np.int32(n) + row).astype(np.intp)
    bits = (1 << np.arange(none + 1)).astype(np.int32)
    bits[none] = 0
    reads = bits.take(feature)
    gated = np.zeros(level.shape, bool)
    if "se" in space.merges:
        gated |= np.equal(merges.T, space.merges.index("se"))
    merge = np.where(gated, SE, _added(feature < none, np.int8) - 2)
    variant = (channels.astype(np.int32) * N + level) * max(1, len(space.expansions)) + expansions.T
    outputs = np.empty((N, n), np.int16)
    outputs[level[-N:], np.arange(n)] = np.arange(blocks, blocks + N)[:, None]
    source = by_feature.ravel().take(flat)
    return _Wiring(
        channels=channels.astype(np.int32),
        feature=feature,
        flat=flat,
        reads=np.bitwise_or.reduce(reads, axis=1),
        level=level,
        source=source,
        pair=source * np.int16(N) + level[:, None],
        variant=variant,
        body=(variant * len(space.kernels) + kernels.T) * (SE + 1) + merge,
        gated=gated,
        outputs=outputs,
    )


def _latency_us(tables: Tables, w: _Wiring, repeats: int) -> Table:
    cells = _cells(tables, w, repeats)
    residual = tables.residual[0][w.channels].T
    needed = cells[0].read | np.bitwise_or.reduce(residual << np.arange(N)[:, None], axis=0)
    c6 = needed >> (N - 1) & 1
    backbone = (needed & 0b111) | c6 << (N - 2)
    total: Table = tables.rest_us[backbone, w.channels] + tables.c6_us[w.channels] * c6
    added_us = tables.residual_us * (tables.residual[0] + (repeats - 1.0) * tables.residual[1])
    total += added_us.sum(axis=1)[w.channels]
    total += _blocks_us(tables, w, cells)
    if tables.pool_us.any():
        total += _pools_us(tables, w, cells, c6)
    if tables.delegates:
        live = [some.live for some in cells for _ in range(some.count)]
        total += _phases_us(tables, w, live, c6)
    return total


@dataclass(frozen=True, slots=True)
class _Cells:
    """Cells of which the same blocks are executed.

    Args:
        live: [B, n].
        read: [n], bits of the features that are read.
        first: whether the first cell, whose inputs are the backbone's, is one of them.
        count: of cells.
    """

    live: Array
    read: Array
    first: bool
    count: int

    def table(self, us: Table) -> Table:
        """Sum over these cells, by source; the first cell's differ where they are backbone's."""
        total = us * self.count
        later = us[: N - 1] * (self.count - self.first)
        total[BACKBONE:] = us[BACKBONE:] * self.first + later
        flat: Table = total.ravel()
        return flat


def _cells(tables: Tables, w: _Wiring, repeats: int) -> list[_Cells]:
    """All cells, first to last. With a residual every input is read, so that they are alike."""
    live, read = _reach(w, np.full(len(w.channels), np.int32(0b1111 << len(w.level))))
    if tables.residual[1].all():
        return [_Cells(live, read, True, repeats)]
    cells = [_Cells(live, read, repeats == 1, 1)]
    for cell in reversed(range(repeats - 1)):
        wanted = (read >> np.arange(N)[:, None] & 1) << w.outputs
        live, read = _reach(w, np.bitwise_or.reduce(wanted, axis=0).astype(np.int32))
        cells.insert(0, _Cells(live, read, cell == 0, 1))
    return cells


def _reach(w: _Wiring, read: Array) -> tuple[Array, Array]:
    live = np.empty(w.reads.shape, np.int32)
    for block in reversed(range(len(live))):
        live[block] = read >> (N + block) & 1
        read = read | w.reads[block] * live[block]
    return live.astype(bool), read


def _blocks_us(tables: Tables, w: _Wiring, cells: list[_Cells]) -> Table:
    """Convolutions and merges; the first cell's inputs have the backbone's channels."""
    stride = tables.conv_us[0].size
    at = w.source * np.int32(stride) + w.variant[:, None]
    at += (w.feature < N - 1) * np.int32(BACKBONE * stride)
    body_us = tables.body_us.ravel().take(w.body)
    total = np.zeros(len(w.channels))
    for some in cells:
        inputs_us = _added(some.table(tables.conv_us).take(at))
        total += np.einsum("bn,bn->n", inputs_us + some.count * body_us, some.live)
    return total


def _added(values: Array, dtype: npt.DTypeLike | None = None) -> Array:
    """[B, S, n] summed over S; much faster than ``sum`` over a short axis."""
    total = np.add(values[:, 0], values[:, 1], dtype=dtype)
    for slot in range(2, values.shape[1]):
        total += values[:, slot]
    return total


def _pools_us(tables: Tables, w: _Wiring, cells: list[_Cells], c6: Array) -> Table:
    """Down-sampling of features: each feature to each level once, whoever reads it."""
    stride = tables.pool_us[0].size
    at = w.source * np.int32(stride) + (w.channels * N + w.level)[:, None]
    at += (w.feature < N - 1) * np.int32(BACKBONE * stride)
    bits = _POOL_BITS.take(w.feature * np.int16(len(_PAIRS)) + w.pair)
    total = np.zeros(len(w.channels))
    found = []
    for some in cells:
        anew, pools = _pooled(bits, some.live)
        total += np.einsum("bsn,bsn->n", some.table(tables.pool_us).take(at), anew)
        found += [pools] * some.count
    # C6 begins as C5 down-sampled once, so that this is there already.
    total -= tables.pool_us[BACKBONE + 2, :, N - 1][w.channels] * (_has(found[0], 2, 1) & c6)
    # A cell's output that nothing is added to is the next cell's input: the same feature.
    for cell, (before, after) in enumerate(pairwise(found)):
        kept = tables.residual[min(cell, 1)]
        for level in np.flatnonzero(~kept[:, : N - 1].all(axis=0)).tolist():
            apart = ~kept[:, level][w.channels]
            for steps in range(1, N - level):
                both = _has(before, w.outputs[level], steps) & _has(after, level, steps)
                total -= tables.pool_us[level, :, level + steps][w.channels] * (both & apart)
    return total


# A bit for each feature that can be down-sampled by one, two or three levels; [features, pairs].
_PAIRS = np.asarray([level - source for source in range(NOTHING + 1) for level in range(N)])
_MOST_FEATURES = 64 // (N - 1)
_POOL_BITS = np.where(_PAIRS > 0, 1 << np.maximum(_PAIRS - 1, 0), 0) << (
    np.arange(_MOST_FEATURES)[:, None] * (N - 1)
)


def _pooled(bits: Array, live: Array) -> tuple[Array, Array]:
    """Which inputs are the first of a cell to down-sample a feature to a level, and all pools."""
    pools = np.zeros(bits.shape[2], np.int64)
    anew = np.empty(bits.shape, bool)
    for block in range(len(bits)):
        for slot in range(bits.shape[1]):
            bit = bits[block, slot] * live[block]
            anew[block, slot] = (pools & bit) != bit
            pools |= bit
    return anew, pools


def _has(pools: Array, feature: Array | int, steps: int) -> Array:
    """Whether a feature is down-sampled by so many levels."""
    found: Array = pools >> (feature * np.int64(N - 1) + steps - 1) & 1
    return found


def _phases_us(tables: Tables, w: _Wiring, live: list[Array], c6: Array) -> Table:
    """Delegate partitions, and what enters and leaves them."""
    n = len(w.channels)
    waits, weights, pooled = _inputs(tables, w)
    crossings = _Crossings.zeros(w)
    phase = np.zeros((N + len(w.level) + 1, n), np.int16)
    phase[-1] = -np.int16(1 << 14)  # no input is always there
    inner_bits = np.int32(1) << np.arange(N, len(w.level), dtype=np.int32)[:, None]
    pending = np.zeros((N, n), bool)  # cell outputs known to leave the delegate
    for cell, executed in enumerate(live):
        early = _early(tables, w, pooled, executed, c6) if cell == 0 else 0
        crossings.expanded += _run_cell(phase, w, waits - early, weights) * executed
        read = np.bitwise_or.reduce(pooled * executed, axis=0)  # by the interpreter
        crossings.inside += (read & inner_bits).astype(bool)
        inputs, outputs = phase[:N], phase.ravel().take(w.outputs * np.intp(n) + np.arange(n))
        kept = tables.residual[min(cell, 1)][w.channels].T
        later = kept & (outputs > inputs)
        leaves = pending | (read & _INPUT_BITS).astype(bool) | later
        if cell == 0:
            crossings.first = leaves + later.astype(np.int16)
            if not tables.whole:
                # C3..C5 are made outside then, and enter where the delegate reads them.
                direct = np.bitwise_or.reduce((w.reads & ~pooled) * executed, axis=0)
                enters = (direct & _INPUT_BITS).astype(bool) | (kept & ~later)
                enters[N - 2] |= c6.astype(bool)
                crossings.first[: N - 1] = enters[: N - 1] + later[: N - 1].astype(np.int16)
        else:
            crossings.features += leaves + later.astype(np.int16)
        own = (read >> w.outputs & 1).astype(bool)
        waited = kept & (inputs > outputs)
        crossings.features += kept * ((own | waited) + waited.astype(np.int16))
        pending = own & ~kept
        phase[:N] = np.where(kept, np.maximum(inputs, outputs), outputs)
    last = phase[:N].max(axis=0)
    crossings.features += pending | (not tables.whole)
    joined = (phase[:N] < last) * tables.predictions_us[:, None]
    total: Table = crossings.us(tables, w) + tables.partition_us * (last + 1) + joined.sum(axis=0)
    return total


def _inputs(tables: Tables, w: _Wiring) -> tuple[Array, Array, Array]:
    """What each input does to phases and crossings.

    Returns:
        [B, S, n] phases it takes; [B, S, n] tensors that cross if the merge has to wait for another
        input, gates counted in :data:`GATES`; [B, n] bits of features the interpreter reads.
    """
    waits = tables.waits.ravel().astype(np.int16).take(w.pair)
    gates = w.gated.any()
    weights: Array = tables.direct.ravel().astype(np.int32 if gates else np.int16).take(w.pair)
    direct = weights.copy()
    weights *= 2
    if gates:
        # The coarser input is read twice: squeezed as soon as it is there, and merged. Its gate
        # leaves and enters.
        first = w.source[:, 0] >= w.source[:, 1]
        weights[:, 0] += (w.gated & first) * (2 * GATES + 1 - direct[:, 0])
        weights[:, 1] += (w.gated & ~first) * (2 * GATES + 1 - direct[:, 1])
    pooled = tables.pooled.ravel().astype(np.int32).take(w.pair) << w.feature
    return waits, weights, np.bitwise_or.reduce(pooled, axis=1)


def _run_cell(phase: Array, w: _Wiring, waits: Array, weights: Array) -> Array:
    """Phases of a cell's blocks, written to ``phase``; [B, n] tensors that cross within each."""
    crossing = np.zeros(w.level.shape, weights.dtype)
    features = phase.ravel()
    for block in range(len(w.level)):
        merged = features.take(w.flat[block, 0]) + waits[block, 0]
        weight: Array | int = weights[block, 0]
        for slot in range(1, waits.shape[1]):
            arrived = features.take(w.flat[block, slot]) + waits[block, slot]
            both = np.maximum(merged, arrived)
            crossing[block] += (merged < both) * weight
            crossing[block] += (arrived < both) * weights[block, slot]
            merged, weight = both, 2  # a sum so far leaves and enters
        phase[N + block] = merged
    return crossing


def _early(tables: Tables, w: _Wiring, pooled: Array, executed: Array, c6: Array) -> Array | int:
    """[B, S, n], inputs the interpreter has resampled before the delegate's first turn.

    The side of the first node in the file begins. That is the delegate's, unless a head alone
    begins with a block whose first input is down-sampled by the interpreter.
    """
    if tables.whole or c6.all():
        return 0
    n = len(w.channels)
    begins = executed.argmax(axis=0), 0, np.arange(n)
    outside = tables.pooled.ravel().take(w.pair) & (w.feature < N - 1)
    early: Array = outside & outside[begins] & (c6 == 0)
    return early.astype(np.int16)


@dataclass(slots=True)
class _Crossings:
    """How often tensors enter or leave the delegate, summed over the cells."""

    expanded: Array  # [B, n] of F channels at the block's level; gates in GATES
    inside: Array  # [blocks that are no outputs, n] of C channels at the block's level
    features: Array  # [L, n] of C channels, cell outputs
    first: Array  # [L, n] C3..C6

    @classmethod
    def zeros(cls, w: _Wiring) -> _Crossings:
        blocks, n = w.level.shape
        return cls(
            np.zeros((blocks, n), np.int32),
            np.zeros((blocks - N, n), np.int32),
            np.zeros((N, n), np.int16),
            np.zeros((N, n), np.int16),
        )

    def us(self, tables: Tables, w: _Wiring) -> Table:
        expanded, gates = self.expanded & (GATES - 1), self.expanded >> 16
        total = (tables.expanded_us.ravel().take(w.variant) * expanded).sum(axis=0)
        if w.gated.any():
            total += (tables.gate_us.ravel().take(w.variant) * gates).sum(axis=0)
        inside = w.level[:-N] + w.channels * N
        total += (tables.feature_us.ravel().take(inside) * self.inside).sum(axis=0)
        of_level = tables.feature_us[w.channels].T
        total += (of_level * self.features).sum(axis=0) + of_level[-1] * self.first[-1]
        found: Table = total + (tables.backbone_us[:, None] * self.first[:-1]).sum(axis=0)
        return found
