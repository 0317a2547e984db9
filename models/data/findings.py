"""What is odd about a data set: by kind, with how often, where first, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ...errors import InvalidInput

#: What is done about it: nothing can be read; the thing is not used; it is used, put right as
#: told; it is used as it is, but may not be what was meant.
Outcome = Literal["refused", "left out", "mended", "noted"]
SHOWN = 3  # places named of one kind


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of oddity.

    Args:
        counts: what there are several of; empty for a fault of the data as a whole.
        says: what it is, after what is counted.
        fix: what the owner of the data can do.
    """

    counts: str
    outcome: Outcome
    says: str
    fix: str


KINDS = {
    "entry without id": Kind(
        "entries", "refused", "without an id", "give every image and every category an id"
    ),
    "image id twice": Kind(
        "image ids",
        "refused",
        "that more than one image has",
        "number the images anew, and their annotations with them",
    ),
    "no file name": Kind("images", "refused", "without a file_name", "name their files"),
    "category id twice": Kind(
        "category ids",
        "refused",
        "that categories of different names have",
        "give every category an id of its own",
    ),
    "image missing": Kind(
        "images",
        "refused",
        "whose file is in none of the folders looked in",
        "put the files there, name their folder with --images, or leave them out with --skip-bad",
    ),
    "image damaged": Kind(
        "images",
        "refused",
        "that cannot be opened or are cut short",
        "fetch them again, or leave them out with --skip-bad",
    ),
    "image too large": Kind(
        "images",
        "refused",
        "of more pixels than are read",
        "cut them into tiles or scale them down with their boxes, or use --skip-bad",
    ),
    "pixels of another kind": Kind(
        "images",
        "refused",
        "whose pixels have no known range (32 bits or floating point)",
        "save them with 8 or 16 bits, or leave them out with --skip-bad",
    ),
    "size differs": Kind(
        "images",
        "refused",
        "whose file has another size than its entry: boxes would be off",
        "correct the entries or the files, or leave them out with --skip-bad",
    ),
    "bad image left out": Kind(
        "images", "left out", "as --skip-bad asks", "see `mnasfpn data check` for the reasons"
    ),
    "image twice": Kind(
        "files", "noted", "that more than one image entry names", "leave all but one entry out"
    ),
    "size filled in": Kind(
        "images", "mended", "without a size: read from their files", "write their width and height"
    ),
    "stored orientation": Kind(
        "images",
        "noted",
        "annotated as they are stored, not as viewers turn them: used as stored",
        "remove the EXIF orientation from the files",
    ),
    "sixteen bits": Kind(
        "images", "mended", "of 16 bits: scaled to 8 bits", "save them with 8 bits"
    ),
    "ids mended": Kind(
        "ids", "mended", "that are texts or fractions: numbered anew", "use whole numbers"
    ),
    "category twice": Kind(
        "category names",
        "noted",
        "that more than one id has: each is a class of its own",
        "merge them, unless they are different things",
    ),
    "category name": Kind(
        "categories", "mended", "whose name is no text: taken as one", "name them by texts"
    ),
    "category empty": Kind(
        "categories",
        "noted",
        "without any box here",
        "leave them out of the categories, unless other parts have boxes of them",
    ),
    "root category": Kind(
        "categories",
        "left out",
        "that have no box and only stand above others",
        "leave them out of the categories",
    ),
    "unknown image": Kind(
        "annotations",
        "left out",
        "of images that the file does not define",
        "leave them out, or add the images",
    ),
    "unknown category": Kind(
        "annotations",
        "left out",
        "of categories that the file does not define",
        "leave them out, or add the categories",
    ),
    "no box": Kind(
        "annotations",
        "left out",
        "without a box of four finite numbers, and without an outline to take it from",
        "give them a bbox: [x, y, width, height] in pixels",
    ),
    "box from outline": Kind(
        "annotations", "mended", "without a box: taken from their outline", "give them a bbox"
    ),
    "box without area": Kind(
        "boxes",
        "left out",
        "without area (width or height not above 0): not trained on",
        "correct or remove them; bbox is [x, y, width, height]",
    ),
    "box outside": Kind(
        "boxes", "left out", "outside their image: not trained on", "correct or remove them"
    ),
    "box cut": Kind("boxes", "mended", "that reach out of their image: cut to it", "cut them"),
    "crowd": Kind(
        "boxes",
        "left out",
        "that mark a crowd: not trained on, and counted as COCO's evaluation has it",
        "nothing, unless they are single objects: then iscrowd is 0",
    ),
    "crowd mark": Kind(
        "annotations",
        "mended",
        "whose iscrowd is no 0 or 1: true, '1' and the like as 1, all else as 0",
        "write 0 or 1",
    ),
    "area filled in": Kind(
        "annotations", "mended", "without a usable area: taken from their box", "write areas"
    ),
    "normalised boxes": Kind(
        "",
        "refused",
        "all boxes lie within a single pixel: they seem to be shares of the image",
        "multiply x and width by the image's width, y and height by its height",
    ),
    "nothing to learn": Kind(
        "", "refused", "there is not a single usable box", "correct what was left out"
    ),
    "no image": Kind(
        "", "refused", "there is not a single usable image", "correct what was left out"
    ),
    "another class": Kind(
        "categories",
        "refused",
        "that the part trained on does not have",
        "use the same categories in both parts; they are matched by name",
    ),
}


@dataclass
class Findings:
    """What was found in one file of annotations and its images."""

    path: Path
    places: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, place: object = "") -> None:
        """One more of a kind of ``KINDS``."""
        assert kind in KINDS
        self.places.setdefault(kind, []).append(str(place))

    def __contains__(self, kind: str) -> bool:
        return kind in self.places

    def count(self, *outcomes: Outcome) -> int:
        """How many were found with one of these outcomes."""
        return sum(
            len(places) for kind, places in self.places.items() if KINDS[kind].outcome in outcomes
        )

    def lines(self, *outcomes: Outcome) -> Iterator[str]:
        """One for people of each kind with one of these outcomes, in the order of the table."""
        for name, kind in KINDS.items():
            if name in self.places and kind.outcome in outcomes:
                yield f"{self.sentence(name)}; {kind.fix}"

    def sentence(self, name: str) -> str:
        """How many of a kind, and where the first are."""
        kind, places = KINDS[name], self.places[name]
        named = [place for place in dict.fromkeys(places) if place]
        first = ", ".join(named[:SHOWN]) + (", ..." if len(named) > SHOWN else "")
        where = f" ({first})" if first else ""
        text = f"{kind.counts} {kind.says}: {len(places)}" if kind.counts else kind.says
        return f"{kind.outcome}: {text}{where}"

    def refuse(self) -> None:
        """Nothing if all of it can be used in some way.

        Raises:
            InvalidInput: something cannot; the message has all kinds of it, and what was left out.
        """
        refused = list(self.lines("refused"))
        if refused:
            raise InvalidInput(f"{self.path}: {'. '.join((*refused, *self.lines('left out')))}")
