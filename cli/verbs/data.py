"""``mnasfpn data``: what is odd about a dataset, and other forms made into COCO's."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...errors import InvalidInput
from .. import options
from ..console import command, print_table, progress, say, to_json

if TYPE_CHECKING:
    from ...models.data.coco import CocoSplit

PARTS = ("train", "val", "test")
UNUSABLE = 2  # exit code of a check that found what refuses the data


@click.group()
def data() -> None:
    """Check a dataset, or convert one into COCO's form."""


@command
@click.argument("folder", type=options.FILE, required=False)
@options.dataset_files
def check(
    folder: Path | None,
    train_json: Path | None,
    val_json: Path | None,
    images: Path | None,
    skip_bad: bool,
    as_json: bool,
) -> Any:
    """Read every annotation and every image's header, and list what is odd.

    FOLDER is in one of the layouts of docs/data.md. Exits with 2 if something of it cannot be used.
    """
    from ...models.data.coco import survey
    from ...models.data.findings import KINDS
    from ..datasets import dataset

    given = dataset(folder, train_json, val_json, images)
    found: dict[str, CocoSplit] = {}
    with progress("checking", quiet=as_json) as report:
        for part in PARTS if folder else given:
            if part not in given and not _has(folder, part):
                continue
            classes = found["train"].classes if "train" in found else None
            where = given.get(part, folder)
            assert where is not None
            found[part] = survey(where, part, classes, skip_bad=skip_bad, progress=report)
    if not found:
        assert folder is not None
        survey(folder, "train")  # says what was looked for
    if not as_json:
        for part, split in found.items():
            _print(part, split)
    unusable = sum(split.findings.count("refused") for split in found.values())
    result = {
        part: {
            "annotations": str(split.annotations),
            "images": len(split),
            "boxes": sum(len(example.boxes) for example in split.examples),
            "classes": split.classes,
            "findings": [
                {
                    "kind": kind,
                    "outcome": KINDS[kind].outcome,
                    "count": len(places),
                    "places": places,
                    "fix": KINDS[kind].fix,
                }
                for kind, places in split.findings.places.items()
            ],
        }
        for part, split in found.items()
    }
    if unusable:
        if as_json:
            click.echo(to_json(result))
        sys.exit(UNUSABLE)
    return result


def _has(folder: Path | None, part: str) -> bool:
    from ...models.data.layouts import locate

    try:
        locate(folder or Path(), part)
    except InvalidInput:
        return False
    return True


def _print(part: str, split: CocoSplit) -> None:
    say(f"{part}: {split}", "bold")
    lines = list(split.findings.lines("refused", "left out", "mended", "noted"))
    for line in lines or ["nothing odd"]:
        say(f"  {line}")


@command
@click.argument("source", type=options.FILE)
@click.argument("out", type=options.FILE)
@click.option("--from", "form", type=click.Choice(("voc", "yolo")), help="By default, what it is.")
def convert(source: Path, out: Path, form: Any, as_json: bool) -> Any:
    """Make COCO's form of a Pascal VOC or YOLO folder.

    SOURCE is the folder to convert, OUT a new one; images are linked where possible, else copied.
    """
    from ...models.data.conversion import convert as convert_folder

    with progress("converting", quiet=as_json) as report:
        counts = convert_folder(source, out, form, report)
    if not as_json:
        print_table(
            f"{out}: in COCO's form",
            ("part", "images", "boxes"),
            [(part, *each) for part, each in counts.items()],
            words=("part",),
        )
    return {"folder": str(out), "parts": counts}


data.add_command(check)
data.add_command(convert)
