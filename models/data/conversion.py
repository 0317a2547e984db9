"""Pascal VOC and YOLO folders made into COCO's form, which is all that the rest reads."""

from __future__ import annotations

import math
import os
import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml

from ...errors import InvalidInput
from ...progress import Progress, silent
from ...storage.atomic import whole_or_nothing
from .image_files import BadImage, read_header
from .layouts import NAMES

Form = Literal["voc", "yolo"]
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
ALL = "train"  # the part that everything goes into where a folder names no parts


@dataclass(frozen=True)
class FoundImage:
    """One image with its boxes, of any form.

    Args:
        size: (height, width) in pixels as viewers see it.
        objects: (class name, (x, y, width, height) in pixels).
    """

    path: Path
    size: tuple[int, int]
    objects: tuple[tuple[str, tuple[float, float, float, float]], ...]


@dataclass
class Found:
    """A folder's parts, and its classes where it lists them."""

    parts: dict[str, list[FoundImage]] = field(default_factory=dict)
    classes: list[str] = field(default_factory=list)


def convert(
    source: Path, out: Path, form: Form | None = None, progress: Progress = silent
) -> dict[str, tuple[int, int]]:
    """Write a folder in COCO's form; images are linked where possible, else copied.

    Args:
        source: a VOC folder (``Annotations``, ``JPEGImages``, ``ImageSets/Main``) or a YOLO one
            (``data.yaml`` with names and parts; a label file of ``class xc yc width height`` or of
            a class and a polygon beside each image, under ``labels`` instead of ``images``).
        out: appears whole, or not at all.
        form: by default what the source looks like.

    Returns:
        part -> images, boxes.

    Raises:
        InvalidInput: the source is neither, damaged, or the folder is there already.
    """
    if out.exists():
        raise InvalidInput(f"{out} exists; choose a new folder for the converted data")
    form = form or _form(source)
    found = READERS[form](source)
    if not any(found.parts.values()):
        raise InvalidInput(f"{source}: no images with annotations were found; expected {form}")
    total = sum(len(images) for images in found.parts.values())
    classes = found.classes or sorted(
        {name for images in found.parts.values() for image in images for name, _ in image.objects}
    )
    if not classes:
        raise InvalidInput(f"{source}: no object has a class name")
    numbers = {name: number for number, name in enumerate(classes, start=1)}
    counts = {}
    done = 0
    out.parent.mkdir(parents=True, exist_ok=True)
    with whole_or_nothing(out) as folder:
        (folder / "annotations").mkdir(parents=True)
        for part, images in found.parts.items():
            (folder / part).mkdir()
            entries: list[dict[str, Any]] = []
            annotations: list[dict[str, Any]] = []
            for number, image in enumerate(images, start=1):
                name = f"{number:06}_{image.path.name}"  # names may repeat between folders
                _link(image.path, folder / part / name)
                height, width = image.size
                entries.append({"id": number, "file_name": name, "width": width, "height": height})
                annotations += (
                    {
                        "image_id": number,
                        "category_id": numbers[label],
                        "bbox": box,
                        "area": box[2] * box[3],
                        "iscrowd": 0,
                    }
                    for label, box in image.objects
                )
                done += 1
                progress(done, total, part)
            for number, annotation in enumerate(annotations, start=1):
                annotation["id"] = number
            categories = [{"id": number, "name": name} for name, number in numbers.items()]
            instances = {"images": entries, "annotations": annotations, "categories": categories}
            (folder / "annotations" / f"instances_{part}.json").write_bytes(
                msgspec.json.encode(instances)
            )
            counts[part] = len(entries), len(annotations)
    return counts


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source.resolve(), target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)


def _form(source: Path) -> Form:
    if (source / "Annotations").is_dir():
        return "voc"
    if any(source.glob("*.yaml")) or any(source.glob("*.yml")) or (source / "labels").is_dir():
        return "yolo"
    raise InvalidInput(
        f"{source} looks neither like Pascal VOC (a folder Annotations) nor like YOLO (a data.yaml "
        "or a folder labels); say which with --from, or see docs/data.md for COCO's layouts"
    )


# -- Pascal VOC


def _read_voc(source: Path) -> Found:
    lists = {path.stem: path for path in sorted((source / "ImageSets" / "Main").glob("*.txt"))}
    parts = {name: path for name, path in lists.items() if name in NAMES}
    stems = {
        name: [line.split()[0] for line in path.read_text().splitlines() if line.split()]
        for name, path in parts.items()
    }
    if not stems:
        stems = {ALL: sorted(path.stem for path in (source / "Annotations").glob("*.xml"))}
    return Found({part: [_voc_image(source, s) for s in names] for part, names in stems.items()})


def _voc_image(source: Path, stem: str) -> FoundImage:
    path = source / "Annotations" / f"{stem}.xml"
    try:
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError) as error:
        raise InvalidInput(f"{path}: no annotation of Pascal VOC: {error}") from None
    image = _voc_file(source, stem, root.findtext("filename") or "")
    objects = []
    for item in root.iter("object"):
        name, bounds = item.findtext("name"), item.find("bndbox")
        try:
            left, top, right, bottom = (
                float(bounds.findtext(side) or "")  # type: ignore[union-attr]
                for side in ("xmin", "ymin", "xmax", "ymax")
            )
        except (AttributeError, ValueError):
            raise InvalidInput(
                f"{path}: object {name!r} has no bndbox of four numbers xmin, ymin, xmax, ymax"
            ) from None
        # VOC counts pixels from 1 and includes the last one.
        objects.append((name or "", (left - 1, top - 1, right - left + 1, bottom - top + 1)))
    return FoundImage(image, _size(image), tuple(objects))


def _voc_file(source: Path, stem: str, name: str) -> Path:
    folder = source / "JPEGImages"
    candidates = [folder / Path(name).name, *(folder / f"{stem}{end}" for end in IMAGE_SUFFIXES)]
    for path in candidates:
        if path.is_file():
            return path
    raise InvalidInput(f"{source}: the image of annotation {stem!r} is not in {folder}")


# -- YOLO


def _read_yolo(source: Path) -> Found:
    settings = _yolo_settings(source)
    classes = _yolo_classes(source, settings)
    root = source / str(settings.get("path", ""))
    if not root.is_dir():
        root = source  # `path` names a place on the machine that exported it
    parts = {}
    for part, names in NAMES.items():
        images = sorted(set(_yolo_images(source, root, settings, names)))
        if images:
            parts[part] = [_yolo_image(path, classes) for path in images]
    if not parts:
        images = sorted(set(_image_files(source / "images")))
        parts[ALL] = [_yolo_image(path, classes) for path in images]
    return Found(parts, classes)


def _yolo_settings(source: Path) -> dict[str, Any]:
    path = next((p for end in ("data.yaml", "*.yaml", "*.yml") for p in source.glob(end)), None)
    if path is None:
        return {}
    try:
        settings = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"{path}: no YAML: {error}") from None
    if not isinstance(settings, dict):
        raise InvalidInput(f"{path}: expected names and the parts' folders")
    return settings


def _yolo_classes(source: Path, settings: dict[str, Any]) -> list[str]:
    names = settings.get("names")
    if isinstance(names, dict):
        names = [names[key] for key in sorted(names)]
    listed = next(source.glob("**/classes.txt"), None)
    if names is None and listed is not None:
        names = [line.strip() for line in listed.read_text().splitlines() if line.strip()]
    if not isinstance(names, list) or not names:
        raise InvalidInput(
            f"{source}: the class names are missing; expected names: [...] in data.yaml, or a "
            "classes.txt"
        )
    return [str(name) for name in names]


def _yolo_images(
    source: Path, root: Path, settings: dict[str, Any], names: Sequence[str]
) -> Iterator[Path]:
    for name in names:
        given = settings.get(name, [])
        for entry in given if isinstance(given, list) else [given]:
            # Roboflow writes ../train/images for train/images.
            for base in (root, source):
                for below in (Path(str(entry)), Path(*Path(str(entry)).parts[1:])):
                    yield from _image_files(base / below)
        for folder in (source / "images" / name, source / name / "images"):
            yield from _image_files(folder)


def _image_files(place: Path) -> Iterator[Path]:
    """Of a folder, or of a list of files."""
    if place.is_dir():
        for path in place.rglob("*"):
            if path.suffix.lower() in IMAGE_SUFFIXES:
                yield path.resolve()
    elif place.suffix == ".txt" and place.is_file():
        for line in place.read_text().splitlines():
            path = place.parent / line.strip()
            if line.strip() and path.is_file():
                yield path.resolve()


def _yolo_image(path: Path, classes: Sequence[str]) -> FoundImage:
    height, width = size = _size(path)
    parts = list(path.parts)
    if "images" in parts:
        last = len(parts) - 1 - parts[::-1].index("images")
        parts[last] = "labels"
    labels = Path(*parts).with_suffix(".txt")
    lines = labels.read_text().splitlines() if labels.is_file() else []  # none: background
    objects = []
    for number, line in enumerate(lines, start=1):
        if not line.split():
            continue
        try:
            kind, *values = line.split()
            numbers = [float(value) for value in values]
            name = classes[int(kind)] if int(kind) >= 0 else ""
            box = _yolo_box(numbers)
        except (ValueError, IndexError):
            box, name = None, ""
        if box is None or not name:
            raise InvalidInput(
                f"{labels}, line {number}: {line!r} is neither class xc yc width height nor a "
                f"polygon, in shares of the image, with a class from 0 to {len(classes) - 1}"
            )
        x, y, w, h = box
        objects.append((name, (x * width, y * height, w * width, h * height)))
    return FoundImage(path, size, tuple(objects))


def _yolo_box(numbers: Sequence[float]) -> tuple[float, float, float, float] | None:
    if not all(map(math.isfinite, numbers)):
        return None
    if len(numbers) == 4:
        x, y, width, height = numbers
        return x - width / 2, y - height / 2, width, height
    if len(numbers) >= 6 and len(numbers) % 2 == 0:
        xs, ys = numbers[0::2], numbers[1::2]
        return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)
    return None


def _size(path: Path) -> tuple[int, int]:
    try:
        return read_header(path).seen
    except BadImage as error:
        raise InvalidInput(f"{error}; replace or remove it, with its annotation") from None


READERS: dict[Form, Callable[[Path], Found]] = {"voc": _read_voc, "yolo": _read_yolo}
