"""Many genotypes of one space as integer arrays: what vectorised code computes with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InvalidInput
from .genotype import LEVELS, MIN_LEVEL, Block, Genotype
from .space import Space

Integers = npt.NDArray[np.integer]
Rows = slice | npt.NDArray[np.integer] | npt.NDArray[np.bool_]

MOST_INPUTS = 4
NO_INPUT = -1


@dataclass(frozen=True, eq=False)
class GenotypeArray:
    """n genotypes of a space; decisions are indices into the space's tables.

    Args:
        repeats: [n], number of cells.
        channels: [n], index into ``space.channels``.
        inputs: [n, blocks, 4], feature indices as in :class:`~.genotype.Block`, then -1.
        levels: [n, blocks], 3..6.
        expansions: [n, blocks], index into ``space.expansions``; 0 where the space has none.
        kernels: [n, blocks], index into ``space.kernels``.
        merges: [n, blocks], index into ``space.merges``.

    Raises:
        InvalidInput: a shape or an entry is out of range; the first bad genotype is named.
    """

    space: Space
    repeats: Integers
    channels: Integers
    inputs: Integers
    levels: Integers
    expansions: Integers
    kernels: Integers
    merges: Integers

    def __post_init__(self) -> None:
        count, blocks = len(self.repeats), self.space.blocks
        for name, shape in {
            "repeats": (count,),
            "channels": (count,),
            "inputs": (count, blocks, MOST_INPUTS),
            **dict.fromkeys(("levels", "expansions", "kernels", "merges"), (count, blocks)),
        }.items():
            got = getattr(self, name).shape
            if got != shape:
                raise InvalidInput(f"{name!r} has shape {got}, expected {shape}")
        self._in_range("repeats", 1, None)
        self._in_range("channels", 0, len(self.space.channels))
        self._in_range("levels", MIN_LEVEL, LEVELS[-1] + 1)
        self._in_range("expansions", 0, max(1, len(self.space.expansions)))
        self._in_range("kernels", 0, len(self.space.kernels))
        self._in_range("merges", 0, len(self.space.merges))
        self._check_inputs()
        outputs = np.sort(self.levels[:, -len(LEVELS) :], axis=1)
        self._reject(
            (outputs != np.asarray(LEVELS)).any(axis=1), f"must have output levels {LEVELS}"
        )

    def _in_range(self, name: str, low: int, end: int | None) -> None:
        values = getattr(self, name)
        bad = (values < low) if end is None else (values < low) | (values >= end)
        limits = f"at least {low}" if end is None else f"{low} to {end - 1}"
        self._reject(bad.any(axis=tuple(range(1, bad.ndim))), f"needs {name!r} of {limits}")

    def _check_inputs(self) -> None:
        before = len(LEVELS) + np.arange(self.space.blocks)[:, None]
        given = self.inputs >= 0
        bad = (self.inputs < NO_INPUT) | (self.inputs >= before)
        bad |= given & ~np.logical_and.accumulate(given, axis=2)
        self._reject(bad.any(axis=(1, 2)), "needs inputs before their block, -1 behind the last")
        degrees = given.sum(axis=2)
        self._reject(
            ~np.isin(degrees, self.space.in_degrees).all(axis=1),
            f"needs blocks of {self.space.in_degrees} inputs",
        )
        if "se" in self.space.merges:
            gated = self.merges == self.space.merges.index("se")
            self._reject(
                (gated & (degrees != 2)).any(axis=1), "has merge 'se', which takes 2 inputs"
            )

    def _reject(self, bad: Any, rule: str) -> None:
        if bad.any():
            raise InvalidInput(
                f"genotype {int(bad.argmax())} of {len(self)} {rule} in space {self.space.name!r}"
            )

    def __len__(self) -> int:
        return len(self.repeats)

    def __getitem__(self, rows: Rows) -> GenotypeArray:
        """The genotypes of some rows: a slice, indices or a mask."""
        return GenotypeArray(self.space, *(values[rows] for values in self.arrays()))

    def arrays(self) -> tuple[Integers, ...]:
        return (
            *(self.repeats, self.channels, self.inputs, self.levels),
            *(self.expansions, self.kernels, self.merges),
        )

    def __iter__(self) -> Iterator[Genotype]:
        return (self.genotype(row) for row in range(len(self)))

    def genotype(self, row: int) -> Genotype:
        """One of them as a value."""
        space = self.space
        blocks = tuple(
            Block(
                inputs=tuple(int(i) for i in self.inputs[row, b] if i >= 0),
                level=int(self.levels[row, b]),
                expansion=(space.expansions[self.expansions[row, b]] if space.expansions else None),
                kernel=space.kernels[self.kernels[row, b]],
                merge=space.merges[self.merges[row, b]],
            )
            for b in range(space.blocks)
        )
        return Genotype(
            channels=space.channels[self.channels[row]],
            repeats=int(self.repeats[row]),
            blocks=blocks,
            sdo=space.sdo,
            cell_residual=space.cell_residual,
        )


def from_genotypes(space: Space, genotypes: Sequence[Genotype]) -> GenotypeArray:
    """The array of genotypes.

    Raises:
        InvalidInput: a genotype does not belong to the space; says why.
    """
    rows = [_encode(space, row, genotype) for row, genotype in enumerate(genotypes)]
    shape = (len(rows), space.blocks)
    repeats, channels, *by_block = (
        tuple(np.asarray(values, np.int64) for values in zip(*rows, strict=True))
        if rows
        else (np.zeros((0, *rest), np.int64) for rest in ((), (), (shape[1], 4), *[shape[1:]] * 4))
    )
    return GenotypeArray(space, repeats, channels, *by_block)


def _encode(space: Space, row: int, genotype: Genotype) -> tuple[object, ...]:
    """One genotype as the entries of the arrays, in their order."""
    expected = (space.blocks, space.sdo, space.cell_residual)
    got = (len(genotype.blocks), genotype.sdo, genotype.cell_residual)
    if got != expected:
        raise InvalidInput(
            f"genotype {row} has (blocks, sdo, cell_residual) = {got}, space {space.name!r} has "
            f"{expected}"
        )

    def index(table: Sequence[object], value: object, what: str) -> int:
        if value not in table:
            raise InvalidInput(
                f"genotype {row} has {what} {value!r}, space {space.name!r} offers {tuple(table)}"
            )
        return table.index(value)

    expansions: Sequence[int | None] = space.expansions or (None,)
    blocks = genotype.blocks
    return (
        genotype.repeats,
        index(space.channels, genotype.channels, "channels"),
        [(*b.inputs, *[NO_INPUT] * (MOST_INPUTS - len(b.inputs))) for b in blocks],
        [block.level for block in blocks],
        [index(expansions, block.expansion, "expansion") for block in blocks],
        [index(space.kernels, block.kernel, "kernel") for block in blocks],
        [index(space.merges, block.merge, "merge") for block in blocks],
    )


def random_genotypes(
    space: Space, rng: np.random.Generator, count: int, repeats: int | Sequence[int]
) -> GenotypeArray:
    """Genotypes whose every decision is drawn uniformly, as :func:`~.space.sample` does one.

    Args:
        rng: its state decides the draw.
        repeats: number of cells; of several, each genotype draws one.
    """
    by_block = (count, space.blocks)

    def drawn(table: Sequence[object], size: int | tuple[int, ...]) -> Integers:
        return rng.integers(max(1, len(table)), size=size, dtype=np.int8)

    levels = rng.integers(MIN_LEVEL, LEVELS[-1] + 1, size=by_block, dtype=np.int8)
    outputs = np.tile(np.asarray(LEVELS, np.int8), (count, 1))
    levels[:, space.internal_blocks :] = rng.permuted(outputs, axis=1)
    return GenotypeArray(
        space,
        repeats=rng.choice(np.atleast_1d(np.asarray(repeats, np.int16)), size=count),
        channels=drawn(space.channels, count),
        inputs=_random_inputs(space, rng, count),
        levels=levels,
        expansions=drawn(space.expansions, by_block),
        kernels=drawn(space.kernels, by_block),
        merges=drawn(space.merges, by_block),
    )


def _random_inputs(space: Space, rng: np.random.Generator, count: int) -> Integers:
    """Distinct inputs of every block, drawn one after the other among those that are left."""
    inputs = np.full((count, space.blocks, MOST_INPUTS), NO_INPUT, np.int8)
    for block in range(space.blocks):
        candidates = len(LEVELS) + block
        taken = np.empty((0, count), np.int8)  # ascending
        for slot in range(max(space.in_degrees)):
            drawn = rng.integers(candidates - slot, size=count, dtype=np.int8)
            for earlier in taken:
                drawn += drawn >= earlier
            inputs[:, block, slot] = drawn
            taken = np.sort(np.vstack([taken, drawn]), axis=0)
    degrees = rng.choice(np.asarray(space.in_degrees), size=(count, space.blocks))
    inputs[np.arange(MOST_INPUTS) >= degrees[..., None]] = NO_INPUT
    return inputs
