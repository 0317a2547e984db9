"""Regularised evolution: tournament selection, and the oldest die (Real et al. 2019)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from ...errors import InvalidInput
from ...models.decisions import Choices, Decisions, as_choices
from .base import ControllerState, generator_from, generator_state


@dataclass(frozen=True, slots=True)
class EvolutionSettings:
    """How evolution goes about it.

    Args:
        population: candidates alive at once; so many random ones come first.
        tournament: drawn from the population; the best of them has the next child.
        mutations: decisions drawn anew in a child, before repairs.
        batch: candidates proposed at once.
    """

    population: int = 64
    tournament: int = 16
    mutations: int = 2
    batch: int = 8

    def __post_init__(self) -> None:
        for name in ("population", "tournament", "mutations", "batch"):
            if getattr(self, name) < 1:
                raise InvalidInput(
                    f"evolution's {name} must be at least 1, got {getattr(self, name)}"
                )
        if self.tournament > self.population:
            raise InvalidInput(
                f"a tournament of {self.tournament} needs a population at least as large, "
                f"got {self.population}"
            )


class Evolution:
    """A candidate lives until ``population`` younger ones have come."""

    name = "evolution"

    def __init__(
        self, decisions: Decisions, seed: int, settings: EvolutionSettings | None = None
    ) -> None:
        self.decisions = decisions
        self.settings = settings or EvolutionSettings()
        self.batch = self.settings.batch
        self._rng = np.random.default_rng(seed)
        self._proposed = 0
        self._alive: deque[tuple[Choices, float]] = deque(maxlen=self.settings.population)

    def propose(self, count: int) -> list[Choices]:
        return [self._next() for _ in range(count)]

    def _next(self) -> Choices:
        self._proposed += 1
        if self._proposed <= self.settings.population or not self._alive:
            return as_choices(self.decisions.sample(self._rng, 1))[0]
        size = min(self.settings.tournament, len(self._alive))
        drawn = self._rng.choice(len(self._alive), size, replace=False)
        winner = max(drawn, key=lambda index: self._alive[index][1])
        return self.mutate(self._alive[winner][0])

    def mutate(self, parent: Choices) -> Choices:
        """A child that differs from its parent: some choices changed, what they forbid repaired."""
        child = parent
        while child == parent:
            for position in self._rng.integers(len(self.decisions), size=self.settings.mutations):
                child = self._change(child, int(position))
        return child

    def _change(self, choices: Choices, position: int) -> Choices:
        """Another allowed choice at a position, where there is one."""
        prefix = np.asarray([choices[:position]], dtype=np.int64).reshape(1, position)
        allowed = np.flatnonzero(self.decisions.mask(prefix)[0])
        others = [int(choice) for choice in allowed if choice != choices[position]]
        if not others:
            return choices
        changed = others[int(self._rng.integers(len(others)))]
        wanted = (*choices[:position], changed, *choices[position + 1 :])
        return self.decisions.repair(self._rng, wanted)

    def feedback(self, candidate: Choices, reward: float | None) -> None:
        if reward is not None:
            self._alive.append((candidate, reward))

    def state(self) -> ControllerState:
        values = {
            "rng": generator_state(self._rng),
            "proposed": self._proposed,
            "alive": [[list(choices), reward] for choices, reward in self._alive],
        }
        return ControllerState(self.name, values)

    def restore(self, state: ControllerState) -> None:
        state.require(self.name)
        self._rng = generator_from(state.values["rng"])
        self._proposed = state.values["proposed"]
        self._alive.clear()
        self._alive.extend((tuple(choices), reward) for choices, reward in state.values["alive"])
