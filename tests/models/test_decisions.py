"""Decisions: masks, sampling, counting, features; small spaces enumerated completely."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnasfpn.errors import InvalidInput
from mnasfpn.models.decisions import Decision, Decisions, as_choices, draw


def permutation(n: int) -> Decisions:
    options = tuple(range(n))
    return Decisions(
        tuple(Decision(f"p{i}", options, distinct_from=tuple(range(i))) for i in range(n))
    )


def subsets(features: int, degrees: tuple[int, ...]) -> Decisions:
    """In-degree, then so many distinct inputs in order; last, something unrelated."""
    inputs = tuple(range(features))
    sequence = [Decision("degree", degrees)]
    for slot in range(degrees[-1]):
        taken = tuple(range(1, slot + 1))
        least = next(i for i, degree in enumerate(degrees) if degree > slot)
        needs = (0, least) if least else None
        sequence.append(Decision(f"input{slot}", inputs, taken, needs))
    return Decisions((*sequence, Decision("kernel", (3, 5, 7))))


@st.composite
def any_decisions(draw_: st.DrawFn) -> Decisions:
    """Blocks of a degree and its inputs, and free decisions, in any mixture."""
    sequence: list[Decision] = []
    for block in range(draw_(st.integers(1, 3))):
        features = draw_(st.integers(2, 4))
        start = len(sequence)
        sequence.append(Decision(f"{block}degree", tuple(range(1, features + 1))))
        for slot in range(features):
            taken = tuple(range(start + 1, start + 1 + slot))
            needs = (start, slot) if slot else None
            sequence.append(Decision(f"{block}input{slot}", tuple(range(features)), taken, needs))
        if draw_(st.booleans()):
            options = tuple(range(draw_(st.integers(2, 4))))
            sequence.append(Decision(f"{block}free", options))
    return Decisions(tuple(sequence))


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_permutations_are_counted_and_enumerated(n: int) -> None:
    decisions = permutation(n)
    assert decisions.cardinality() == math.factorial(n)
    assert set(decisions.enumerate()) == set(itertools.permutations(range(n)))


@pytest.mark.parametrize(("features", "degrees"), [(4, (2, 3, 4)), (5, (2, 4)), (3, (1, 2, 3))])
def test_inputs_by_degree_are_counted_and_enumerated(
    features: int, degrees: tuple[int, ...]
) -> None:
    decisions = subsets(features, degrees)
    expected = 3 * sum(math.perm(features, degree) for degree in degrees)
    assert decisions.cardinality() == expected
    everything = list(decisions.enumerate())
    assert len(everything) == len(set(everything)) == expected


@given(any_decisions())
@settings(max_examples=30, deadline=None)
def test_cardinality_equals_enumeration(decisions: Decisions) -> None:
    if decisions.cardinality() <= 20_000:
        assert decisions.cardinality() == sum(1 for _ in decisions.enumerate())


@given(any_decisions(), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_samples_and_repairs_are_candidates(decisions: Decisions, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for choices in as_choices(decisions.sample(rng, 20)):
        decisions.check(choices)
    anything = tuple(int(rng.integers(len(decision.options))) for decision in decisions)
    repaired = decisions.repair(rng, anything)
    decisions.check(repaired)
    assert decisions.repair(rng, repaired) == repaired


def test_samples_are_uniform_over_a_permutation() -> None:
    count = 6000
    drawn = Counter(as_choices(permutation(3).sample(np.random.default_rng(1), count)))
    chi2 = sum((seen - count / 6) ** 2 / (count / 6) for seen in drawn.values())
    assert len(drawn) == 6
    assert chi2 < 20.5  # 0.1 % point of chi-square with 5 degrees of freedom


def test_idle_decisions_have_choice_zero_only() -> None:
    decisions = subsets(4, (2, 4))
    prefix = np.array([[0, 1, 2], [1, 1, 2]])
    assert decisions.mask(prefix).tolist() == [
        [True, False, False, False],  # two inputs: nothing to decide
        [True, False, False, True],  # four inputs: what is left
    ]


def test_check_names_the_decision_and_what_it_may_be() -> None:
    decisions = permutation(3)
    with pytest.raises(InvalidInput, match=r"'p1' may choose \[0, 2\] here, got 1"):
        decisions.check((1, 1, 2))
    with pytest.raises(InvalidInput, match=r"'p0' has options 0..2, got 3"):
        decisions.check((3, 1, 2))
    with pytest.raises(InvalidInput, match="expected 3 choices, got 2"):
        decisions.check((0, 1))


def test_one_hot_has_a_one_for_each_decision_made() -> None:
    decisions = subsets(3, (2, 3))
    features = decisions.one_hot([(0, 2, 1, 0, 1), (1, 2, 1, 0, 0)])
    assert features.shape == (2, 2 + 3 * 3 + 3)
    rows = ["".join(str(int(feature)) for feature in row) for row in features]
    assert rows == ["10" "001" "010" "000" "010", "01" "001" "010" "100" "100"]  # fmt: skip


def test_draw_follows_the_weights_and_the_mask() -> None:
    allowed = np.tile([True, True, False], (40_000, 1))
    weights = np.tile(np.log([0.2, 0.8, 5.0]), (40_000, 1))
    drawn = draw(np.random.default_rng(0), allowed, weights)
    assert set(drawn.tolist()) == {0, 1}
    assert drawn.mean() == pytest.approx(0.8, abs=0.01)  # 5 standard errors


@pytest.mark.parametrize(
    ("sequence", "message"),
    [
        ((), "nothing to decide"),
        ((Decision("a", (1, 2)), Decision("b", (1, 2), (1,))), "not made before it"),
        ((Decision("a", (1, 2)), Decision("b", (1, 3), (0,))), "must have the options of 'a'"),
        (
            (
                Decision("n", (1, 2)),
                Decision("a", (1, 2), (), (0, 1)),
                Decision("b", (1, 2), (1,)),
            ),
            "may be idle",
        ),
        (
            (Decision("a", (1, 2)), Decision("b", (1, 2), (0,)), Decision("c", (1, 2), (0, 1))),
            "no option left",
        ),
        (
            (Decision("a", (1, 2)), Decision("b", (1, 2), (0,)), Decision("c", (7, 8), (), (1, 1))),
            "must itself depend on none",
        ),
    ],
)
def test_impossible_dependences_are_refused(sequence: tuple[Decision, ...], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Decisions(sequence)


@pytest.mark.parametrize("options", [(), (3,), (3, 3)])
def test_a_decision_needs_a_choice(options: tuple[int, ...]) -> None:
    with pytest.raises(InvalidInput, match="at least two different options"):
        Decision("k", options)
