"""The four spaces of the paper: their size, and cells to choices and back."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnasfpn.errors import InvalidInput
from mnasfpn.models.decisions import as_choices
from mnasfpn.models.genotype import LEVELS, Genotype
from mnasfpn.models.heads.nasfpn import NasFpn, Node
from mnasfpn.models.space import Space
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


@pytest.mark.parametrize("name", SPACES)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_choices_decode_and_encode_to_themselves(name: str, seed: int) -> None:
    space = search_space(name, repeats=2)
    (choices,) = as_choices(space.decisions.sample(np.random.default_rng(seed), 1))
    cell = space.decode(choices)
    assert space.encode(cell) == choices
    assert cell.repeats == 2
    assert isinstance(cell, NasFpn if name == "nas-fpnlite-s" else Genotype)


def test_a_nas_fpn_cell_decides_connections_levels_and_merges_alone() -> None:
    fixed = {decision.name for decision in search_space("nas-fpnlite-s").decisions}
    assert not {name for name in fixed if name.endswith(("channels", "kernel", "expansion"))}


def test_a_cell_of_the_other_head_is_refused() -> None:
    cell = NasFpn(64, 3, tuple(Node((0, 1), level) for level in LEVELS))
    with pytest.raises(InvalidInput, match="holds mnasfpn cells, got a NasFpn"):
        search_space("mnasfpn").encode(cell)


def test_unknown_space() -> None:
    with pytest.raises(InvalidInput, match="space is called 'mnas'; known: nas-fpnlite-s"):
        search_space("mnas")


def test_a_space_with_more_than_a_nas_fpn_cell_has_is_refused() -> None:
    with pytest.raises(InvalidInput, match="a NAS-FPN cell has kernel 3"):
        SearchSpace(Space("x"), head="nasfpn")
