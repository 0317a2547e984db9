"""Connectivity: what is needed for the outputs that are wanted, and layers without the rest."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable
from dataclasses import replace
from typing import TypeVar

from .layer import Layer

Feature = TypeVar("Feature", bound=Hashable)


def reached(
    wanted: Iterable[Feature], sources: Callable[[Feature], Iterable[Feature]]
) -> set[Feature]:
    """All that the wanted features depend on, themselves included.

    Every decision of what is used is this walk: over the layers of a graph
    (:meth:`.graph.Graph.prune`) and over the blocks of a cell (:func:`..heads.cell.used_blocks`).
    """
    found: set[Feature] = set()
    stack = list(wanted)
    while stack:
        feature = stack.pop()
        if feature not in found:
            found.add(feature)
            stack.extend(sources(feature))
    return found


def without_others(layers: Iterable[Layer], needed: Collection[str]) -> tuple[Layer, ...]:
    """The layers of these names, in order.

    If the owner of shared weights goes and a sharer stays, the first sharer becomes the owner.
    """
    owners: dict[str, str] = {}
    kept = []
    for layer in layers:
        if layer.name not in needed:
            continue
        owner = owners.setdefault(layer.weights_from, layer.name)
        shares = None if owner == layer.name else owner
        if shares != layer.attributes.shares:
            layer = replace(layer, attributes=replace(layer.attributes, shares=shares))
        kept.append(layer)
    return tuple(kept)
