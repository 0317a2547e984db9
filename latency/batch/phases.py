"""Of many genotypes: delegate partitions, and what enters and leaves them.

The runtime executes in phases, delegate and interpreter in turn. A tensor's phase is the latest of
its inputs', one later where the interpreter has to resample in between; nothing else matters. A
tensor crosses where it is read in another phase than it was made in. Phases are numbered by the
delegate's turns. Flags are 0 or 1 and as narrow as counts, so that both can be added.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .tables import Flags, N, Prices, PriceTables
from .wiring import Array, Cells, Wiring, has, union

_NEVER = np.int16(-(1 << 14))  # phase of no input: there before everything else
_GATE = np.uint8(16)  # in a count of crossings gates stand above tensors, which are fewer


def phases_us(tables: PriceTables, w: Wiring, cells: list[Cells], c6: Array) -> Prices:
    """[n], what it costs that execution goes back and forth.

    Args:
        c6: [n], whether C6 is made.
    """
    blocks, n = w.level.shape
    features = np.arange(blocks, dtype=w.reads.dtype)[:, None]  # but the cell's outputs
    outputs_at = np.multiply(w.outputs, n, dtype=np.intp) + np.arange(n)
    inputs, crossings = _inputs(tables, w), _Crossings.zeros(w)
    phase = np.zeros((N + blocks + 1, n), np.int16)
    phase[-1] = _NEVER
    pending: Array = np.zeros((N, n), np.uint8)  # cell outputs known to leave the delegate
    for cell, some in enumerate([alike for alike in cells for _ in range(alike.count)]):
        waits = inputs.waits if cell else _first_waits(tables, w, inputs, some.live, c6)
        crossings.merge(_crossing(_run_cell(phase, w, waits), inputs.weights) * some.live)
        read = union(inputs.pooled * some.live)  # by the interpreter
        crossings.inside += has(read, features[N:])
        # What a cell begins with may be added to what it ends with: the earlier waits and crosses.
        begin, end = phase[:N], phase.ravel().take(outputs_at)
        added = tables.residual[min(cell, 1)].view(np.uint8).T.take(w.channels, axis=1)
        waited = added & (begin < end)
        crosses = pending | has(read, features[:N]).astype(np.uint8) | waited
        if cell == 0 and not tables.whole:
            # C3..C5 are made outside then, and enter where the delegate reads them.
            direct = has(union((w.reads & ~inputs.pooled) * some.live), features[:N])
            enters = direct.astype(np.uint8) | added & (begin >= end)
            enters[N - 2] |= c6.astype(np.uint8)
            crosses[: N - 1] = enters[: N - 1]
        counts = crossings.features if cell else crossings.first
        counts += crosses + waited
        pending = has(read, w.outputs).astype(np.uint8)
        waited = added & (begin > end)
        crossings.features += added * ((pending | waited) + waited)
        pending &= added ^ 1
        phase[:N] = np.where(added, np.maximum(begin, end), end)
    last = phase[:N].max(axis=0)
    crossings.features += pending | np.uint8(not tables.whole)
    joined_us = np.einsum("l,ln->n", tables.predictions_us, phase[:N] < last)
    total: Prices = crossings.us(tables, w) + tables.partition_us * (last + 1) + joined_us
    return total


@dataclass(frozen=True, slots=True)
class _Inputs:
    """What each input of a block does to phases and crossings.

    Args:
        waits: [B, S, n] phases it takes.
        weights: [B, S, n] tensors that cross if the merge has to wait for another input, and gates
            counted in :data:`_GATE`.
        pooled: [B, n] set of those that the interpreter reads.
    """

    waits: Array
    weights: Array
    pooled: Array


def _inputs(tables: PriceTables, w: Wiring) -> _Inputs:
    direct = has(_flagged(tables.direct, w)[:, None], w.feature).astype(np.uint8)
    weights = 2 * direct
    if w.gated.any():
        # The coarser input is read twice: squeezed as soon as it is there, and merged. Its gate
        # leaves and enters.
        first = w.digit[:, 0] >= w.digit[:, 1]
        for slot, coarser in enumerate((first, ~first)):
            gated = (w.gated & coarser).view(np.uint8)
            weights[:, slot] += gated * (2 * _GATE + 1 - direct[:, slot])
    return _Inputs(
        waits=has(_flagged(tables.waits, w)[:, None], w.feature).astype(np.int16),
        weights=weights,
        pooled=_flagged(tables.pooled, w) & w.reads,
    )


def _flagged(flags: Flags, w: Wiring) -> Array:
    """[B, n], set of the features from whose level to a block's a flag, of [S, L], is set."""
    by_target = np.stack([union(w.of_level[flags[:N, level]]) for level in range(N)])
    flagged: Array = by_target.ravel().take(w.target)
    return flagged


def _first_waits(tables: PriceTables, w: Wiring, inputs: _Inputs, live: Array, c6: Array) -> Array:
    """As in :class:`_Inputs`, but for what the interpreter resamples before its first turn.

    The side of the first node in the file begins. That is the delegate's, unless a head alone
    begins with a block whose first input is down-sampled by the interpreter.
    """
    if tables.whole or c6.all():
        return inputs.waits
    begins = live.argmax(axis=0), 0, np.arange(len(w.channels))
    outside = has(inputs.pooled[:, None], w.feature).astype(bool) & (w.feature < N - 1)
    early: Array = outside & outside[begins] & (c6 == 0)
    return inputs.waits * ~early


def _run_cell(phase: Array, w: Wiring, waits: Array) -> Array:
    """Phases of a cell's blocks, written to ``phase``; [B, S, n] those of what they merge."""
    merged = np.empty(waits.shape, np.int16)
    for block, arrived in enumerate(merged):
        phase.take(w.flat[block], out=arrived, mode="clip")  # "raise" would copy; all are within
        arrived += waits[block]
        np.maximum.reduce(arrived, axis=0, out=phase[N + block])
    return merged


def _crossing(merged: Array, weights: Array) -> Array:
    """[B, n], tensors that cross within blocks, which merge one input after the other."""
    weight: Array | np.uint8
    so_far, weight = merged[:, 0], weights[:, 0]
    crossing: Array = np.zeros(so_far.shape, np.uint8)
    for slot in range(1, merged.shape[1]):
        both = np.maximum(so_far, merged[:, slot])
        crossing += (so_far < both) * weight
        crossing += (merged[:, slot] < both) * weights[:, slot]
        so_far, weight = both, np.uint8(2)  # a sum so far leaves and enters
    return crossing


@dataclass(slots=True)
class _Crossings:
    """How often tensors enter or leave the delegate, summed over the cells."""

    expanded: Array  # [B, n] of F channels at the block's level
    gates: Array  # [B, n]
    inside: Array  # [blocks that are no outputs, n] of C channels at the block's level
    features: Array  # [L, n] of C channels, cell outputs
    first: Array  # [L, n] C3..C6

    @classmethod
    def zeros(cls, w: Wiring) -> _Crossings:
        blocks, n = w.level.shape
        return cls(*(np.zeros((rows, n), np.int16) for rows in (blocks, blocks, blocks - N, N, N)))

    def merge(self, crossing: Array) -> None:
        """Add those within the blocks of a cell, gates counted in :data:`_GATE`."""
        self.expanded += crossing & (_GATE - 1)
        self.gates += crossing // _GATE

    def us(self, tables: PriceTables, w: Wiring) -> Prices:
        expanded_us = tables.expanded_us.ravel().take(w.variant)
        gate_us = tables.gate_us.ravel().take(w.variant)
        inside_us = tables.feature_us.ravel().take(w.channels * N + w.level[:-N])
        feature_us = tables.feature_us.T.take(w.channels, axis=1)
        total: Prices = np.einsum("bn,bn->n", expanded_us, self.expanded)
        total += np.einsum("bn,bn->n", gate_us, self.gates)
        total += np.einsum("bn,bn->n", inside_us, self.inside)
        total += np.einsum("ln,ln->n", feature_us, self.features)
        total += feature_us[-1] * self.first[-1]
        total += np.einsum("l,ln->n", tables.backbone_us, self.first[:-1])
        return total
