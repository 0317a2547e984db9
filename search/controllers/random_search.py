"""Random search: the baseline every other controller has to beat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...errors import InvalidInput
from ...models.decisions import Choices, Decisions, as_choices
from .base import ControllerState, generator_from, generator_state


@dataclass(frozen=True, slots=True)
class RandomSettings:
    """How many candidates are proposed at once."""

    batch: int = 16

    def __post_init__(self) -> None:
        if self.batch < 1:
            raise InvalidInput(f"a batch needs at least 1 candidate, got {self.batch}")


class RandomSearch:
    """Every decision uniform over what is allowed; feedback changes nothing."""

    name = "random"

    def __init__(
        self, decisions: Decisions, seed: int, settings: RandomSettings | None = None
    ) -> None:
        self.decisions = decisions
        self.settings = settings or RandomSettings()
        self.batch = self.settings.batch
        self._rng = np.random.default_rng(seed)

    def propose(self, count: int) -> list[Choices]:
        return as_choices(self.decisions.sample(self._rng, count))

    def feedback(self, candidate: Choices, reward: float | None) -> None:
        """Nothing to learn."""

    def state(self) -> ControllerState:
        return ControllerState(self.name, {"rng": generator_state(self._rng)})

    def restore(self, state: ControllerState) -> None:
        state.require(self.name)
        self._rng = generator_from(state.values["rng"])
