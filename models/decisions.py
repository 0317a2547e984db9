"""A space as a sequence of categorical decisions, some of which depend on earlier ones.

Controllers see only this: which options the next decision has, given the choices so far. The same
walk along the sequence serves sampling, masking, features and counting, so they cannot disagree;
whatever is drawn from a space is drawn by it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from ..errors import InvalidInput

Option = int | str | None
Choices = tuple[int, ...]  # one candidate: for each decision, the index of the chosen option
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Decision:
    """One categorical choice.

    Args:
        name: unique in its sequence, e.g. ``block4/input1``.
        options: at least two different values.
        distinct_from: earlier decisions (by position, same options) whose option is taken.
        needs: (earlier decision, least choice there); with a lesser choice there is nothing to
            decide here and the choice is 0.
    """

    name: str
    options: tuple[Option, ...]
    distinct_from: tuple[int, ...] = ()
    needs: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if len(self.options) < 2 or len(set(self.options)) < len(self.options):
            raise InvalidInput(
                f"decision {self.name!r} needs at least two different options, got {self.options}"
            )


@dataclass(frozen=True)
class Decisions:
    """Decisions in the order in which they are made.

    Raises:
        InvalidInput: a decision depends on one that is not before it, or has options of its own
            that the dependence does not fit.
    """

    sequence: tuple[Decision, ...]

    def __post_init__(self) -> None:
        if not self.sequence:
            raise InvalidInput("a search space with nothing to decide cannot be searched")
        for position, decision in enumerate(self.sequence):
            _check_dependences(position, decision, self.sequence)

    def __len__(self) -> int:
        return len(self.sequence)

    def __iter__(self) -> Iterator[Decision]:
        return iter(self.sequence)

    @property
    def widest(self) -> int:
        """Options of the decision that has most."""
        return max(len(decision.options) for decision in self.sequence)

    def mask(self, prefix: IntArray) -> BoolArray:
        """What the next decision may choose.

        Args:
            prefix: [candidates, t] choices of the first t decisions.

        Returns:
            [candidates, options of decision t]; at least one is allowed in every row.
        """
        rows, position = prefix.shape
        decision = self.sequence[position]
        allowed = np.ones((rows, len(decision.options)), dtype=np.bool_)
        for earlier in decision.distinct_from:
            allowed[np.arange(rows), prefix[:, earlier]] = False
        if decision.needs is not None:
            earlier, least = decision.needs
            idle = prefix[:, earlier] < least
            allowed[idle] = False
            allowed[idle, 0] = True
        return allowed

    def masks(self, choices: IntArray) -> BoolArray:
        """What every decision could have chosen, given the choices before it.

        Args:
            choices: [candidates, decisions].

        Returns:
            [candidates, decisions, widest]; False beyond a decision's own options.
        """
        rows = len(choices)
        masks = np.zeros((rows, len(self), self.widest), dtype=np.bool_)
        for position, decision in enumerate(self.sequence):
            masks[:, position, : len(decision.options)] = self.mask(choices[:, :position])
        return masks

    def sample(self, rng: np.random.Generator, count: int) -> IntArray:
        """Candidates [count, decisions] whose every decision is uniform over what is allowed."""
        choices = np.zeros((count, len(self)), dtype=np.int64)
        for position in range(len(self)):
            choices[:, position] = draw(rng, self.mask(choices[:, :position]))
        return choices

    def repair(self, rng: np.random.Generator, choices: Choices) -> Choices:
        """The same candidate, with every choice that is not allowed drawn anew, front to back."""
        prefix = np.zeros((1, 0), dtype=np.int64)
        for position in range(len(self)):
            allowed = self.mask(prefix)
            kept = choices[position]
            chosen = [kept] if allowed[0, kept] else draw(rng, allowed)
            prefix = np.column_stack([prefix, chosen])
        return as_choices(prefix)[0]

    def check(self, choices: Choices) -> None:
        """Raise InvalidInput unless this is a candidate of the space."""
        if len(choices) != len(self):
            raise InvalidInput(f"expected {len(self)} choices, got {len(choices)}")
        for choice, decision in zip(choices, self.sequence, strict=True):
            if not 0 <= choice < len(decision.options):
                raise InvalidInput(
                    f"decision {decision.name!r} has options 0..{len(decision.options) - 1}, "
                    f"got {choice}"
                )
        masks = self.masks(np.asarray([choices], dtype=np.int64))[0]
        for choice, decision, mask in zip(choices, self.sequence, masks, strict=True):
            if not mask[choice]:
                allowed = np.flatnonzero(mask)
                raise InvalidInput(
                    f"decision {decision.name!r} may choose {allowed.tolist()} here, got {choice}"
                )

    def enumerate(self) -> Iterator[Choices]:
        """Every candidate once, in lexicographic order; for small spaces."""
        yield from self._extensions(())

    def _extensions(self, prefix: Choices) -> Iterator[Choices]:
        if len(prefix) == len(self):
            yield prefix
            return
        row = np.asarray([prefix], dtype=np.int64).reshape(1, len(prefix))
        for choice in np.flatnonzero(self.mask(row)[0]):
            yield from self._extensions((*prefix, int(choice)))

    def cardinality(self) -> int:
        """How many candidates there are, exactly and without enumerating them.

        How many options are left depends only on decisions that later ones need, so the walk
        branches there and multiplies everywhere else.
        """
        last_need = {
            decision.needs[0]: position
            for position, decision in enumerate(self.sequence)
            if decision.needs is not None
        }

        @cache
        def count(position: int, known: tuple[tuple[int, int], ...]) -> int:
            if position == len(self):
                return 1
            decision = self.sequence[position]
            idle = decision.needs is not None and dict(known)[decision.needs[0]] < decision.needs[1]
            width = 1 if idle else len(decision.options) - len(decision.distinct_from)
            kept = tuple(pair for pair in known if last_need[pair[0]] > position)
            if position not in last_need:
                return width * count(position + 1, kept)
            return sum(count(position + 1, (*kept, (position, choice))) for choice in range(width))

        return count(0, ())

    def one_hot(self, candidates: list[Choices]) -> FloatArray:
        """Features for a cost or quality model.

        Returns:
            [candidates, total options]: 1 for each chosen option; all 0 for a decision with
            nothing to decide.
        """
        chosen = np.asarray(candidates, dtype=np.int64).reshape(len(candidates), len(self))
        columns = []
        for position, decision in enumerate(self.sequence):
            column = np.eye(len(decision.options))[chosen[:, position]]
            if decision.needs is not None:
                earlier, least = decision.needs
                column[chosen[:, earlier] < least] = 0.0
            columns.append(column)
        return np.concatenate(columns, axis=1)


def draw(
    rng: np.random.Generator, allowed: BoolArray, log_weights: FloatArray | None = None
) -> IntArray:
    """One allowed option in each row, with probability proportional to exp(log weight).

    By the Gumbel-max rule: the largest of log weight + Gumbel noise is such a draw. Gumbel noise
    falls as the uniform number rises that it is made of, so without weights, where all options are
    equally likely, the least of those is the same draw at a third of the price.

    Args:
        allowed, log_weights: [rows, options]; uniform without weights.
    """
    drawn: IntArray
    if log_weights is None:
        drawn = np.argmin(np.where(allowed, rng.random(allowed.shape), np.inf), axis=1)
    else:
        noisy = rng.gumbel(size=allowed.shape) + log_weights
        drawn = np.argmax(np.where(allowed, noisy, -np.inf), axis=1)
    return drawn


def as_choices(rows: IntArray) -> list[Choices]:
    """[candidates, decisions] as plain tuples."""
    return [tuple(row) for row in rows.tolist()]


def _implies(stronger: tuple[int, int] | None, weaker: tuple[int, int]) -> bool:
    return stronger is not None and stronger[0] == weaker[0] and stronger[1] >= weaker[1]


def _check_dependences(position: int, decision: Decision, sequence: tuple[Decision, ...]) -> None:
    needs = () if decision.needs is None else (decision.needs[0],)
    for earlier in (*decision.distinct_from, *needs):
        if not 0 <= earlier < position:
            raise InvalidInput(
                f"decision {decision.name!r} at position {position} depends on decision {earlier}, "
                "which is not made before it"
            )
    for earlier in decision.distinct_from:
        other = sequence[earlier]
        if other.options != decision.options:
            raise InvalidInput(
                f"decision {decision.name!r} must have the options of {other.name!r}, "
                f"from which it has to differ"
            )
        if other.needs is not None and not _implies(decision.needs, other.needs):
            raise InvalidInput(
                f"decision {decision.name!r} has to differ from {other.name!r}, "
                "which may be idle when it is not"
            )
    if decision.needs is not None:
        other = sequence[decision.needs[0]]
        if other.distinct_from or other.needs:
            raise InvalidInput(
                f"decision {decision.name!r} needs {other.name!r}, which must itself depend on none"
            )
    if len(decision.distinct_from) >= len(decision.options):
        raise InvalidInput(f"decision {decision.name!r} has no option left")
