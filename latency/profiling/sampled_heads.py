"""Random heads, to be measured whole: drawn uniformly, as a user's are."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from ...models.genotype import Genotype
from ...models.genotype_array import random_genotypes
from ...models.model_files import to_json
from ...models.space import Space

REPEATS = (3, 4, 5)  # of the cells along the paper's frontier
DIGEST = 8  # hexadecimal digits of a head's digest


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
