"""One spelling for genotypes that describe the same network, so that none is trained twice."""

from __future__ import annotations

from dataclasses import replace

from ..models.genotype import LEVELS, Block, Genotype


def canonical(genotype: Genotype) -> Genotype:
    """The same cell without unused blocks, in one order of blocks and of added inputs.

    Two genotypes with the same canonical form are the same network. The opposite holds but for
    cells with twin blocks (equal inputs and attributes), whose order is not settled.
    """
    used = _used(genotype)
    first_output = len(LEVELS) + len(genotype.blocks) - len(LEVELS)
    renamed = {index: index for index in range(len(LEVELS))}
    blocks: list[Block] = []
    internal = [index for index in sorted(used) if index < first_output]
    outputs = [index for index in sorted(used) if index >= first_output]
    for waiting in (internal, outputs):
        while waiting:
            ready = {
                index: _rename(block, renamed)
                for index in waiting
                if set((block := _block(genotype, index)).inputs) <= set(renamed)
            }
            chosen = min(ready, key=lambda index: _order(ready[index]))
            renamed[chosen] = len(LEVELS) + len(blocks)
            blocks.append(ready[chosen])
            waiting.remove(chosen)
    return replace(genotype, blocks=tuple(blocks))


def _block(genotype: Genotype, index: int) -> Block:
    return genotype.blocks[index - len(LEVELS)]


def _used(genotype: Genotype) -> set[int]:
    """Feature indices of the blocks that reach an output of the cell."""
    used: set[int] = set()
    stack = list(genotype.outputs.values())
    while stack:
        index = stack.pop()
        if index not in used:
            used.add(index)
            sources = _block(genotype, index).inputs
            stack.extend(source for source in sources if source >= len(LEVELS))
    return used


def _rename(block: Block, renamed: dict[int, int]) -> Block:
    """New feature indices; a sum does not depend on the order of its inputs."""
    inputs = tuple(renamed[source] for source in block.inputs)
    return replace(block, inputs=tuple(sorted(inputs)) if block.merge == "add" else inputs)


def _order(block: Block) -> tuple[int, tuple[int, ...], int, int, str]:
    return (block.level, block.inputs, block.expansion or 0, block.kernel, block.merge)
