"""The controllers by name, and the loop that each of them serves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial

from ...errors import InvalidInput
from ...models.decisions import Choices, Decisions
from .base import Controller

CONTROLLERS = ("ppo", "evolution", "random")


def create_controller(
    name: str, decisions: Decisions, seed: int, settings: Mapping[str, float] | None = None
) -> Controller:
    """A fresh controller.

    Args:
        name: one of ``CONTROLLERS``.
        settings: fields of the controller's settings class that differ from their defaults.

    Raises:
        InvalidInput: no controller or setting is called so, or a setting is out of range.
    """
    given = dict(settings or {})
    try:
        if name == "random":
            from .random_search import RandomSearch, RandomSettings

            return RandomSearch(decisions, seed, RandomSettings(**given))  # type: ignore[arg-type]
        if name == "evolution":
            from .evolution import Evolution, EvolutionSettings

            return Evolution(decisions, seed, EvolutionSettings(**given))  # type: ignore[arg-type]
        if name == "ppo":
            from .ppo import Ppo, PpoSettings

            return Ppo(decisions, seed, PpoSettings(**given))  # type: ignore[arg-type]
    except TypeError as error:
        raise InvalidInput(f"controller {name!r} has no such setting: {error}") from None
    raise InvalidInput(f"no controller is called {name!r}; known: {', '.join(CONTROLLERS)}")


def candidates(
    controller: Controller, count: int
) -> Iterator[tuple[Choices, Callable[[float | None], None]]]:
    """The whole loop of a search: ``for candidate, feedback in candidates(controller, n): ...``.

    Call ``feedback`` with the candidate's reward, or None if it has none, before the next turn.
    """
    while count > 0:
        batch = controller.propose(min(controller.batch, count))
        count -= len(batch)
        for candidate in batch:
            yield candidate, partial(controller.feedback, candidate)
