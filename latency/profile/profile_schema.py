"""The layout of a profile's JSON, and what profiles of older layouts call what is in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

PROFILE_SCHEMA = 3

#: Schema -> of every field renamed after it: the objects that have it (* is every entry), names.
RENAMED: dict[int, tuple[tuple[tuple[str, ...], str, str], ...]] = {
    2: (
        ((), "measuring", "campaign"),
        (("regressors", "*"), "error", "half_width"),
        (("calibration",), "error", "half_width"),
    ),
}
READABLE = (*RENAMED, PROFILE_SCHEMA)


def renewed(document: dict[str, Any]) -> dict[str, Any]:
    """The document of an older schema, its fields named as they are today."""
    for schema in range(document["schema"], PROFILE_SCHEMA):
        for path, old, new in RENAMED[schema]:
            for place in _objects(document, path):
                if old in place:
                    place[new] = place.pop(old)
    return {**document, "schema": PROFILE_SCHEMA}


def _objects(value: Any, path: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """The objects at a path; none where something else is, which a decoder will complain of."""
    if not isinstance(value, dict):
        return
    if not path:
        yield value
        return
    for key in value if path[0] == "*" else path[:1]:
        yield from _objects(value.get(key), path[1:])
