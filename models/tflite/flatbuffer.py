"""Reading FlatBuffers that nobody vouches for: every access is checked against the file's bounds.

The classes generated from a schema trust the offsets inside a file; a damaged one sends them to
other places of the file, or into loops over lengths of billions. Format: flatbuffers.dev,
"FlatBuffer internals".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class DamagedBuffer(ValueError):
    """An offset or a length that points outside the file."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table at a position of a buffer; fields are called by their place in the schema."""

    buffer: memoryview
    position: int

    @classmethod
    def root(cls, buffer: bytes) -> Table:
        view = memoryview(buffer)
        return cls(view, _unpack(view, "<I", 0))

    def scalar(self, field: int, format_: str, default: int) -> int:
        """An integer of that :mod:`struct` format, or the default where the file leaves it out."""
        at = self._field(field)
        return default if at is None else _unpack(self.buffer, f"<{format_}", at)

    def table(self, field: int) -> Table | None:
        at = self._field(field)
        return None if at is None else Table(self.buffer, self._follow(at))

    def tables(self, field: int) -> list[Table]:
        """A vector of tables, empty where the file leaves it out."""
        return [Table(self.buffer, self._follow(at)) for at in self._positions(field, 4) or ()]

    def array(self, field: int, dtype: str) -> NDArray[Any] | None:
        """A vector of numbers, as a view of the file; None where the file leaves it out."""
        size = np.dtype(dtype).itemsize
        positions = self._positions(field, size)
        if positions is None:
            return None
        if not positions:
            return np.empty(0, dtype)
        return np.frombuffer(self.buffer, dtype, len(positions), positions.start)

    def integers(self, field: int) -> tuple[int, ...]:
        """A vector of 32-bit integers, empty where the file leaves it out."""
        found = self.array(field, "<i4")
        return () if found is None else tuple(found.tolist())

    def text(self, field: int) -> str:
        found = self.array(field, "u1")
        return "" if found is None else found.tobytes().decode("utf-8", errors="replace")

    def _positions(self, field: int, size: int) -> range | None:
        """Where the elements of a vector stand."""
        at = self._field(field)
        if at is None:
            return None
        start = self._follow(at)
        count = _unpack(self.buffer, "<I", start)
        first = start + 4
        if first + count * size > len(self.buffer):
            raise DamagedBuffer(
                f"a list of {count:,} elements at byte {start:,} does not fit the file "
                f"of {len(self.buffer):,} bytes"
            )
        return range(first, first + count * size, size)

    def _field(self, field: int) -> int | None:
        """Position of a field, through the table's list of offsets; None if it is left out."""
        offsets = self.position - _unpack(self.buffer, "<i", self.position)
        entry = 4 + 2 * field
        if entry + 2 > _unpack(self.buffer, "<H", offsets):
            return None
        offset = _unpack(self.buffer, "<H", offsets + entry)
        return self.position + offset if offset else None

    def _follow(self, at: int) -> int:
        return at + _unpack(self.buffer, "<I", at)


def _unpack(buffer: memoryview, format_: str, at: int) -> int:
    if at < 0 or at + struct.calcsize(format_) > len(buffer):
        raise DamagedBuffer(
            f"an offset leads to byte {at:,}, outside the file of {len(buffer):,} bytes"
        )
    value: int = struct.unpack_from(format_, buffer, at)[0]
    return value
