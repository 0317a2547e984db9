"""The four spaces of the paper: their size, and genotypes to choices and back."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnasfpn.errors import InvalidInput
from mnasfpn.models.genotype import LEVELS, Block, Genotype
from mnasfpn.models.heads.nasfpn import NasFpn, Node
from mnasfpn.models.space import MNASFPN, Space, sample
from mnasfpn.search.decisions import Decisions
from mnasfpn.search.search_space import PAPER_CARDINALITY, SPACES, SearchSpace, search_space

BLOCKS = 9


def pairs(blocks: int = BLOCKS) -> int:
    return math.prod(n * (n - 1) for n in range(4, 4 + blocks))


BASE = pairs() * 2**BLOCKS * 4**5 * math.factorial(4)
CONNECTIONS = math.prod(sum(math.perm(n, k) for k in (2, 3, 4)) for n in range(4, 4 + BLOCKS))


@pytest.mark.parametrize("name", ["nas-fpnlite-s", "no-expand"])
def test_cardinality_of_the_first_two_spaces_is_the_papers(name: str) -> None:
    digits = 0 if name == "nas-fpnlite-s" else 1  # as printed in Table 2
    assert (
        f"{search_space(name).cardinality():.{digits}e}" == f"{PAPER_CARDINALITY[name]:.{digits}e}"
    )


@pytest.mark.parametrize(
    ("name", "m", "formula", "printed"),
    [
        ("nas-fpnlite-s", None, BASE, "2.005e+22"),
        ("no-expand", None, BASE * 3**9 * 6, "2.368e+27"),
        ("mnasfpn", None, BASE * 3**9 * 6 * 7**9, "9.555e+34"),
        ("mnasfpn", 5, BASE * 3**9 * 6 * 7**5, "3.979e+31"),
        ("conn-search", None, CONNECTIONS * 4**5 * 24 * 3**9 * 6 * 7**9, "4.107e+45"),
        ("conn-search", 5, CONNECTIONS * 4**5 * 24 * 3**9 * 6 * 7**5, "1.711e+42"),
    ],
)
def test_cardinality_is_the_formula(name: str, m: int | None, formula: int, printed: str) -> None:
    assert search_space(name).cardinality(m) == formula
    assert f"{formula:.3e}" == printed


def test_the_start_of_a_space_enumerated_equals_its_formula() -> None:
    space = Space(
        "tiny", channels=(16, 32), kernels=(3, 5), expansions=(), merges=("add",), internal_blocks=1
    )
    whole = SearchSpace(space).decisions
    names = [decision.name for decision in whole]
    block1 = Decisions(whole.sequence[: names.index("block1/level") + 1])
    # channels x (pairs of 4, level, kernel) x (pairs of 5, first output level)
    assert block1.cardinality() == 2 * (12 * 4 * 2) * (20 * 4)
    assert sum(1 for _ in block1.enumerate()) == block1.cardinality()


@pytest.mark.parametrize("name", SPACES)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_choices_decode_and_encode_to_themselves(name: str, seed: int) -> None:
    space = search_space(name, repeats=2)
    (choices,) = space.decisions.sample(np.random.default_rng(seed), 1)
    cell = space.decode(choices)
    assert space.encode(cell) == choices
    assert cell.repeats == 2
    assert isinstance(cell, NasFpn if name == "nas-fpnlite-s" else Genotype)


@pytest.mark.parametrize("name", ["no-expand", "mnasfpn", "conn-search"])
def test_genotypes_of_the_uniform_sampler_encode_and_decode_to_themselves(name: str) -> None:
    space = search_space(name, repeats=4)
    rng = np.random.default_rng(3)
    for _ in range(50):
        genotype = sample(space.space, rng, repeats=4)
        assert space.decode(space.encode(genotype)) == genotype


def test_what_a_cell_may_choose_is_the_tables_of_the_paper() -> None:
    space = search_space("mnasfpn")
    options = {decision.name: decision.options for decision in space.decisions}
    assert len(options) == 1 + BLOCKS * 6
    assert options["channels"] == (16, 32, 48, 64, 80, 96)
    assert options["block0/input1"] == (0, 1, 2, 3)
    assert options["block8/input0"] == tuple(range(12))
    assert options["block4/expansion"] == (16, 32, 64, 96, 128, 256, 512)
    assert options["block8/merge"] == ("add", "se")
    fixed = {decision.name for decision in search_space("nas-fpnlite-s").decisions}
    assert not {name for name in fixed if name.endswith(("channels", "kernel", "expansion"))}


GENOTYPE = sample(MNASFPN, np.random.default_rng(0), 3)


@pytest.mark.parametrize(
    ("genotype", "message"),
    [
        (Genotype(40, 3, GENOTYPE.blocks), r"its channels is 40, which is none of \[16, 32"),
        (
            Genotype(48, 3, tuple(Block((0, 3), level, 32) for level in LEVELS)),
            "blocks is 4, the space has 9",
        ),
        (Genotype(48, 3, GENOTYPE.blocks, sdo=False), "sdo is False, the space has True"),
        (
            Genotype(48, 3, (Block((0, 1, 2), 3), *GENOTYPE.blocks[1:])),
            r"its block0/degree is 3, which is none of \[2\]",
        ),
        (
            Genotype(48, 3, (Block((0, 1), 3, expansion=32, kernel=9), *GENOTYPE.blocks[1:])),
            "its block0/kernel is 9",
        ),
        (Genotype(48, 3, (Block((1, 1), 3, 32), *GENOTYPE.blocks[1:])), "'block0/input1' may"),
    ],
    ids=["channels", "blocks", "sdo", "degree", "kernel", "twice"],
)
def test_a_genotype_outside_the_space_is_named(genotype: Genotype, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        search_space("mnasfpn").encode(genotype)


def test_a_cell_of_the_other_head_is_refused() -> None:
    cell = NasFpn(64, 3, tuple(Node((0, 1), level) for level in LEVELS))
    with pytest.raises(InvalidInput, match="holds mnasfpn cells, got a NasFpn"):
        search_space("mnasfpn").encode(cell)


def test_unknown_space() -> None:
    with pytest.raises(InvalidInput, match="space is called 'mnas'; known: nas-fpnlite-s"):
        search_space("mnas")


@pytest.mark.parametrize(
    ("space", "head", "message"),
    [
        (Space("x", in_degrees=(2, 3)), "mnasfpn", "'se' takes 2 inputs"),
        (Space("x", in_degrees=(2, 5), merges=("add",)), "mnasfpn", "must be 2 to 4"),
        (Space("x"), "nasfpn", "a NAS-FPN cell has kernel 3"),
    ],
)
def test_impossible_spaces_are_refused(space: Space, head: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        SearchSpace(space, head=head)
