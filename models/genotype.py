"""Genotype: a MnasFPN cell as a value (paper section 3.1, Figure 2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from ..errors import InvalidGraph

MIN_LEVEL, MAX_LEVEL = 3, 6
LEVELS = tuple(range(MIN_LEVEL, MAX_LEVEL + 1))

Merge = Literal["add", "se"]


@dataclass(frozen=True, slots=True)
class Block:
    """One block of a cell: resample and expand its inputs to F channels, merge, separable conv.

    Args:
        inputs: two to four feature indices: 0..3 are the cell's inputs C3..C6, 4, 5, ... the blocks
            before this one in order.
        level: resolution of the result, 3..6 (stride 2^level).
        expansion: F, the channels between the 1x1 convolutions; None for F = C (No-Expand space).
        kernel: of the depthwise convolution, odd.
        merge: ``add``, or ``se`` (the coarser input's squeezed sigmoid gates the other one, then
            both are added; two inputs only).
    """

    inputs: tuple[int, ...]
    level: int
    expansion: int | None = None
    kernel: int = 3
    merge: Merge = "add"

    def __post_init__(self) -> None:
        if not 2 <= len(self.inputs) <= 4:
            raise InvalidGraph(f"a block takes 2 to 4 inputs, got {list(self.inputs)}")
        if self.level not in LEVELS:
            raise InvalidGraph(
                f"level {self.level} cannot be reached; the pyramid has levels {LEVELS}"
            )
        if self.expansion is not None and self.expansion < 1:
            raise InvalidGraph(f"expansion F must be at least 1, got {self.expansion}")
        if self.kernel < 1 or self.kernel % 2 == 0:
            raise InvalidGraph(f"the depthwise kernel must be odd and positive, got {self.kernel}")
        if self.merge not in get_args(Merge):
            raise InvalidGraph(f"merge must be 'add' or 'se', got {self.merge!r}")
        if self.merge == "se" and len(self.inputs) != 2:
            raise InvalidGraph(f"merge 'se' takes exactly 2 inputs, got {len(self.inputs)}")


@dataclass(frozen=True, slots=True)
class Genotype:
    """A cell and how often it is repeated.

    The last four blocks are the cell's outputs, one for each level 3..6 in any order.

    Args:
        channels: C of every cell input, output and generated feature.
        repeats: number of cells.
        blocks: internal blocks, then the four output blocks.
        sdo: size-dependent ordering: down-sample before the 1x1 convolution (paper section 3.2).
        cell_residual: add each cell input to the output of its level where shapes agree.

    Raises:
        InvalidGraph: a block takes itself, a later block, or a feature that does not exist; an
            output level is missing; a size is out of range.
    """

    channels: int
    repeats: int
    blocks: tuple[Block, ...]
    sdo: bool = True
    cell_residual: bool = True

    def __post_init__(self) -> None:
        if self.channels < 1:
            raise InvalidGraph(f"channels C must be at least 1, got {self.channels}")
        if self.repeats < 1:
            raise InvalidGraph(f"repeats must be at least 1, got {self.repeats}")
        if len(self.blocks) < len(LEVELS):
            raise InvalidGraph(
                f"a cell needs at least {len(LEVELS)} blocks, one output for each level, "
                f"got {len(self.blocks)}"
            )
        for position, block in enumerate(self.blocks):
            index = position + len(LEVELS)
            for source in block.inputs:
                if not 0 <= source < index:
                    what = "itself" if source == index else "a feature that is not before it"
                    raise InvalidGraph(
                        f"block {index} takes {what} (input {source}); "
                        f"it may take features 0..{index - 1}"
                    )
        levels = sorted(block.level for block in self.blocks[-len(LEVELS) :])
        if levels != list(LEVELS):
            missing = sorted(set(LEVELS) - set(levels))
            raise InvalidGraph(
                f"the last {len(LEVELS)} blocks are the outputs and must have levels "
                f"{list(LEVELS)} once each; got {levels}, level {missing[0]} cannot be reached"
            )

    @property
    def levels(self) -> tuple[int, ...]:
        return LEVELS

    @property
    def outputs(self) -> dict[int, int]:
        """Level -> feature index of the block that makes the cell's output there."""
        first = len(self.blocks)  # four inputs come before the blocks, four outputs are the last
        return {
            block.level: first + position
            for position, block in enumerate(self.blocks[-len(LEVELS) :])
        }

    def expansion(self, block: Block) -> int:
        """F of a block: its own, or C in a space without expansion."""
        return self.channels if block.expansion is None else block.expansion
