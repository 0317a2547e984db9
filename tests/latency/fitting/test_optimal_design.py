"""The models to measure: those that leave least unknown about what will be asked for."""

import itertools

import numpy as np
import pytest

from mnasfpn.errors import InvalidInput
from mnasfpn.latency.fitting.optimal_design import most_informative
from mnasfpn.latency.fitting.transfer import fit_transfer
from mnasfpn.tests.latency.fitting.test_transfer import DIFFERENT, errors, latencies, totals


def alike(count, seed):
    """Models of much the same make-up, and a few that are not."""
    rng = np.random.default_rng(seed)
    usual = [dict(zip(DIFFERENT, rng.uniform(4, 5, 4), strict=True)) for _ in range(count)]
    unusual = [{name: 20.0 if name == most else 1.0 for name in DIFFERENT} for most in DIFFERENT]
    return usual + unusual


def chosen(parts, count, asked=None):
    return most_informative(totals(parts), parts, count, asked or [1.0] * len(parts))


def test_models_that_differ_tell_more_than_models_that_are_alike():
    parts = alike(100, 0)
    assert set(chosen(parts, 5)) >= {101, 102, 103}


def test_it_is_better_than_chance():
    parts = alike(100, 1)
    others = alike(30, 2)
    told = [parts[i] for i in chosen(parts, 6)]
    found = fit_transfer(totals(told), told, latencies(told, DIFFERENT, noise=0.02))
    by_chance = []
    for seed in range(20):
        drawn = [parts[i] for i in np.random.default_rng(seed).permutation(len(parts))[:6]]
        transfer = fit_transfer(totals(drawn), drawn, latencies(drawn, DIFFERENT, noise=0.02))
        by_chance.append(errors(transfer, others, DIFFERENT).max())
    assert errors(found, others, DIFFERENT).max() < np.quantile(by_chance, 0.25)


def test_no_pair_of_a_few_is_better():
    """Of all pairs, the one that a search through all of them finds."""
    parts = alike(4, 3)
    shares = (
        np.asarray([[m[n] for n in sorted(m)] for m in parts]) / np.asarray(totals(parts))[:, None]
    )
    terms = np.column_stack(
        [np.ones(len(parts)), (shares - shares.mean(axis=0)) / (shares**2).mean(axis=0) ** 0.25]
    )
    prior = np.diag([1 / 0.5**2, *[1 / 0.2**2] * 4])

    def uncertainty(pair):
        known = terms[list(pair)]
        covariance = np.linalg.inv(prior + known.T @ known / 0.04**2)
        return np.einsum("np,pq,nq->n", terms, covariance, terms).mean()

    best = min(itertools.combinations(range(len(parts)), 2), key=uncertainty)
    assert uncertainty(chosen(parts, 2)) == pytest.approx(uncertainty(best))


def test_what_is_asked_for_more_often_counts_more():
    """Two kinds of models that differ in one part each: the one that is asked for is measured."""
    a = [{"base": 5.0, "a": value} for value in (1.0, 2.0, 3.0)]
    b = [{"base": 5.0, "b": value} for value in (1.0, 2.0, 3.0)]
    assert set(chosen(a + b, 2, [1.0] * 3 + [1e-6] * 3)) <= {0, 1, 2}
    assert set(chosen(a + b, 2, [1e-6] * 3 + [1.0] * 3)) <= {3, 4, 5}


def test_each_is_chosen_once_and_there_must_be_enough():
    parts = alike(3, 4)
    assert sorted(chosen(parts, len(parts))) == list(range(len(parts)))
    for count in (0, len(parts) + 1):
        with pytest.raises(InvalidInput, match=f"cannot choose {count} of {len(parts)}"):
            chosen(parts, count)
