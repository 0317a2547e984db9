"""A recurrent policy: the probability of each choice, given the choices before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...models.decisions import Decisions, IntArray, draw
from ...models.networks.torch_threads import with_threads

if TYPE_CHECKING:
    import torch

MASKED = -1e9  # a logit whose probability is exactly 0 in float32, and harmless to differentiate


class RecurrentPolicy:
    """An LSTM that reads the choice just made and gives logits for the next decision.

    Every decision has its own embedding of its options and its own output layer, because option 2
    of a kernel and of an input have nothing in common. The output layers start at zero: a fresh
    policy is uniform, that is, random search.

    Args:
        embedding, hidden: widths.
        rng: draws the initial weights.
    """

    def __init__(
        self, decisions: Decisions, embedding: int, hidden: int, rng: np.random.Generator
    ) -> None:
        import torch

        self.decisions = decisions
        steps, widest = len(decisions), decisions.widest
        self._lstm = torch.nn.LSTM(embedding, hidden, batch_first=True)
        self._start = torch.nn.Parameter(torch.zeros(embedding))
        self._embedding = torch.nn.Parameter(torch.zeros(steps, widest, embedding))
        self._head = torch.nn.Parameter(torch.zeros(steps, hidden, widest))
        self._bias = torch.nn.Parameter(torch.zeros(steps, widest))
        with torch.no_grad():
            for weight in self._lstm.parameters():
                weight.copy_(_uniform(rng, weight.shape, hidden**-0.5))
            self._embedding.copy_(_uniform(rng, self._embedding.shape, 1.0))
            self._start.copy_(_uniform(rng, self._start.shape, 1.0))

    def parameters(self) -> dict[str, torch.nn.Parameter]:
        """Trainable tensors by name."""
        lstm = {f"lstm.{name}": weight for name, weight in self._lstm.named_parameters()}
        return lstm | {
            "start": self._start,
            "embedding": self._embedding,
            "head": self._head,
            "bias": self._bias,
        }

    def sample(self, rng: np.random.Generator, count: int) -> tuple[IntArray, npt.NDArray[Any]]:
        """Draw candidates.

        Returns:
            Choices [count, decisions] and the log-probability of each choice, of the same shape.
        """
        import torch

        choices = np.zeros((count, 0), dtype=np.int64)
        log_probs = np.zeros((count, len(self.decisions)), dtype=np.float32)
        state = None
        with torch.no_grad(), with_threads(1):
            x = self._start.expand(count, 1, -1)
            for position in range(len(self.decisions)):
                output, state = self._lstm(x, state)
                logits = output[:, 0] @ self._head[position] + self._bias[position]
                allowed = self.decisions.mask(choices)
                logits = logits[:, : allowed.shape[1]]
                distribution = _log_softmax(logits, torch.from_numpy(allowed)).numpy()
                chosen = draw(rng, allowed, distribution.astype(np.float64))
                log_probs[:, position] = distribution[np.arange(count), chosen]
                choices = np.column_stack([choices, chosen])
                x = self._embedding[position][torch.from_numpy(chosen)][:, None]
        return choices, log_probs

    def evaluate(self, choices: IntArray) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probability of each choice, and entropy of each decision.

        Args:
            choices: [candidates, decisions].

        Returns:
            Two differentiable tensors [candidates, decisions]; both 0 where nothing is to decide.
        """
        import torch

        chosen = torch.from_numpy(choices)
        allowed = torch.from_numpy(self.decisions.masks(choices))
        steps = torch.arange(len(self.decisions))
        made = self._embedding[steps[:-1], chosen[:, :-1]]
        first = self._start.expand(len(choices), 1, -1)
        output, _ = self._lstm(torch.cat([first, made], dim=1))
        logits = torch.einsum("nth,thw->ntw", output, self._head) + self._bias
        distribution = _log_softmax(logits, allowed)
        log_probs = distribution.gather(2, chosen[:, :, None])[:, :, 0]
        entropy = -(distribution.exp() * distribution).sum(dim=2)
        return log_probs, entropy


def _log_softmax(logits: torch.Tensor, allowed: torch.Tensor) -> torch.Tensor:
    return logits.masked_fill(~allowed, MASKED).log_softmax(dim=-1)


def _uniform(rng: np.random.Generator, shape: tuple[int, ...], bound: float) -> torch.Tensor:
    import torch

    return torch.from_numpy(rng.uniform(-bound, bound, tuple(shape)).astype(np.float32))
