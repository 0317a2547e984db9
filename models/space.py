"""Spaces as values (paper Table 2): what may differ between genotypes, and as decisions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from ..errors import InvalidInput
from .decisions import Choices, Decision, Decisions, Option
from .genotype import LEVELS, Genotype, Merge

CHANNELS = (16, 32, 48, 64, 80, 96)
EXPANSIONS = (16, 32, 64, 96, 128, 256, 512)
KERNELS = (3, 5, 7)
INTERNAL_BLOCKS = 5


class _Field(NamedTuple):
    """One value of a genotype, as a decision that names others instead of giving their positions.

    A field of one option is no decision.
    """

    name: str
    options: tuple[Option, ...]
    distinct_from: tuple[str, ...] = ()
    needs: tuple[str, int] | None = None


@dataclass(frozen=True)
class Space:
    """Everything that may differ between the genotypes of one search.

    Args:
        name: as the command line spells it.
        channels: choices of C, one for the whole cell.
        kernels, merges: choices of each block.
        expansions: choices of F, each block for itself; empty where F = C.
        in_degrees: how many distinct inputs a block may take.
        internal_blocks: blocks of any level before the four output blocks.
        sdo, cell_residual: the same for every genotype of the space.

    Raises:
        InvalidInput: nothing to choose from; more inputs than the first block has features; the
            squeeze-excite merge for blocks of more than two inputs.
    """

    name: str
    channels: tuple[int, ...] = CHANNELS
    kernels: tuple[int, ...] = KERNELS
    expansions: tuple[int, ...] = EXPANSIONS
    in_degrees: tuple[int, ...] = (2,)
    merges: tuple[Merge, ...] = ("add", "se")
    internal_blocks: int = INTERNAL_BLOCKS
    sdo: bool = True
    cell_residual: bool = True

    def __post_init__(self) -> None:
        for field in ("channels", "kernels", "in_degrees", "merges"):
            if not getattr(self, field):
                raise InvalidInput(f"space {self.name!r} needs at least one choice of {field}")
        if self.internal_blocks < 0:
            raise InvalidInput(
                f"space {self.name!r} needs 0 or more internal blocks, got {self.internal_blocks}"
            )
        if "se" in self.merges and set(self.in_degrees) != {2}:
            raise InvalidInput(
                f"space {self.name!r}: merge 'se' takes 2 inputs, but the in-degrees are "
                f"{self.in_degrees}"
            )
        if not 2 <= min(self.in_degrees) <= max(self.in_degrees) <= len(LEVELS):
            raise InvalidInput(
                f"space {self.name!r}: in-degrees must be 2 to {len(LEVELS)}, got {self.in_degrees}"
            )

    @property
    def blocks(self) -> int:
        """Blocks of a cell, output blocks included."""
        return self.internal_blocks + len(LEVELS)

    @cached_property
    def decisions(self) -> Decisions:
        """What is to be decided, in order: every field with a choice in it."""
        sequence: list[Decision] = []
        position: dict[str, int] = {}
        for name, options, distinct_from, needs in self._fields():
            if len(options) < 2:
                continue
            taken = tuple(position[other] for other in distinct_from)
            needed = None if needs is None else (position[needs[0]], needs[1])
            sequence.append(Decision(name, options, taken, needed))
            position[name] = len(position)
        return Decisions(tuple(sequence))

    def _fields(self) -> Iterator[_Field]:
        """Inputs are drawn without replacement, output levels are a permutation, and a third or
        fourth input is chosen only by a block that has one."""
        degrees = tuple(sorted(self.in_degrees))
        yield _Field("channels", self.channels)
        for index in range(self.blocks):
            block = f"block{index}"
            yield _Field(f"{block}/degree", degrees)
            inputs = tuple(f"{block}/input{slot}" for slot in range(degrees[-1]))
            for slot, name in enumerate(inputs):
                least = next(i for i, degree in enumerate(degrees) if degree > slot)
                needs = (f"{block}/degree", least) if least else None
                yield _Field(name, tuple(range(len(LEVELS) + index)), inputs[:slot], needs)
            outputs = tuple(f"block{i}/level" for i in range(self.internal_blocks, index))
            yield _Field(f"{block}/level", LEVELS, outputs)
            yield _Field(f"{block}/expansion", self.expansions or (None,))
            yield _Field(f"{block}/kernel", self.kernels)
            yield _Field(f"{block}/merge", self.merges)

    def encode(self, genotype: Genotype) -> Choices:
        """The choices that make this genotype; its repeats are none of them.

        The inverse for many at once is :func:`~.genotype_array.from_choices`.

        Raises:
            InvalidInput: the genotype is not in this space; the message names what is not.
        """
        self._check_structure(genotype)
        values = _values(genotype)
        for name, options, distinct_from, _ in self._fields():
            if name not in values:
                continue
            if values[name] not in options:
                raise self._not_here(
                    f"its {name} is {values[name]!r}, which is none of {list(options)}"
                )
            for other in distinct_from:
                if values[name] == values[other]:
                    raise self._not_here(f"its {name} is {values[name]!r}, as {other} is")
        return tuple(
            decision.options.index(values[decision.name]) if decision.name in values else 0
            for decision in self.decisions
        )

    def _check_structure(self, genotype: Genotype) -> None:
        structure = {
            "blocks": (self.blocks, len(genotype.blocks)),
            "sdo": (self.sdo, genotype.sdo),
            "cell_residual": (self.cell_residual, genotype.cell_residual),
        }
        for what, (ours, theirs) in structure.items():
            if ours != theirs:
                raise self._not_here(f"{what} is {theirs}, the space has {ours}")

    def _not_here(self, why: str) -> InvalidInput:
        return InvalidInput(f"the cell is not in space {self.name!r}: {why}")


def _values(genotype: Genotype) -> dict[str, Option]:
    """Fields' names -> a genotype's values; inputs that a block does not have are left out."""
    values: dict[str, Option] = {"channels": genotype.channels}
    for i, block in enumerate(genotype.blocks):
        values[f"block{i}/degree"] = len(block.inputs)
        values |= {f"block{i}/input{slot}": source for slot, source in enumerate(block.inputs)}
        values[f"block{i}/level"] = block.level
        values[f"block{i}/expansion"] = block.expansion
        values[f"block{i}/kernel"] = block.kernel
        values[f"block{i}/merge"] = block.merge
    return values


MNASFPN = Space("mnasfpn")
NO_EXPAND = Space("no-expand", expansions=())
CONN_SEARCH = Space("conn-search", in_degrees=(2, 3, 4), merges=("add",))
#: By name, the spaces whose genotypes are cells of MnasFPN.
MNASFPN_SPACES = {space.name: space for space in (MNASFPN, NO_EXPAND, CONN_SEARCH)}
