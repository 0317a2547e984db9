"""Search spaces as values (paper Table 2), and a seeded uniform sampler of their genotypes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import InvalidInput
from .genotype import LEVELS, Block, Genotype, Merge

if TYPE_CHECKING:
    import numpy as np

CHANNELS = (16, 32, 48, 64, 80, 96)
EXPANSIONS = (16, 32, 64, 96, 128, 256, 512)
KERNELS = (3, 5, 7)
INTERNAL_BLOCKS = 5


@dataclass(frozen=True, slots=True)
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

    @property
    def blocks(self) -> int:
        """Blocks of a cell, output blocks included."""
        return self.internal_blocks + len(LEVELS)


MNASFPN = Space("mnasfpn")
NO_EXPAND = Space("no-expand", expansions=())
CONN_SEARCH = Space("conn-search", in_degrees=(2, 3, 4), merges=("add",))
#: By name, the spaces whose genotypes are cells of MnasFPN.
MNASFPN_SPACES = {space.name: space for space in (MNASFPN, NO_EXPAND, CONN_SEARCH)}


def sample(space: Space, rng: np.random.Generator, repeats: int) -> Genotype:
    """A genotype whose every decision is drawn uniformly and independently.

    Args:
        rng: its state decides the draw; seed it and store the seed.
        repeats: number of cells, no decision of the space.
    """
    channels = int(rng.choice(space.channels))
    internal = rng.choice(LEVELS, size=space.internal_blocks)
    outputs = rng.permutation(LEVELS)
    blocks = []
    for position, level in enumerate((*internal, *outputs)):
        degree = int(rng.choice(space.in_degrees))
        candidates = position + len(LEVELS)
        blocks.append(
            Block(
                inputs=tuple(int(i) for i in rng.permutation(candidates)[:degree]),
                level=int(level),
                expansion=int(rng.choice(space.expansions)) if space.expansions else None,
                kernel=int(rng.choice(space.kernels)),
                merge=space.merges[int(rng.integers(len(space.merges)))],
            )
        )
    return Genotype(
        channels=channels,
        repeats=repeats,
        blocks=tuple(blocks),
        sdo=space.sdo,
        cell_residual=space.cell_residual,
    )
