"""Spaces: what may be chosen, genotypes to choices, and what no space can be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mnasfpn.errors import InvalidInput
from mnasfpn.models.decisions import Choices, Decisions
from mnasfpn.models.genotype import LEVELS, Block, Genotype
from mnasfpn.models.genotype_array import random_genotypes
from mnasfpn.models.space import MNASFPN, Space

(GENOTYPE,) = random_genotypes(MNASFPN, np.random.default_rng(0), 1, 3)


def test_what_a_genotype_may_choose_is_the_tables_of_the_paper() -> None:
    options = {decision.name: decision.options for decision in MNASFPN.decisions}
    assert len(options) == 1 + MNASFPN.blocks * 6
    assert options["channels"] == (16, 32, 48, 64, 80, 96)
    assert options["block0/input1"] == (0, 1, 2, 3)
    assert options["block8/input0"] == tuple(range(12))
    assert options["block4/expansion"] == (16, 32, 64, 96, 128, 256, 512)
    assert options["block8/merge"] == ("add", "se")


def test_what_cannot_differ_is_no_decision() -> None:
    space = Space("fixed", channels=(64,), kernels=(3,), expansions=(), merges=("add",))
    kinds = {decision.name.rpartition("/")[2] for decision in space.decisions}
    assert kinds == {"input0", "input1", "level"}


def beginning(space: Space, last: str) -> Decisions:
    """The decisions of a space up to one of them."""
    names = [decision.name for decision in space.decisions]
    return Decisions(space.decisions.sequence[: names.index(last) + 1])


def test_the_start_of_a_space_enumerated_equals_its_formula() -> None:
    space = Space("tiny", (16, 32), (3, 5), (), merges=("add",), internal_blocks=1)
    start = beginning(space, "block1/level")
    # channels x (pairs of 4, level, kernel) x (pairs of 5, first output level)
    assert start.cardinality() == 2 * (12 * 4 * 2) * (20 * 4)
    assert sum(1 for _ in start.enumerate()) == start.cardinality()


def chance(decisions: Decisions, choices: Choices) -> float:
    """Of a candidate whose every decision is uniform over what it may choose."""
    allowed = decisions.masks(np.array([choices]))[0].sum(axis=1)
    return float(1 / np.prod(allowed))


@pytest.mark.parametrize(
    ("space", "last"),
    [
        (Space("inputs", (8, 16), in_degrees=(2, 4), merges=("add",)), "block0/level"),
        (Space("outputs", (8,), (3,), (), merges=("add",), internal_blocks=0), "block1/level"),
    ],
    ids=lambda value: value.name if isinstance(value, Space) else value,
)
def test_draws_are_uniform_over_all_that_a_small_space_holds(space: Space, last: str) -> None:
    """Chi-square of every candidate's count: in-degree, distinct inputs, levels used once."""
    from scipy.stats import chisquare

    decisions = beginning(space, last)
    expected = {choices: chance(decisions, choices) for choices in decisions.enumerate()}
    assert sum(expected.values()) == pytest.approx(1)
    count = round(8 / min(expected.values()))
    drawn, seen = np.unique(
        decisions.sample(np.random.default_rng(2), count), axis=0, return_counts=True
    )
    counts = dict.fromkeys(expected, 0)
    counts |= dict(zip(map(tuple, drawn.tolist()), seen.tolist(), strict=True))
    assert len(counts) == len(expected)
    test = chisquare(list(counts.values()), [count * chance for chance in expected.values()])
    assert test.pvalue > 1e-3


@pytest.mark.parametrize(
    ("genotype", "message"),
    [
        (replace(GENOTYPE, channels=40), r"its channels is 40, which is none of \[16, 32"),
        (
            Genotype(48, 3, tuple(Block((0, 3), level, 32) for level in LEVELS)),
            "'mnasfpn': blocks is 4, the space has 9",
        ),
        (replace(GENOTYPE, sdo=False), "sdo is False, the space has True"),
        (
            replace(GENOTYPE, blocks=(Block((0, 1, 2), 3), *GENOTYPE.blocks[1:])),
            r"its block0/degree is 3, which is none of \[2\]",
        ),
        (
            replace(GENOTYPE, blocks=(Block((0, 1), 3, 32, kernel=9), *GENOTYPE.blocks[1:])),
            r"its block0/kernel is 9, which is none of \[3, 5, 7\]",
        ),
        (
            replace(GENOTYPE, blocks=(Block((1, 1), 3, 32), *GENOTYPE.blocks[1:])),
            "its block0/input1 is 1, as block0/input0 is",
        ),
    ],
    ids=["channels", "blocks", "sdo", "degree", "kernel", "twice"],
)
def test_a_genotype_outside_the_space_is_named(genotype: Genotype, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        MNASFPN.encode(genotype)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kernels": ()}, "at least one choice of kernels"),
        ({"internal_blocks": -1}, "internal blocks"),
        ({"in_degrees": (2, 3)}, "'se' takes 2 inputs"),
        ({"in_degrees": (2, 5), "merges": ("add",)}, "must be 2 to 4"),
    ],
)
def test_impossible_spaces_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Space("x", **settings)
