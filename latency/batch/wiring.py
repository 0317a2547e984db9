"""How the blocks of many genotypes are wired, as small integers and sets of features.

Features are numbered as in a genotype: 0..3 the cell's inputs, then the blocks, then one that
stands for no input. A set of features is an integer with a bit for each. Arrays are [.., n]: the
genotypes are the last axis. What takes time is memory traffic, so numbers are as narrow as can be,
except for positions: numpy copies those that are not ``intp``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...models.genotype import MIN_LEVEL
from ...models.space import Space
from .tables import N, PriceTables, level_digits

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Wiring:
    """Genotypes of one space; B blocks, S inputs of each at most, L = 4 levels."""

    channels: Array  # [n]
    level: Array  # [B, n] 0..3
    target: Array  # [B, n] position of that level in an array [L, n]
    variant: Array  # [B, n] position in [C, L, F]
    kernel: Array  # [B, n]
    gated: Array  # [B, n]
    outputs: Array  # [L, n] feature number of the output of each level
    feature: Array  # [B, S, n]
    flat: Array  # [B, S, n] position of that feature in an array [features, n]
    digit: Array  # [B, S, n] its level, as :func:`~.tables.level_digits` has it
    reads: Array  # [B, n] set of features a block reads, no input among them
    of_level: Array  # [L, n] set of features of each level


def wire(space: Space, arrays: list[Array]) -> Wiring:
    """The wiring of genotypes given by :meth:`~...models.genotype_array.GenotypeArray.arrays`."""
    _, channels, inputs, levels, expansions, kernels, merges = arrays
    n, blocks, slots = len(channels), space.blocks, max(space.in_degrees)
    none = N + blocks
    sets = np.min_scalar_type(1 << none)  # of 16 or 32 bits
    bits = (1 << np.arange(none)).astype(sets)[:, None]
    # NO_INPUT becomes the largest number there is, and then the feature that stands for it.
    feature = np.minimum(_genotypes_last(inputs[..., :slots], sets), sets.type(none))
    row = np.arange(n)
    flat = np.multiply(feature, n, dtype=np.intp)
    flat += row  # in place: another megabyte would be paid for page by page
    level = _genotypes_last(levels, np.uint8) - np.uint8(MIN_LEVEL)
    digits = level_digits(slots)
    digit = np.zeros((none + 1, n), digits.dtype)
    digit[:N], digit[N:none] = digits[:, None], digits.take(level)
    variant = (channels.astype(np.int32) * N + level) * max(1, len(space.expansions))
    variant += _genotypes_last(expansions, np.uint8)
    gated = np.zeros(level.shape, bool)
    if "se" in space.merges:
        gated = _genotypes_last(merges, np.uint8) == space.merges.index("se")
    outputs = np.empty((N, n), sets)
    outputs[level[-N:], row] = np.arange(blocks, none)[:, None]
    made = [union((level == at) * bits[N:]) for at in range(N)]
    return Wiring(
        channels=channels.astype(np.intp),
        level=level,
        target=np.multiply(level, n, dtype=np.intp) + row,
        variant=variant.astype(np.intp),
        kernel=_genotypes_last(kernels, np.uint8),
        gated=gated,
        outputs=outputs,
        feature=feature,
        flat=flat,
        digit=digit.ravel().take(flat),
        reads=np.bitwise_or.reduce(np.left_shift(sets.type(1), feature), axis=1),
        of_level=np.stack(made) | bits[:N],
    )


def _genotypes_last(values: Array, dtype: npt.DTypeLike) -> Array:
    """[n, ..] to [.., n], in memory too."""
    return np.ascontiguousarray(np.moveaxis(values, 0, -1)).astype(dtype, copy=False)


def has(features: Array, feature: Array | int) -> Array:
    """1 where a feature is in a set, else 0."""
    found: Array = features >> feature & 1
    return found


def union(sets: Array) -> Array:
    """Of sets along the first axis."""
    united: Array = np.bitwise_or.reduce(sets, axis=0)
    return united


@dataclass(frozen=True, slots=True)
class Cells:
    """Cells of which the same blocks are executed.

    Args:
        live: [B, n].
        read: [n], set of the features that are read.
        count: of cells.
    """

    live: Array
    read: Array
    count: int


def executed_cells(tables: PriceTables, w: Wiring, repeats: int) -> list[Cells]:
    """All cells, first to last. With a residual every input is read, so that they are alike."""
    levels = np.arange(N, dtype=w.reads.dtype)[:, None]
    live, read = _reach(w, np.full(len(w.channels), 0b1111 << len(w.level), w.reads.dtype))
    if tables.residual[1].all():
        return [Cells(live, read, repeats)]
    cells = [Cells(live, read, 1)]
    for _ in range(repeats - 1):
        live, read = _reach(w, union(has(read, levels) << w.outputs))
        cells.insert(0, Cells(live, read, 1))
    return cells


def _reach(w: Wiring, read: Array) -> tuple[Array, Array]:
    """Executed blocks [B, n] and all features read, of which some are known."""
    live = np.empty_like(w.reads)
    for block in reversed(range(len(live))):
        live[block] = has(read, N + block)
        read = read | w.reads[block] * live[block]
    return live.astype(bool), read
