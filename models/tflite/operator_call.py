"""What a TensorFlow Lite file says of a tensor and of one call of an operator, and its reading."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..graph.attributes import Shape
from .flatbuffer import DamagedBuffer, Table

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class FileTensor:
    """A tensor of a file.

    Args:
        dtype: as operators see it; ``stored`` is the type of the bytes, if they are decompressed
            before use (float16 weights).
        data: bytes of a constant, else None; none of a constant that stands in another file.
        variable: keeps its value from one inference to the next.
        free: its shape as the file declares it, with -1 for sizes only known at run time; empty
            where all are known.
        scale, zero_point: of a tensor of integers that has one of each.
    """

    name: str
    shape: Shape
    dtype: str
    data: NDArray[np.uint8] | None = None
    stored: str = ""
    variable: bool = False
    free: Shape = ()
    scale: float = 1.0
    zero_point: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether it has no elements."""
        return 0 in self.shape

    @property
    def says_how(self) -> bool:
        """Whether it is a constant that tells an operator what to do, and no number of it."""
        given = self.data is not None or self.is_empty
        return given and self.dtype in ("int32", "int64", "bool", "string")

    @property
    def stored_dtype(self) -> str:
        return self.stored or self.dtype

    def integers(self) -> tuple[int, ...] | None:
        """Values of a constant of integers, None if it is no such thing."""
        if self.data is None or self.stored_dtype not in ("int32", "int64"):
            return None
        return tuple(self.data.view(np.dtype(self.stored_dtype).newbyteorder("<")).tolist())

    def scalar(self) -> float | None:
        """Value of a constant float32, int8 or uint8 scalar, None if it is no such thing."""
        code = {"float32": "<f4", "int8": "i1", "uint8": "u1"}.get(self.stored_dtype)
        if self.data is None or not self.data.size or code is None or math.prod(self.shape) != 1:
            return None
        return (float(self.data.view(code)[0]) - self.zero_point) * self.scale


@dataclass(frozen=True, slots=True)
class Call:
    """One operator of a file: its inputs (None where one is left out), first output and options."""

    inputs: tuple[FileTensor | None, ...]
    output: FileTensor
    options: Table | None
    operator: Table

    def __getitem__(self, place: int) -> FileTensor:
        tensor = self.inputs[place] if place < len(self.inputs) else None
        if tensor is None:
            raise DamagedBuffer(f"the operator of {self.output.name!r} lacks its input {place}")
        return tensor

    def has(self, place: int) -> bool:
        return place < len(self.inputs) and self.inputs[place] is not None

    def option(self, place: int, format_: str, default: int = 0) -> int:
        return default if self.options is None else self.options.scalar(place, format_, default)

    def positive(self, *places: int, default: int = 0) -> tuple[int, ...]:
        """Options that count something, as 32-bit integers."""
        values = tuple(self.option(place, "i", default) for place in places)
        if min(values) < 1:
            raise DamagedBuffer(
                f"the operator of {self.output.name!r} has a stride, window or dilation below 1: "
                f"{values}"
            )
        return values


@dataclass(frozen=True, slots=True)
class Reading:
    """An operator of a file in the words of a Graph.

    Args:
        inputs: places of the inputs that are tensors of the network.
        activation: code of the fused activation.
        shape: of the output, where the file need not say it.
    """

    op: str
    inputs: tuple[int, ...] = (0,)
    weights: Shape | None = None
    attributes: dict[str, Any] = field(default_factory=dict)
    activation: int = 0
    shape: Shape | None = None
