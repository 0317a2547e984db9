"""Genotypes as arrays and back, and the sampler that draws arrays of them."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnasfpn.errors import InvalidInput
from mnasfpn.models.decisions import Choices, as_choices
from mnasfpn.models.genotype import LEVELS, Genotype
from mnasfpn.models.genotype_array import (
    DRAWN_AT_ONCE,
    from_choices,
    from_genotypes,
    random_genotypes,
)
from mnasfpn.models.space import CONN_SEARCH, MNASFPN, NO_EXPAND, Space

SPACES = (
    MNASFPN,
    NO_EXPAND,
    CONN_SEARCH,
    Space("fixed", (64,), (3,), (), (3,), ("add",), internal_blocks=1, sdo=False),
)
BLOCK_CHOICES = ("expansion", "kernel", "merge")


def named(space: Space, choices: Choices) -> dict[str, object]:
    """Decision -> the value chosen; inputs that a block does not have are left out."""
    made = zip(space.decisions, choices, strict=True)
    values = {decision.name: decision.options[choice] for decision, choice in made}
    for block in range(space.blocks):
        for slot in range(values.get(f"block{block}/degree", space.in_degrees[0]), 4):
            values.pop(f"block{block}/input{slot}", None)
    return values


def values_of(space: Space, genotype: Genotype) -> dict[str, object]:
    """The same, read off a genotype."""
    values: dict[str, object] = {"channels": genotype.channels}
    for i, block in enumerate(genotype.blocks):
        values |= {f"block{i}/input{slot}": source for slot, source in enumerate(block.inputs)}
        values |= {f"block{i}/degree": len(block.inputs), f"block{i}/level": block.level}
        values |= {f"block{i}/{name}": getattr(block, name) for name in BLOCK_CHOICES}
    return {
        decision.name: values[decision.name]
        for decision in space.decisions
        if decision.name in values
    }


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 8))
@settings(max_examples=20, deadline=None)
def test_a_genotype_has_the_values_that_its_choices_name(space, seed, count):
    rows = space.decisions.sample(np.random.default_rng(seed), count)
    array = from_choices(space, rows, 3)
    assert len(array) == count
    for choices, genotype in zip(as_choices(rows), array, strict=True):
        assert values_of(space, genotype) == named(space, choices)
        assert (genotype.sdo, genotype.cell_residual) == (space.sdo, space.cell_residual)
        assert space.encode(genotype) == choices


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 8))
@settings(max_examples=20, deadline=None)
def test_arrays_survive_the_round_trip(space, seed, count):
    array = random_genotypes(space, np.random.default_rng(seed), count, (1, 3, 5))
    again = from_genotypes(space, list(array))
    for one, other in zip(array.arrays(), again.arrays(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_many_are_drawn_as_the_space_draws_them():
    """In parts, so that a million need no more memory than their arrays."""
    count = DRAWN_AT_ONCE + 3
    array = random_genotypes(MNASFPN, np.random.default_rng(5), count, 3)
    rng = np.random.default_rng(5)
    first, last = (MNASFPN.decisions.sample(rng, n) for n in (DRAWN_AT_ONCE, 3))
    assert list(array[-3:]) == list(from_choices(MNASFPN, last, 3))
    assert array.genotype(7) == from_choices(MNASFPN, first[7:8], 3).genotype(0)


def test_rows_and_seeds():
    array = random_genotypes(MNASFPN, np.random.default_rng(2), 20, 3)
    same = random_genotypes(MNASFPN, np.random.default_rng(2), 20, 3)
    assert list(array) == list(same)
    assert list(array[5:8]) == list(array)[5:8]
    assert array[array.channels == 2].genotype(0).channels == 48


def test_every_decision_is_uniform():
    """Counts of a tiny space's cells: all ordered pairs of inputs, all orders of output levels."""
    space = Space("tiny", (8, 16), (3,), (), internal_blocks=0)
    count = 24_000
    array = random_genotypes(space, np.random.default_rng(3), count, 1)
    second = Counter(map(tuple, array.inputs[:, 1, :2].tolist()))
    assert len(second) == 5 * 4
    assert set(array.inputs[:, 1, 2:].ravel()) == {-1}
    assert max(abs(n / count * 20 - 1) for n in second.values()) < 0.15
    orders = Counter(map(tuple, array.levels.tolist()))
    assert len(orders) == 24
    assert max(abs(n / count * 24 - 1) for n in orders.values()) < 0.15


def test_the_values_of_every_kind_are_drawn_equally_often():
    array = random_genotypes(CONN_SEARCH, np.random.default_rng(0), 2000, (3, 5))
    kinds = {
        "repeats": (array.repeats, (3, 5)),
        "channels": (array.channels, range(6)),
        "kernel": (array.kernels, range(3)),
        "expansion": (array.expansions, range(7)),
        "degree": ((array.inputs >= 0).sum(axis=2), (2, 3, 4)),
        "level": (array.levels[:, :5], LEVELS),
        "first output": (array.levels[:, 5], LEVELS),
        "input": (array.inputs[:, 4][array.inputs[:, 4] >= 0], range(8)),
    }
    for name, (values, choices) in kinds.items():
        share = np.array([(values == choice).mean() for choice in choices])
        error = 4 * np.sqrt(1 / len(choices) / values.size)  # four standard deviations at most
        assert np.abs(share - 1 / len(choices)).max() < error, name
    drawn = np.sort(array.inputs, axis=2).reshape(-1, 4)
    assert not ((np.diff(drawn, axis=1) == 0) & (drawn[:, 1:] >= 0)).any()  # distinct


@pytest.mark.parametrize(
    ("name", "at", "value", "message"),
    [
        ("inputs", (1, 0, 0), 4, "genotype 1 of 3 needs inputs before their block"),
        ("inputs", (2, 3, 0), -1, "genotype 2 of 3 needs inputs before their block"),
        ("inputs", (0, 3, 2), 1, r"genotype 0 of 3 needs blocks of \(2,\) inputs"),
        ("levels", (1, 0), 7, "genotype 1 of 3 needs 'levels' of 3 to 6"),
        ("kernels", (1, 0), 3, "genotype 1 of 3 needs 'kernels' of 0 to 2"),
        ("channels", (2,), -1, "genotype 2 of 3 needs 'channels' of 0 to 5"),
        ("repeats", (2,), 0, "genotype 2 of 3 needs 'repeats' of at least 1"),
    ],
)
def test_entries_out_of_range_are_named(name, at, value, message):
    array = random_genotypes(MNASFPN, np.random.default_rng(5), 3, 3)
    values = getattr(array, name).copy()
    values[at] = value
    with pytest.raises(InvalidInput, match=message):
        replace(array, **{name: values})


def test_output_levels_and_shapes_are_checked():
    array = random_genotypes(MNASFPN, np.random.default_rng(6), 3, 3)
    levels = array.levels.copy()
    levels[0, -4:] = 3
    with pytest.raises(InvalidInput, match="must have output levels"):
        replace(array, levels=levels)
    with pytest.raises(InvalidInput, match=r"'merges' has shape \(2, 9\), expected \(3, 9\)"):
        replace(array, merges=array.merges[:2])


def test_a_genotype_of_another_space_is_refused():
    good, other = random_genotypes(MNASFPN, np.random.default_rng(7), 2, 3)
    other = replace(other, channels=20)
    message = r"genotype 1 of 2: the cell is not in space 'mnasfpn': its channels is 20.*\[16, 32"
    with pytest.raises(InvalidInput, match=message):
        from_genotypes(MNASFPN, [good, other])


def test_what_batches_compute_with_is_small_and_lies_in_one_piece() -> None:
    """A byte for each decision: of wider or scattered numbers a batch takes half as long again."""
    many = random_genotypes(CONN_SEARCH, np.random.default_rng(0), 3, (3, 4, 5))
    for values in many.arrays()[1:]:
        assert values.dtype == np.int8
        assert values.flags.c_contiguous
