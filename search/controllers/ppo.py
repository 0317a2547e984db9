"""Proximal policy optimisation of a recurrent controller (Schulman 2017), as the paper searches."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...errors import InvalidInput
from ...models.decisions import Choices, Decisions, as_choices
from ...models.networks.torch_threads import with_threads
from .base import ControllerState, generator_from, generator_state
from .policy import RecurrentPolicy

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class PpoSettings:
    """How the controller learns.

    Args:
        batch: rewards that make one update; as many candidates are proposed at once.
        epochs: gradient steps on each batch.
        clip: epsilon; how far an update may move the probability of a choice, as a ratio.
        entropy_weight: of the bonus that keeps the policy curious, in units of the reward's spread.
        learning_rate: of Adam.
        baseline_decay: of the moving average that rewards are compared with.
        hidden, embedding: widths of the LSTM.
        max_gradient: norm to which gradients are clipped.
    """

    batch: int = 8
    epochs: int = 6
    clip: float = 0.2
    entropy_weight: float = 0.03
    learning_rate: float = 3e-3
    baseline_decay: float = 0.3
    hidden: int = 64
    embedding: int = 16
    max_gradient: float = 1.0

    def __post_init__(self) -> None:
        for name in ("batch", "epochs", "hidden", "embedding"):
            if getattr(self, name) < 1:
                raise InvalidInput(f"PPO's {name} must be at least 1, got {getattr(self, name)}")
        for name in ("clip", "learning_rate", "max_gradient"):
            if not 0 < getattr(self, name) < math.inf:
                raise InvalidInput(f"PPO's {name} must be positive, got {getattr(self, name)}")
        if not 0 <= self.baseline_decay < 1:
            raise InvalidInput(f"PPO's baseline_decay must be in [0, 1), got {self.baseline_decay}")
        if not 0 <= self.entropy_weight < math.inf:
            raise InvalidInput(
                f"PPO's entropy_weight must not be negative, got {self.entropy_weight}"
            )


@dataclass
class _Proposal:
    """A candidate, how likely its choices were when it was drawn, and its reward once known."""

    choices: Choices
    log_probs: npt.NDArray[np.float32]
    reward: float = math.nan


@dataclass
class _Memory:
    """What the controller has to remember between batches, besides its weights."""

    waiting: list[_Proposal] = field(default_factory=list)
    rewarded: list[_Proposal] = field(default_factory=list)
    baseline: float = math.nan  # NaN before the first batch


class Ppo:
    """Learns from every ``batch`` rewards; between updates the policy stands still."""

    name = "ppo"

    def __init__(
        self, decisions: Decisions, seed: int, settings: PpoSettings | None = None
    ) -> None:
        import torch

        self.decisions = decisions
        self.settings = settings or PpoSettings()
        self.batch = self.settings.batch
        self._rng = np.random.default_rng(seed)
        self.policy = RecurrentPolicy(
            decisions, self.settings.embedding, self.settings.hidden, self._rng
        )
        self._optimizer = torch.optim.Adam(
            list(self.policy.parameters().values()), lr=self.settings.learning_rate
        )
        self._memory = _Memory()

    def propose(self, count: int) -> list[Choices]:
        rows, log_probs = self.policy.sample(self._rng, count)
        proposed = as_choices(rows)
        self._memory.waiting += [
            _Proposal(choices, row) for choices, row in zip(proposed, log_probs, strict=True)
        ]
        return proposed

    def feedback(self, candidate: Choices, reward: float | None) -> None:
        """Remember a reward; learn once a batch of them is there.

        Raises:
            InvalidInput: the candidate is not waiting for feedback.
        """
        waiting = self._memory.waiting
        found = next((i for i, p in enumerate(waiting) if p.choices == candidate), None)
        if found is None:
            raise InvalidInput("feedback for a candidate that is not waiting for any")
        proposal = waiting.pop(found)
        if reward is None:
            return
        proposal.reward = reward
        self._memory.rewarded.append(proposal)
        if len(self._memory.rewarded) >= self.settings.batch:
            self._learn(self._memory.rewarded)
            self._memory.rewarded = []

    def _learn(self, batch: list[_Proposal]) -> None:
        import torch

        choices = np.asarray([p.choices for p in batch], dtype=np.int64)
        old_log_probs = torch.from_numpy(np.stack([p.log_probs for p in batch]))
        advantages = torch.from_numpy(self._advantages(np.asarray([p.reward for p in batch])))
        weights = list(self.policy.parameters().values())
        with with_threads(1):
            for _ in range(self.settings.epochs):
                log_probs, entropy = self.policy.evaluate(choices)
                loss = ppo_loss(log_probs, old_log_probs, advantages, self.settings.clip)
                loss = loss - self.settings.entropy_weight * entropy.sum(dim=1).mean()
                self._optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(weights, self.settings.max_gradient)
                self._optimizer.step()

    def _advantages(self, rewards: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        """Rewards above the moving average, in units of the batch's spread.

        The average takes the batch in first: one that lags behind a policy on the rise would call
        all its candidates good, and what is drawn by chance would be what is learned.
        """
        mean, spread = float(rewards.mean()), float(rewards.std())
        decay = self.settings.baseline_decay
        before = self._memory.baseline
        baseline = mean if math.isnan(before) else decay * before + (1 - decay) * mean
        self._memory.baseline = baseline
        if spread <= 1e-12 * abs(mean):  # all alike: nothing can be told from them
            return np.zeros(len(rewards), dtype=np.float32)
        return ((rewards - baseline) / spread).astype(np.float32)

    def state(self) -> ControllerState:
        arrays: dict[str, npt.NDArray[Any]] = {}
        for name, weight in self.policy.parameters().items():
            arrays[f"weight/{name}"] = weight.detach().numpy().copy()
            for moment, tensor in self._optimizer.state.get(weight, {}).items():
                arrays[f"adam/{moment}/{name}"] = tensor.numpy().copy()
        memory = self._memory
        for group in ("waiting", "rewarded"):
            for i, proposal in enumerate(getattr(memory, group)):
                arrays[f"{group}/{i}"] = proposal.log_probs
        values = {
            "rng": generator_state(self._rng),
            "baseline": memory.baseline,
            "waiting": [list(p.choices) for p in memory.waiting],
            "rewarded": [[list(p.choices), p.reward] for p in memory.rewarded],
        }
        return ControllerState(self.name, values, arrays)

    def restore(self, state: ControllerState) -> None:
        import torch

        state.require(self.name)
        arrays = state.arrays
        with torch.no_grad():
            for name, weight in self.policy.parameters().items():
                stored = arrays.get(f"weight/{name}")
                if stored is None or stored.shape != tuple(weight.shape):
                    raise InvalidInput(
                        f"the stored policy does not fit: {name!r} should have shape "
                        f"{tuple(weight.shape)}; was it made with other settings?"
                    )
                weight.copy_(torch.from_numpy(stored))
                prefix, suffix = "adam/", f"/{name}"
                self._optimizer.state[weight] = {
                    key[len(prefix) : -len(suffix)]: torch.from_numpy(value.copy())
                    for key, value in arrays.items()
                    if key.startswith(prefix) and key.endswith(suffix)
                }
        self._memory = _Memory(
            [
                _Proposal(tuple(choices), arrays[f"waiting/{i}"])
                for i, choices in enumerate(state.values["waiting"])
            ],
            [
                _Proposal(tuple(choices), arrays[f"rewarded/{i}"], reward)
                for i, (choices, reward) in enumerate(state.values["rewarded"])
            ],
            state.values["baseline"],
        )
        self._rng = generator_from(state.values["rng"])


def ppo_loss(
    log_probs: torch.Tensor, old_log_probs: torch.Tensor, advantages: torch.Tensor, clip: float
) -> torch.Tensor:
    """The clipped surrogate objective, negated to be minimised.

    Each choice has its own ratio of new to old probability; all choices of a candidate share its
    advantage. A choice whose probability has already moved by more than ``clip`` in the favoured
    direction has no gradient.

    Args:
        log_probs, old_log_probs: [candidates, decisions].
        advantages: [candidates].

    Returns:
        Sum over decisions, mean over candidates.
    """
    import torch

    ratio = torch.exp(log_probs - old_log_probs)
    advantage = advantages[:, None]
    clipped = ratio.clamp(1 - clip, 1 + clip)
    return -torch.minimum(ratio * advantage, clipped * advantage).sum(dim=1).mean()
