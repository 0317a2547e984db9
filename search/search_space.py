"""The four search spaces of the paper (Table 2), from choices to cells and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..errors import InvalidInput
from ..models.decisions import Choices, Decisions, as_choices
from ..models.genotype import Block, Genotype
from ..models.genotype_array import from_choices
from ..models.heads.cell import Cell
from ..models.heads.nasfpn import NasFpn, Node
from ..models.space import CONN_SEARCH, MNASFPN, NO_EXPAND, Space

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
    """What is searched: a space, and what its genotypes stand for.

    Args:
        space: what may be chosen.
        repeats: cells of every head while searching; no decision in the paper either.
        head: what the choices describe: a MnasFPN genotype, or a NAS-FPN cell.

    Raises:
        InvalidInput: the space offers to a NAS-FPN cell what only a MnasFPN cell has.
    """

    space: Space
    repeats: int = 3
    head: CellKind = "mnasfpn"

    def __post_init__(self) -> None:
        plain = ((3,), (), (2,), False, False)
        space = self.space
        got = (space.kernels, space.expansions, space.in_degrees, space.sdo, space.cell_residual)
        if self.head == "nasfpn" and got != plain:
            raise InvalidInput(
                f"space {space.name!r}: a NAS-FPN cell has kernel 3, two inputs, no expansion, no "
                "size-dependent ordering and no cell residual"
            )

    @property
    def decisions(self) -> Decisions:
        """What a controller decides."""
        return self.space.decisions

    def decode(self, choices: Choices) -> Cell:
        """The cell that these choices describe.

        Raises:
            InvalidInput: they are no candidate of this space.
        """
        self.decisions.check(choices)
        (genotype,) = from_choices(self.space, np.asarray([choices]), self.repeats)
        return _as_nasfpn(genotype) if self.head == "nasfpn" else genotype

    def sample(self, rng: np.random.Generator, count: int) -> list[Cell]:
        """Cells whose every decision is drawn uniformly."""
        return [self.decode(choices) for choices in as_choices(self.decisions.sample(rng, count))]

    def encode(self, cell: Cell) -> Choices:
        """The choices that decode to this cell (its repeats do not matter).

        Raises:
            InvalidInput: the cell is not in this space; the message names what is not.
        """
        if isinstance(cell, NasFpn) != (self.head == "nasfpn"):
            raise InvalidInput(
                f"space {self.space.name!r} holds {self.head} cells, got a {type(cell).__name__}"
            )
        return self.space.encode(_as_genotype(cell))

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


def _as_nasfpn(genotype: Genotype) -> NasFpn:
    nodes = tuple(Node((b.inputs[0], b.inputs[1]), b.level, b.merge) for b in genotype.blocks)
    return NasFpn(genotype.channels, genotype.repeats, nodes)


def _as_genotype(cell: Cell) -> Genotype:
    """A NAS-FPN cell's nodes as blocks; its leftover rule has no place there and is understood."""
    if isinstance(cell, Genotype):
        return cell
    blocks = tuple(Block(node.inputs, node.level, merge=node.merge) for node in cell.nodes)
    return Genotype(cell.channels, cell.repeats, blocks, sdo=False, cell_residual=False)
