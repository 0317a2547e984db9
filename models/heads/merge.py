"""Merging two or more features of the same shape: a sum, or squeeze-excite."""

from __future__ import annotations

from typing import NamedTuple

from ..genotype import Merge
from ..graph.attributes import Activation
from ..graph.builder import GraphBuilder


class Feature(NamedTuple):
    """A layer of a head, and the level of the pyramid that it comes from."""

    layer: str
    level: int


def merge(
    builder: GraphBuilder,
    name: str,
    inputs: list[Feature],
    kind: Merge,
    activation: Activation | None = None,
) -> str:
    """Merge features, then apply the activation; the result is called ``name``.

    In ``se`` (NAS-FPN's global pooling) the coarser input, or the first one at equal levels, is
    squeezed by a global max, and its sigmoid gates the other:
    coarser + sigmoid(max(coarser)) * other.

    Args:
        inputs: all resampled to the same shape; two for ``se``.
    """
    if kind == "se":
        first, second = inputs
        coarse, fine = (first, second) if first.level >= second.level else (second, first)
        block = name.rpartition("/")[0]
        squeezed = builder.unary(f"{block}/squeeze", "global_max_pool", coarse.layer)
        gate = builder.unary(f"{block}/gate", "sigmoid", squeezed)
        gated = builder.mul(f"{block}/gated", fine.layer, gate)
        return builder.add(name, coarse.layer, gated, activation=activation)
    return add_all(builder, name, [feature.layer for feature in inputs], activation)


def add_all(
    builder: GraphBuilder, name: str, sources: list[str], activation: Activation | None = None
) -> str:
    """Sum of two or more layers, first to last; only the last addition has the activation."""
    x, *others = sources
    *early, last = others
    for position, other in enumerate(early, start=1):
        x = builder.add(f"{name}{position}", x, other)
    return builder.add(name, x, last, activation=activation)
