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
DRAWN_AT_ONCE = 16384  # genotypes; their choices then fit the caches


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


def from_choices(space: Space, choices: Integers, repeats: int | Integers) -> GenotypeArray:
    """The genotypes that choices of a space's decisions describe; :meth:`~.space.Space.encode` is
    the inverse for one.

    Args:
        choices: [n, decisions], candidates of ``space.decisions``.
        repeats: number of cells, one for all or [n].
    """
    count = len(choices)
    columns = np.ascontiguousarray(choices.T, np.min_scalar_type(-space.decisions.widest))
    chosen = {
        decision.name: column for decision, column in zip(space.decisions, columns, strict=True)
    }
    nothing = np.zeros(count, columns.dtype)  # to decide

    def of_blocks(field: str) -> Integers:
        every = (chosen.get(f"block{block}/{field}", nothing) for block in range(space.blocks))
        return np.stack(tuple(every), axis=1)

    degrees = np.sort(space.in_degrees)[of_blocks("degree")]
    inputs = np.stack([of_blocks(f"input{slot}") for slot in range(MOST_INPUTS)], axis=2)
    inputs[np.arange(MOST_INPUTS) >= degrees[..., None]] = NO_INPUT
    return GenotypeArray(
        space,
        repeats=np.full(count, repeats, np.int16),
        channels=chosen.get("channels", nothing),
        inputs=inputs,
        levels=of_blocks("level") + MIN_LEVEL,
        expansions=of_blocks("expansion"),
        kernels=of_blocks("kernel"),
        merges=of_blocks("merge"),
    )


def from_genotypes(space: Space, genotypes: Sequence[Genotype]) -> GenotypeArray:
    """The array of genotypes.

    Raises:
        InvalidInput: a genotype does not belong to the space; says which and why.
    """
    choices = np.empty((len(genotypes), len(space.decisions)), np.int16)
    for row, genotype in enumerate(genotypes):
        try:
            choices[row] = space.encode(genotype)
        except InvalidInput as error:
            raise InvalidInput(f"genotype {row} of {len(genotypes)}: {error}") from None
    return from_choices(space, choices, np.array([g.repeats for g in genotypes], np.int64))


def random_genotypes(
    space: Space, rng: np.random.Generator, count: int, repeats: int | Sequence[int]
) -> GenotypeArray:
    """Genotypes whose every decision is drawn uniformly, see :meth:`~.decisions.Decisions.sample`.

    Args:
        rng: its state decides the draw; seed it and store the seed.
        repeats: number of cells; of several, each genotype draws one.
    """
    choices = np.empty((count, len(space.decisions)), np.int16)
    for start in range(0, count, DRAWN_AT_ONCE):
        part = choices[start : start + DRAWN_AT_ONCE]
        part[:] = space.decisions.sample(rng, len(part))
    return from_choices(space, choices, rng.choice(np.atleast_1d(repeats), size=count))
