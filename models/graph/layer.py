"""Layer: one operator of a Graph, checked against the table of operators."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ...errors import InvalidGraph
from .attributes import DEFAULT, Attributes, Shape
from .operators import OPS, UNRULED


@dataclass(frozen=True, slots=True)
class Layer:
    """One operator of a graph.

    Args:
        name: unique in its graph; its first path part says where it belongs
            (``backbone/...``, ``head/...``, ``predictor/...``).
        op: a key of :data:`mnasfpn.models.graph.operators.OPS`.
        inputs: names of the layers it reads.
        shape: output shape, NHWC with batch 1.
        weights: kernel shape or None: conv (kh, kw, in, out), depthwise (kh, kw, in, multiplier),
            dense (in, out).
        dtype: of the output; float32 unless the graph came from a quantised file.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    shape: Shape
    weights: Shape | None = None
    attributes: Attributes = DEFAULT
    dtype: str = "float32"

    def __post_init__(self) -> None:
        op = OPS.get(self.op)
        if op is None:
            raise InvalidGraph(
                f"layer {self.name!r}: no operator is called {self.op!r}; known: {', '.join(OPS)}"
            )
        least, most = op.arity
        if not least <= len(self.inputs) <= most:
            raise InvalidGraph(
                f"layer {self.name!r}: {self.op} takes {least} to {most} inputs, "
                f"got {len(self.inputs)}"
            )
        rank = None if self.weights is None else len(self.weights)
        if rank != op.weights_rank:
            raise InvalidGraph(
                f"layer {self.name!r}: {self.op} takes a kernel of rank {op.weights_rank}, "
                f"got {self.weights}"
            )
        sizes = (*self.shape, *(self.weights or ()))
        if min(sizes, default=1) < 1 and self.op not in UNRULED:
            raise InvalidGraph(
                f"layer {self.name!r}: sizes must be positive, got {self.shape}, {self.weights}"
            )

    @property
    def part(self) -> str:
        """``backbone``, ``head`` or ``predictor`` in a detector."""
        return self.name.split("/", 1)[0]

    @property
    def weights_from(self) -> str:
        """Name of the layer that owns this one's kernel and bias."""
        return self.attributes.shares or self.name

    @property
    def madds(self) -> int:
        """Multiply-accumulates of one inference (paper's convention, see :mod:`.operators`)."""
        return 0 if self.weights is None else OPS[self.op].madds(self.shape, self.weights)

    @property
    def filters(self) -> int:
        """Number of output channels, which is the length of bias and batch norm vectors."""
        return self.shape[-1]

    @property
    def elements(self) -> int:
        return math.prod(self.shape)
