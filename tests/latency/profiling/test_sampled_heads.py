from __future__ import annotations

import re
from dataclasses import replace

import pytest

from mnasfpn.latency.kernels.execution import execution_plan
from mnasfpn.latency.profiling.head_graph import head_graph
from mnasfpn.latency.profiling.sampled_heads import random_heads
from mnasfpn.latency.profiling.space_kernels import space_kernels
from mnasfpn.models.space import CONN_SEARCH, MNASFPN, NO_EXPAND, Space

SPACES = (MNASFPN, NO_EXPAND, CONN_SEARCH, replace(MNASFPN, name="no-sdo", sdo=False))


@pytest.mark.slow
@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
def test_every_kernel_of_any_random_head_is_among_those_measured(space: Space) -> None:
    measured = set(space_kernels(space))
    for head in random_heads(space, 40, seed=3):
        assert set(execution_plan(head_graph(head.genotype)).kernels) <= measured


@pytest.mark.slow
def test_nothing_is_measured_that_no_head_needs() -> None:
    small = Space("small", channels=(16,), kernels=(3,), expansions=(32,), internal_blocks=3)
    needed = set()
    for head in random_heads(small, 400, seed=0):
        needed.update(execution_plan(head_graph(head.genotype)).kernels)
    assert set(space_kernels(small)) == needed


def test_heads_are_the_same_for_the_same_seed_and_differ_for_another() -> None:
    assert random_heads(MNASFPN, 5, 1) == random_heads(MNASFPN, 8, 1)[:5]
    first = {head.genotype for head in random_heads(MNASFPN, 20, 1)}
    assert len(first) == 20
    assert not first & {head.genotype for head in random_heads(MNASFPN, 20, 2)}
    assert {head.genotype.repeats for head in random_heads(MNASFPN, 40, 1)} == {3, 4, 5}


def test_a_head_is_named_for_what_it_is_not_only_for_how_it_was_drawn() -> None:
    """A store keeps runs by name: another head of the same numbers must have another name."""
    (head,) = random_heads(MNASFPN, 1, 1)
    assert re.fullmatch(r"mnasfpn/1/0/[0-9a-f]{8}", head.name)
    (other,) = random_heads(replace(MNASFPN, kernels=(3, 5)), 1, 1)
    assert other.genotype != head.genotype
    assert other.name != head.name
    names = [each.name for each in random_heads(MNASFPN, 50, 1)]
    assert len(set(names)) == 50
