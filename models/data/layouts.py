"""Where the annotations and the images of a dataset's part lie, in the layouts people have."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...errors import InvalidInput

#: A part's names: ours, COCO's, Roboflow's, Datumaro's and what people write. Case does not count.
NAMES = {
    "train": ("train", "training", "train2017", "train2014"),
    "val": ("val", "valid", "validation", "val2017", "val2014"),
    "test": ("test", "testing", "test2017"),
}
#: Below the data set's folder, in the order tried, for each name of the part.
ANNOTATIONS = (
    "annotations/instances_{name}.json",  # COCO, Datumaro, CVAT
    "{name}.json",  # ours
    "annotations/{name}.json",
    "{name}/_annotations.coco.json",  # Roboflow
    "{name}/annotations.json",
    "{name}/labels.json",  # FiftyOne
    "instances_{name}.json",
)
#: Where a part's images may lie, for each of its names.
IMAGES = ("{name}", "images/{name}", "images", "{name}/images", "{name}/data", "data", ".")


@dataclass(frozen=True, slots=True)
class Located:
    """One part of a data set.

    Args:
        annotations: its instances JSON.
        folders: that its images may lie in, in the order looked in; there is one at least.
    """

    annotations: Path
    folders: tuple[Path, ...]

    def image(self, file_name: str) -> Path | None:
        """The file of an image; None where no folder has it.

        Some tools write folders in front of names that are not on this machine: they are left out
        one after the other.
        """
        parts = Path(file_name.replace("\\", "/")).parts
        for first in range(len(parts)):
            below = Path(*parts[first:])
            if below.is_absolute() or ".." in below.parts:
                continue
            for folder in self.folders:
                if (folder / below).is_file():
                    return folder / below
        return None


def locate(folder: Path, split: str) -> Located:
    """One part of a data set below a folder, in any of the layouts above.

    Raises:
        InvalidInput: there is none; the message says what was looked for, and what is there.
    """
    names = names_of(split)
    for pattern in ANNOTATIONS:
        for name in names:
            path = _existing(folder, pattern.format(name=name))
            if path is not None:
                return Located(path, tuple(_image_folders(folder, path, names)))
    looked = ", ".join(pattern.format(name=split) for pattern in ANNOTATIONS)
    near = (path for pattern in ("*.json", "*/*.json") for path in folder.glob(pattern))
    there = sorted(path.relative_to(folder).as_posix() for path in near)
    raise InvalidInput(
        f"{folder} holds no split {split!r} in COCO's layout; expected one of {looked} there "
        f"(also with {', '.join(names[1:]) or 'no other name'} for {split}), found "
        f"{', '.join(there[:5]) or 'no .json'}; name the files with --train-json, --val-json and "
        "--images, or convert VOC and YOLO folders with `mnasfpn data convert`"
    )


def named(annotations: Path, images: Path | None) -> Located:
    """A part whose files are named: its images lie in a folder, or beside the annotations."""
    return Located(annotations, (images,) if images else (annotations.parent,))


def names_of(split: str) -> tuple[str, ...]:
    """What a part may be called, the asked name first."""
    alike = next((names for names in NAMES.values() if split.lower() in names), ())
    return (split, *(name for name in alike if name != split))


def _image_folders(folder: Path, annotations: Path, names: tuple[str, ...]) -> Iterator[Path]:
    candidates = [pattern.format(name=name) for pattern in IMAGES for name in names]
    existing = (_existing(folder, candidate) for candidate in candidates)
    found = [path for path in existing if path is not None and path.is_dir()]
    if annotations.parent != folder / "annotations":
        found.append(annotations.parent)
    yield from dict.fromkeys(found)


def _existing(folder: Path, below: str) -> Path | None:
    """A path below a folder; upper and lower case do not count. None where there is none."""
    exact = folder / below
    if exact.exists():
        return exact
    for part in Path(below).parts:
        if not folder.is_dir():
            return None
        alike = sorted(path for path in folder.iterdir() if path.name.lower() == part.lower())
        if not alike:
            return None
        folder = alike[0]
    return folder
