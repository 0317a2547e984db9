"""The four search spaces of the paper (Table 2) as decisions, decoded to genotypes and back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from ..errors import InvalidInput
from ..models.genotype import LEVELS, Block, Genotype
from ..models.heads.cell import Cell
from ..models.heads.nasfpn import NasFpn, Node
from ..models.space import CONN_SEARCH, MNASFPN, NO_EXPAND, Space
from .decisions import Choices, Decision, Decisions, Option

CellKind = Literal["mnasfpn", "nasfpn"]

# Paper Table 2, first row: F = C, no size-dependent ordering, no residual around the cell; instead
# NAS-FPN's rule that outputs take in the features that nothing has consumed.
NAS_FPNLITE_S = Space(
    "nas-fpnlite-s", channels=(64,), kernels=(3,), expansions=(), sdo=False, cell_residual=False
)

SPACES: dict[str, tuple[Space, CellKind]] = {
    "nas-fpnlite-s": (NAS_FPNLITE_S, "nasfpn"),
    "no-expand": (NO_EXPAND, "mnasfpn"),
    "mnasfpn": (MNASFPN, "mnasfpn"),
    "conn-search": (CONN_SEARCH, "mnasfpn"),
}

# The paper's Table 2 prints these sizes.
PAPER_CARDINALITY = {
    "nas-fpnlite-s": 2e22,
    "no-expand": 2.4e27,
    "mnasfpn": 1e31,
    "conn-search": 3e42,
}
CARDINALITY_NOTE = (
    "With an expansion F for each of the 9 blocks, as the published cell has, the last two spaces "
    "hold 9.6e34 and 4.1e45 cells. The paper prints 1e31 and 3e42 and so must have counted fewer "
    "expansions; with 5 (one for each internal block) they are 4.0e31 and 1.7e42. No single count "
    "gives both of its figures."
)


def search_space(name: str, repeats: int = 3) -> SearchSpace:
    """A space of the paper by name.

    Raises:
        InvalidInput: no space is called so.
    """
    try:
        return SearchSpace(SPACES[name][0], repeats, SPACES[name][1])
    except KeyError:
        raise InvalidInput(
            f"no search space is called {name!r}; known: {', '.join(SPACES)}"
        ) from None


@dataclass(frozen=True)
class SearchSpace:
    """A Space as a sequence of decisions.

    Args:
        space: tables of what may be chosen. Tables with one entry are no decision.
        repeats: cells of every head while searching; no decision in the paper either.
        head: what the choices describe: a MnasFPN genotype, or a NAS-FPN cell.

    Raises:
        InvalidInput: the space offers the squeeze-excite merge to blocks of more than two inputs,
            more inputs than the first block has features to choose from, or to a NAS-FPN cell what
            only a MnasFPN cell has.
    """

    space: Space
    repeats: int = 3
    head: CellKind = "mnasfpn"

    def __post_init__(self) -> None:
        if "se" in self.space.merges and set(self.space.in_degrees) != {2}:
            raise InvalidInput(
                f"space {self.space.name!r}: merge 'se' takes 2 inputs, but the in-degrees are "
                f"{self.space.in_degrees}"
            )
        if not 2 <= min(self.space.in_degrees) <= max(self.space.in_degrees) <= len(LEVELS):
            raise InvalidInput(
                f"space {self.space.name!r}: in-degrees must be 2 to {len(LEVELS)}, "
                f"got {self.space.in_degrees}"
            )
        plain = ((3,), (), (2,), False, False)
        space = self.space
        got = (space.kernels, space.expansions, space.in_degrees, space.sdo, space.cell_residual)
        if self.head == "nasfpn" and got != plain:
            raise InvalidInput(
                f"space {space.name!r}: a NAS-FPN cell has kernel 3, two inputs, no expansion, no "
                "size-dependent ordering and no cell residual"
            )

    @cached_property
    def tables(self) -> dict[str, tuple[Option, ...]]:
        """Name of each value of a cell -> what it may be, in the order of decision."""
        space, degrees = self.space, tuple(sorted(self.space.in_degrees))
        tables: dict[str, tuple[Option, ...]] = {"channels": space.channels}
        for block in range(space.blocks):
            tables[f"block{block}/degree"] = degrees
            for slot in range(degrees[-1]):
                tables[f"block{block}/input{slot}"] = tuple(range(len(LEVELS) + block))
            tables[f"block{block}/level"] = LEVELS
            tables[f"block{block}/expansion"] = space.expansions or (None,)
            tables[f"block{block}/kernel"] = space.kernels
            tables[f"block{block}/merge"] = space.merges
        return tables

    @cached_property
    def decisions(self) -> Decisions:
        """What a controller decides: every table with a choice in it, with its dependences."""
        sequence: list[Decision] = []
        position: dict[str, int] = {}
        for name, options in self.tables.items():
            if len(options) < 2:
                continue
            taken = tuple(position[other] for other in self._distinct_from(name))
            sequence.append(Decision(name, options, taken, self._needs(name, position)))
            position[name] = len(sequence) - 1
        return Decisions(tuple(sequence))

    def _distinct_from(self, name: str) -> tuple[str, ...]:
        """Inputs are drawn without replacement; output levels are a permutation."""
        block, _, kind = name.rpartition("/")
        if kind.startswith("input"):
            return tuple(f"{block}/input{slot}" for slot in range(_number(kind)))
        if kind == "level":
            outputs = range(self.space.internal_blocks, _number(block))
            return tuple(f"block{other}/level" for other in outputs)
        return ()

    def _needs(self, name: str, position: dict[str, int]) -> tuple[int, int] | None:
        """A third or fourth input is chosen only by a block that has one."""
        block, _, kind = name.rpartition("/")
        degrees = self.tables.get(f"{block}/degree", ())
        if not kind.startswith("input") or _number(kind) < min(self.space.in_degrees):
            return None
        least = next(i for i, degree in enumerate(degrees) if int(degree or 0) > _number(kind))
        return position[f"{block}/degree"], least

    def decode(self, choices: Choices) -> Cell:
        """The cell that these choices describe.

        Raises:
            InvalidInput: they are no candidate of this space.
        """
        self.decisions.check(choices)
        values = {name: options[0] for name, options in self.tables.items()}
        for decision, choice in zip(self.decisions, choices, strict=True):
            values[decision.name] = decision.options[choice]
        blocks = tuple(_block(values, f"block{i}") for i in range(self.space.blocks))
        if self.head == "nasfpn":
            nodes = tuple(Node((b.inputs[0], b.inputs[1]), b.level, b.merge) for b in blocks)
            return NasFpn(_int(values["channels"]), self.repeats, nodes)
        return Genotype(
            channels=_int(values["channels"]),
            repeats=self.repeats,
            blocks=blocks,
            sdo=self.space.sdo,
            cell_residual=self.space.cell_residual,
        )

    def encode(self, cell: Cell) -> Choices:
        """The choices that decode to this cell (its repeats do not matter).

        Raises:
            InvalidInput: the cell is not in this space; the message names what is not.
        """
        if isinstance(cell, NasFpn) != (self.head == "nasfpn"):
            raise InvalidInput(
                f"space {self.space.name!r} holds {self.head} cells, got a {type(cell).__name__}"
            )
        genotype = _as_genotype(cell)
        self._check_structure(genotype)
        values = _values(genotype)
        for name, options in self.tables.items():
            if name in values and values[name] not in options:
                raise InvalidInput(
                    f"the cell is not in space {self.space.name!r}: its {name} is "
                    f"{values[name]!r}, which is none of {list(options)}"
                )
        choices = tuple(
            decision.options.index(values[decision.name]) if decision.name in values else 0
            for decision in self.decisions
        )
        self.decisions.check(choices)
        return choices

    def _check_structure(self, genotype: Genotype) -> None:
        structure = {
            "blocks": (self.space.blocks, len(genotype.blocks)),
            "sdo": (self.space.sdo, genotype.sdo),
            "cell_residual": (self.space.cell_residual, genotype.cell_residual),
        }
        for what, (ours, theirs) in structure.items():
            if ours != theirs:
                raise InvalidInput(
                    f"the cell is not in space {self.space.name!r}: {what} is {theirs}, "
                    f"the space has {ours}"
                )

    def cardinality(self, expansion_decisions: int | None = None) -> int:
        """How many cells the space holds.

        Args:
            expansion_decisions: count as if so many expansions were decided instead of one for
                each block (the paper's Table 2 must have counted fewer, see ``CARDINALITY_NOTE``).
        """
        exact = self.decisions.cardinality()
        if expansion_decisions is None or not self.space.expansions:
            return exact
        choices = len(self.space.expansions)
        return int(exact // choices**self.space.blocks * choices**expansion_decisions)


def _block(values: dict[str, Option], name: str) -> Block:
    degree = _int(values[f"{name}/degree"])
    merge = values[f"{name}/merge"]
    expansion = values[f"{name}/expansion"]
    return Block(
        inputs=tuple(_int(values[f"{name}/input{slot}"]) for slot in range(degree)),
        level=_int(values[f"{name}/level"]),
        expansion=None if expansion is None else _int(expansion),
        kernel=_int(values[f"{name}/kernel"]),
        merge="se" if merge == "se" else "add",
    )


def _as_genotype(cell: Cell) -> Genotype:
    """A NAS-FPN cell's nodes as blocks; its leftover rule has no place there and is understood."""
    if isinstance(cell, Genotype):
        return cell
    blocks = tuple(Block(node.inputs, node.level, merge=node.merge) for node in cell.nodes)
    return Genotype(cell.channels, cell.repeats, blocks, sdo=False, cell_residual=False)


def _values(genotype: Genotype) -> dict[str, Option]:
    """The tables' names -> a genotype's values; inputs that a block does not have are left out."""
    values: dict[str, Option] = {"channels": genotype.channels}
    for i, block in enumerate(genotype.blocks):
        values[f"block{i}/degree"] = len(block.inputs)
        values |= {f"block{i}/input{slot}": source for slot, source in enumerate(block.inputs)}
        values[f"block{i}/level"] = block.level
        values[f"block{i}/expansion"] = block.expansion
        values[f"block{i}/kernel"] = block.kernel
        values[f"block{i}/merge"] = block.merge
    return values


def _number(name: str) -> int:
    """``input3`` -> 3."""
    return int(name.lstrip("abcdefghijklmnopqrstuvwxyz"))


def _int(value: Option) -> int:
    assert isinstance(value, int)
    return value
