"""The PPO objective by hand, and the policy as a distribution."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mnasfpn.errors import InvalidInput
from mnasfpn.models.decisions import Decision, Decisions
from mnasfpn.search.controllers.policy import RecurrentPolicy
from mnasfpn.search.controllers.ppo import Ppo, PpoSettings, ppo_loss

SMALL = Decisions(
    (
        Decision("degree", (1, 2)),
        Decision("input0", (0, 1, 2, 3)),
        Decision("input1", (0, 1, 2, 3), (1,), (0, 1)),
        Decision("kernel", (3, 5, 7)),
    )
)


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "gradient"),
    [
        (1.0, 2.0, -2.0, -2.0),  # d(-ratio A)/d log p = -ratio A
        (1.1, 2.0, -2.2, -2.2),
        (1.5, 2.0, -2.4, 0.0),  # already moved up by more than 20 %: no further push
        (0.5, 2.0, -1.0, -1.0),  # moved the wrong way: pushed back
        (1.5, -2.0, 3.0, 3.0),  # likewise
        (0.5, -2.0, 1.6, 0.0),  # already moved down by more than 20 %
        (1.3, 0.0, 0.0, 0.0),
    ],
)
def test_clipped_objective_by_hand(
    ratio: float, advantage: float, loss: float, gradient: float
) -> None:
    import torch

    old = torch.tensor([[math.log(0.4)]], dtype=torch.float64)
    new = torch.tensor([[math.log(0.4 * ratio)]], dtype=torch.float64, requires_grad=True)
    value = ppo_loss(new, old, torch.tensor([advantage], dtype=torch.float64), clip=0.2)
    value.backward()
    assert value.item() == pytest.approx(loss)
    assert new.grad.item() == pytest.approx(gradient)


def test_objective_sums_over_decisions_and_averages_over_candidates() -> None:
    import torch

    new = torch.log(torch.tensor([[0.5, 0.6], [0.2, 0.9]], dtype=torch.float64))
    old = torch.log(torch.tensor([[0.5, 0.5], [0.4, 0.9]], dtype=torch.float64))
    advantages = torch.tensor([1.0, -1.0], dtype=torch.float64)
    # Candidate 0: 1 + min(1.2, 1.2); candidate 1: min(-0.5, -0.8) + -1.
    assert ppo_loss(new, old, advantages, 0.2).item() == pytest.approx(-((2.2) + (-1.8)) / 2)


def trained(decisions: Decisions, rewards: int = 24) -> Ppo:
    controller = Ppo(decisions, 0, PpoSettings(batch=8, hidden=8, embedding=4, learning_rate=0.05))
    for _ in range(rewards // 8):
        for candidate in controller.propose(8):
            controller.feedback(candidate, float(sum(candidate)))
    return controller


@pytest.mark.parametrize("rewards", [0, 24])
def test_probabilities_of_all_candidates_sum_to_one(rewards: int) -> None:
    import torch

    everything = np.array(list(SMALL.enumerate()))
    log_probs, _ = trained(SMALL, rewards).policy.evaluate(everything)
    probabilities = torch.exp(log_probs.double().sum(dim=1))
    assert len(everything) == SMALL.cardinality()
    assert probabilities.sum().item() == pytest.approx(1.0, abs=1e-5)
    assert probabilities.min() > 0


def test_entropy_is_that_of_the_enumerated_distribution() -> None:
    """Along each candidate the conditional entropies differ; their mean is the whole entropy."""
    everything = np.array(list(SMALL.enumerate()))
    log_probs, entropy = trained(SMALL).policy.evaluate(everything)
    log_p = log_probs.double().sum(dim=1)
    whole = -(log_p.exp() * log_p).sum()
    expected = (log_p.exp() * entropy.double().sum(dim=1)).sum()
    assert expected.item() == pytest.approx(whole.item(), abs=1e-4)


def test_a_fresh_policy_is_uniform_over_what_is_allowed() -> None:
    policy = RecurrentPolicy(SMALL, 4, 8, np.random.default_rng(0))
    log_probs, entropy = policy.evaluate(np.array([[0, 2, 0, 1], [1, 2, 0, 1]]))
    expected = np.log([[1 / 2, 1 / 4, 1, 1 / 3], [1 / 2, 1 / 4, 1 / 3, 1 / 3]])
    np.testing.assert_allclose(log_probs.detach().numpy(), expected, atol=1e-6)
    np.testing.assert_allclose(entropy.detach().numpy(), -expected, atol=1e-6)


def test_sampled_log_probabilities_are_those_of_evaluation() -> None:
    policy = trained(SMALL).policy
    choices, log_probs = policy.sample(np.random.default_rng(1), 50)
    again, _ = policy.evaluate(choices)
    np.testing.assert_allclose(again.detach().numpy(), log_probs, atol=1e-5)


def test_samples_follow_the_policy() -> None:
    import torch

    policy = trained(SMALL).policy
    everything = np.array(list(SMALL.enumerate()))
    log_probs, _ = policy.evaluate(everything)
    expected = torch.exp(log_probs.double().sum(dim=1)).detach().numpy()
    count = 20_000
    choices, _ = policy.sample(np.random.default_rng(2), count)
    index = {tuple(row): i for i, row in enumerate(everything.tolist())}
    seen = np.bincount([index[tuple(row)] for row in choices.tolist()], minlength=len(index))
    error = np.sqrt(expected * (1 - expected) / count)
    assert np.abs(seen / count - expected).max() < 5 * error.max()


def test_what_is_masked_has_no_gradient() -> None:
    policy = RecurrentPolicy(SMALL, 4, 8, np.random.default_rng(0))
    log_probs, _ = policy.evaluate(np.array([[0, 2, 0, 1]]))
    log_probs.sum().backward()
    bias = policy.parameters()["bias"].grad
    assert (bias[2] == 0).all()  # an idle decision
    assert (bias[0, 2:] == 0).all()  # beyond the decision's options
    assert bias[0, 0] == pytest.approx(0.5)  # 1 - p
    assert bias[0, 1] == pytest.approx(-0.5)


def test_baseline_is_a_moving_average_that_takes_the_batch_in_first() -> None:
    controller = Ppo(SMALL, 0, PpoSettings(baseline_decay=0.75))
    first = controller._advantages(np.array([1.0, 3.0]))
    np.testing.assert_allclose(first, [-1.0, 1.0])  # own mean 2, spread 1
    second = controller._advantages(np.array([6.0, 10.0]))
    baseline = 0.75 * 2 + 0.25 * 8
    np.testing.assert_allclose(second, [(6 - baseline) / 2, (10 - baseline) / 2])
    assert controller.state().values["baseline"] == baseline


def test_equal_rewards_teach_nothing() -> None:
    controller = Ppo(SMALL, 0)
    assert controller._advantages(np.full(5, 0.3)).tolist() == [0.0] * 5


def test_feedback_for_an_unknown_candidate_is_refused() -> None:
    controller = Ppo(SMALL, 0)
    (candidate,) = controller.propose(1)
    controller.feedback(candidate, 1.0)
    with pytest.raises(InvalidInput, match="not waiting"):
        controller.feedback(candidate, 1.0)


def test_learning_leaves_the_number_of_threads_as_it_was() -> None:
    import torch

    before = torch.get_num_threads()
    trained(SMALL)
    assert torch.get_num_threads() == before
