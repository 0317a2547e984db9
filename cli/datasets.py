"""The dataset that a command was given: a folder, or the files of its parts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InvalidInput

if TYPE_CHECKING:
    from ..models.data.layouts import Located


def dataset(
    folder: Path | None, train_json: Path | None, val_json: Path | None, images: Path | None
) -> dict[str, Located]:
    """Part -> its files, of those parts whose annotations are named.

    Raises:
        InvalidInput: neither a folder nor annotations were given, or a file is not there.
    """
    from ..models.data.layouts import named

    given = {
        part: path for part, path in (("train", train_json), ("val", val_json)) if path is not None
    }
    if folder is None and not given:
        raise InvalidInput(
            "no dataset was given; name its folder, or its files with --train-json, --val-json and "
            "--images"
        )
    for path in given.values():
        if not path.is_file():
            raise InvalidInput(f"there is no file of annotations {str(path)!r}")
    for place in (folder, images):
        if place is not None and not place.is_dir():
            raise InvalidInput(f"there is no folder {str(place)!r}")
    return {part: named(path, images or folder) for part, path in given.items()}


def part_of(
    split: str,
    folder: Path | None,
    train_json: Path | None,
    val_json: Path | None,
    images: Path | None,
) -> Path | Located:
    """Where one part is.

    Raises:
        InvalidInput: as :func:`dataset`, or that part was not given.
    """
    given = dataset(folder, train_json, val_json, images)
    where = given.get(split, folder)
    if where is None:
        raise InvalidInput(
            f"the part {split!r} was not given; add --data with the dataset's folder, or "
            "--train-json for train and --val-json for val"
        )
    return where
