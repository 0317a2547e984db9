"""Genotypes as arrays and back, and the sampler that draws arrays of them."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from mnasfpn.errors import InvalidInput
from mnasfpn.models.genotype_array import from_genotypes, random_genotypes
from mnasfpn.models.space import CONN_SEARCH, MNASFPN, NO_EXPAND, Space, sample

SPACES = (MNASFPN, NO_EXPAND, CONN_SEARCH)


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
def test_genotypes_survive_the_round_trip(space):
    rng = np.random.default_rng(0)
    genotypes = [sample(space, rng, int(rng.integers(1, 6))) for _ in range(50)]
    assert list(from_genotypes(space, genotypes)) == genotypes


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
def test_random_arrays_survive_the_round_trip(space):
    array = random_genotypes(space, np.random.default_rng(1), 50, (3, 4))
    again = from_genotypes(space, list(array))
    for one, other in zip(array.arrays(), again.arrays(), strict=True):
        assert (one == other).all()


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


def test_degrees_of_conn_search():
    array = random_genotypes(CONN_SEARCH, np.random.default_rng(4), 3000, 3)
    degrees = (array.inputs >= 0).sum(axis=2)
    assert set(degrees.ravel()) == {2, 3, 4}
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
    genotype = random_genotypes(MNASFPN, np.random.default_rng(7), 1, 3).genotype(0)
    for changed, message in (
        (replace(genotype, channels=20), "channels 20, space 'mnasfpn' offers"),
        (replace(genotype, sdo=False), r"has \(blocks, sdo, cell_residual\) = \(9, False, True\)"),
    ):
        with pytest.raises(InvalidInput, match=message):
            from_genotypes(MNASFPN, [changed])
