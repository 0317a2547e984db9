"""Random heads, to be measured whole: drawn uniformly, or graded by their work."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ...models.genotype import Genotype
from ...models.genotype_array import random_genotypes
from ...models.graph.costs import cost
from ...models.model_files import to_json
from ...models.space import Space
from .head_graph import head_graph

REPEATS = (3, 4, 5)  # of the cells along the paper's frontier
DIGEST = 8  # hexadecimal digits of a head's digest
DRAWN_PER_GRADED_HEAD = 4
LEAST_GRADED = 8  # fewer would be extremes with little in between


@dataclass(frozen=True, slots=True)
class DrawnHead:
    """A random head.

    Args:
        name: ``space/seed/index/digest``. The first three say how to draw it again; the digest of
            its JSON tells it from what another version, or another space of the same name, draws
            under the same numbers: what was measured of one is never taken for the other.
    """

    name: str
    genotype: Genotype


def random_heads(space: Space, count: int, seed: int) -> tuple[DrawnHead, ...]:
    """Heads drawn uniformly from a space, each with 3 to 5 cells."""
    return tuple(_drawn_head(space, seed, index) for index in range(count))


def _drawn_head(space: Space, seed: int, index: int) -> DrawnHead:
    (genotype,) = random_genotypes(space, np.random.default_rng((seed, index)), 1, REPEATS)
    digest = hashlib.sha256(to_json(genotype).encode()).hexdigest()[:DIGEST]
    return DrawnHead(f"{space.name}/{seed}/{index}/{digest}", genotype)


@lru_cache(maxsize=8)
def graded_heads(space: Space, count: int, seed: int) -> tuple[DrawnHead, ...]:
    """Of four times as many random heads, those whose work is spread most evenly.

    Few heads drawn at random are all of middling size, and say little about what differs between
    the fastest and the slowest: what is still in the caches when a kernel has its turn. Fewer than
    eight are drawn at random all the same.
    """
    if count < LEAST_GRADED:
        return random_heads(space, count, seed)
    drawn = random_heads(space, DRAWN_PER_GRADED_HEAD * count, seed)
    work = {head: math.log(cost(head_graph(head.genotype)).madds) for head in drawn}
    chosen: list[DrawnHead] = []
    for wanted in np.linspace(min(work.values()), max(work.values()), count):
        left = (head for head in drawn if head not in chosen)
        chosen.append(min(left, key=lambda head: abs(work[head] - float(wanted))))
    return tuple(sorted(chosen, key=drawn.index))
