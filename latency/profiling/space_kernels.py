"""Every kernel variant that a space needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ...models.genotype import LEVELS, Block, Genotype
from ...models.space import Space
from ..kernels.execution import execution_plan
from ..kernels.kernel import Kernel
from ..kernels.runtimes import XNNPACK, Runtime
from .head_graph import INPUT_SIZE, MOBILENET_V2_CHANNELS, unpruned_head


def space_kernels(
    space: Space,
    channels: tuple[int, int, int] = MOBILENET_V2_CHANNELS,
    input_size: int = INPUT_SIZE,
    runtime: Runtime = XNNPACK,
) -> tuple[Kernel, ...]:
    """Every kernel that any genotype of a space can be made of, each once, sorted by signature."""
    heads = (unpruned_head(genotype, channels, input_size) for genotype in covering(space))
    return distinct(kernel for head in heads for kernel in execution_plan(head, runtime).kernels)


def distinct(kernels: Iterable[Kernel]) -> tuple[Kernel, ...]:
    """Each kernel once, sorted by signature."""
    return tuple(sorted(set(kernels), key=lambda kernel: kernel.signature))


def covering(space: Space) -> Iterator[Genotype]:
    """One huge cell for each C, repeated, which together make every decision of the space.

    Shapes follow from C, F, k, a block's level and its inputs' levels alone, so blocks that read
    the cell's inputs suffice. In the second cell those have C channels instead of the backbone's.
    """
    sources = [
        tuple(range(start, start + degree))
        for degree in space.in_degrees
        for start in range(len(LEVELS) - degree + 1)
    ]
    expansions: tuple[int | None, ...] = space.expansions or (None,)
    for channels in space.channels:
        variants = [
            (inputs, expansion, kernel, merge)
            for expansion in expansions
            for inputs in sources
            for kernel in (space.kernels if inputs == sources[0] else space.kernels[:1])
            for merge in space.merges
            if merge == "add" or len(inputs) == 2
        ]
        blocks = tuple(
            Block(inputs, level, expansion, kernel, merge)
            for inputs, expansion, kernel, merge in variants
            for level in LEVELS  # the last four are the outputs
        )
        yield Genotype(channels, 2, blocks, space.sdo, space.cell_residual)
