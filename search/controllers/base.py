"""What every controller can do, and its state as bytes that run no code when read."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ...errors import InvalidInput
from ...models.decisions import Choices, Decisions

STATE_SCHEMA = 1
_DAMAGED = (zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class ControllerState:
    """Everything a controller needs to go on as if it had never stopped.

    Args:
        controller: name of the controller it belongs to.
        values: anything JSON can hold; integers of any size.
        arrays: numeric arrays by name.
    """

    controller: str
    values: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, npt.NDArray[Any]] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """An .npz archive of plain arrays; the values are JSON in one of them."""
        header = {"schema": STATE_SCHEMA, "controller": self.controller, "values": self.values}
        text = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **{"/header": text}, **self.arrays)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> ControllerState:
        """Inverse of ``to_bytes``.

        Raises:
            InvalidInput: the bytes are damaged or of another schema.
        """
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            header = json.loads(arrays.pop("/header").tobytes())
            if header["schema"] != STATE_SCHEMA:
                raise InvalidInput(
                    f"controller state has schema {header['schema']}, expected {STATE_SCHEMA}"
                )
            return cls(header["controller"], header["values"], arrays)
        except InvalidInput:
            raise
        except (ValueError, KeyError, TypeError, OSError, EOFError, *_DAMAGED) as error:
            raise InvalidInput(
                f"stored controller state cannot be read ({error}); start a new study"
            ) from None

    def require(self, controller: str) -> None:
        """Raise InvalidInput if the state belongs to another controller."""
        if self.controller != controller:
            raise InvalidInput(
                f"expected the state of {controller!r}, got that of {self.controller!r}"
            )


class Controller(Protocol):
    """Proposes candidates of a space and learns from their rewards.

    The same seed and the same feedback in the same order give the same proposals, also across
    ``restore(state())`` in another process.
    """

    name: str
    decisions: Decisions
    batch: int  # how many candidates it likes to propose before it hears of any

    def propose(self, count: int) -> list[Choices]:
        """The next candidates to try."""

    def feedback(self, candidate: Choices, reward: float | None) -> None:
        """The reward of a proposed candidate; None if it failed, which teaches nothing."""

    def state(self) -> ControllerState:
        """A snapshot, proposed candidates without feedback included."""

    def restore(self, state: ControllerState) -> None:
        """Go on from a snapshot of a controller of this kind."""


def generator_state(rng: np.random.Generator) -> dict[str, Any]:
    """State of a random generator as JSON."""
    return dict(rng.bit_generator.state)


def generator_from(state: dict[str, Any]) -> np.random.Generator:
    """A random generator that goes on from a stored state."""
    rng = np.random.default_rng()
    try:
        rng.bit_generator.state = state
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidInput(f"stored random generator state is damaged: {error}") from None
    return rng
