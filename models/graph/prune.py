"""Connectivity: what is needed for the outputs that are wanted, and layers without the rest."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable
from dataclasses import replace
from typing import TypeVar

from .layer import Layer

T = TypeVar("T", bound=Hashable)


def reached(wanted: Iterable[T], sources: Callable[[T], Iterable[T]]) -> set[T]:
    """All that what is wanted depends on, itself included.

    Every decision of what is used is this walk: over the layers of a graph
    (:meth:`.graph.Graph.prune`) and over the blocks of a cell (:func:`..heads.cell.used_blocks`).
    """
    found: set[T] = set()
    stack = list(wanted)
    while stack:
        item = stack.pop()
        if item not in found:
            found.add(item)
            stack.extend(sources(item))
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
