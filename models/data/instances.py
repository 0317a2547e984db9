"""COCO's instances JSON as people's tools write it, made into what COCO's documents say.

What pycocotools accepts is accepted. What is odd is put right or left out, and counted.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from ...errors import InvalidInput
from .findings import Findings

PixelBox = tuple[float, float, float, float]  # COCO's (x, y, width, height)
TRUE_WORDS = ("1", "true", "yes")


class RawImage(msgspec.Struct):
    """As it stands in the file."""

    id: Any = None
    file_name: Any = None
    width: Any = None
    height: Any = None


class RawAnnotation(msgspec.Struct):
    """As it stands in the file; outlines are decoded only where a box must be taken from them."""

    image_id: Any = None
    category_id: Any = None
    bbox: Any = None
    area: Any = None
    iscrowd: Any = 0
    segmentation: msgspec.Raw = msgspec.Raw(b"null")


class RawCategory(msgspec.Struct):
    """As it stands in the file."""

    id: Any = None
    name: Any = None
    supercategory: Any = None


class RawInstances(msgspec.Struct):
    """The part of the file that detection reads."""

    images: list[RawImage]
    categories: list[RawCategory]
    annotations: list[RawAnnotation] = []


@dataclass(frozen=True, slots=True)
class ImageEntry:
    """One image: its id as a whole number, and its (height, width) where the file has one."""

    id: int
    file_name: str
    size: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Annotation:
    """One object, or a crowd of them, as COCO means it: pixels and whole numbers."""

    image: int
    category: int
    box: PixelBox
    area: float
    crowd: bool


@dataclass(frozen=True, slots=True)
class Category:
    """One class; ids may have gaps."""

    id: int
    name: str


@dataclass(frozen=True, slots=True)
class Instances:
    """One file of annotations: every id is defined, every box has four finite numbers."""

    images: tuple[ImageEntry, ...]
    annotations: tuple[Annotation, ...]
    categories: tuple[Category, ...]


def read_instances(path: Path, findings: Findings) -> Instances:
    """Read one file; what is odd about it, and what refuses it, is added to ``findings``.

    Raises:
        InvalidInput: it is no such file.
    """
    raw = _decode(path)
    if not raw.categories or not raw.images:
        raise InvalidInput(f"{path}: a dataset needs at least one category and one image")
    image_ids = _whole_numbers((image.id for image in raw.images), findings)
    category_ids = _whole_numbers((category.id for category in raw.categories), findings)
    images = _images(raw.images, image_ids, findings)
    categories = _categories(raw.categories, category_ids, findings)
    annotations = _annotations(raw.annotations, image_ids, category_ids, findings)
    used = {annotation.category for annotation in annotations}
    parents = {str(category.supercategory) for category in raw.categories}
    kept = []
    for category in categories:
        if category.id not in used:
            root = category.name in parents and len(categories) > 1
            findings.add("root category" if root else "category empty", repr(category.name))
            if root:
                continue
        kept.append(category)
    return Instances(images, annotations, tuple(kept))


def _decode(path: Path) -> RawInstances:
    try:
        content = path.read_bytes()
        try:
            return msgspec.json.decode(content, type=RawInstances)
        except msgspec.DecodeError:
            # Python and pandas write NaN and other encodings, which are no JSON; if it is that,
            # the second reading is of what they mean (null where there is no number).
            return msgspec.json.decode(msgspec.json.encode(json.loads(content)), type=RawInstances)
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInput(
            f"{path} is not a COCO instances file: {error}; expected a JSON object with images, "
            "annotations and categories"
        ) from None


def _key(value: Any) -> Hashable:
    """Ids that are meant to be equal are: 1, 1.0 and '1'."""
    if isinstance(value, str) and value.strip().lstrip("-").isdecimal():
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, int | str) and not isinstance(value, bool):
        return value
    return None


def _whole_numbers(values: Iterable[Any], findings: Findings) -> dict[Hashable, int]:
    """Key of an id -> the whole number that stands for it."""
    values = list(values)
    keys = [_key(value) for value in values]
    for value, key in zip(values, keys, strict=True):
        if key is None:
            findings.add("entry without id", repr(value))
        elif type(value) is not int:
            findings.add("ids mended", repr(value))
    known = [key for key in keys if key is not None]
    if all(isinstance(key, int) for key in known):
        return {key: key for key in known if isinstance(key, int)}
    return {key: number for number, key in enumerate(dict.fromkeys(known), start=1)}


def _images(
    raw: Sequence[RawImage], ids: dict[Hashable, int], findings: Findings
) -> tuple[ImageEntry, ...]:
    times = Counter(_key(image.id) for image in raw)
    for key, count in times.items():
        if count > 1 and key is not None:
            findings.add("image id twice", key)
    entries = []
    for index, image in enumerate(raw):
        key = _key(image.id)
        if not isinstance(image.file_name, str) or not image.file_name.strip("\0 "):
            findings.add("no file name", f"images[{index}]")
        elif "\0" in image.file_name:
            findings.add("no file name", f"images[{index}]: a name with a zero byte")
        elif key is not None:
            height, width = _side(image.height), _side(image.width)
            size = (height, width) if height and width else None
            entries.append(ImageEntry(ids[key], image.file_name, size))
    for name, count in Counter(entry.file_name for entry in entries).items():
        if count > 1:
            findings.add("image twice", repr(name))
    return tuple(sorted(entries, key=lambda entry: entry.id))


def _side(value: Any) -> int:
    """A number of pixels; 0 if it is none."""
    number = _number(value)
    return int(number) if number is not None and number >= 1 and number.is_integer() else 0


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _categories(
    raw: Sequence[RawCategory], ids: dict[Hashable, int], findings: Findings
) -> tuple[Category, ...]:
    by_id: dict[int, Category] = {}
    for category in raw:
        key = _key(category.id)
        if key is None:
            continue
        name = category.name
        if not isinstance(name, str):
            findings.add("category name", repr(name))
            name = str(key if name is None else name)
        found = by_id.setdefault(ids[key], Category(ids[key], name))
        if found.name != name:
            findings.add("category id twice", f"{key}: {found.name!r} and {name!r}")
    for name, count in Counter(category.name for category in by_id.values()).items():
        if count > 1:
            findings.add("category twice", repr(name))
    return tuple(sorted(by_id.values(), key=lambda category: category.id))


def _annotations(
    raw: Sequence[RawAnnotation],
    image_ids: dict[Hashable, int],
    category_ids: dict[Hashable, int],
    findings: Findings,
) -> tuple[Annotation, ...]:
    annotations = []
    for index, annotation in enumerate(raw):
        place = f"annotations[{index}]"
        image = image_ids.get(_key(annotation.image_id))
        category = category_ids.get(_key(annotation.category_id))
        if image is None:
            findings.add("unknown image", f"{place}: {annotation.image_id!r}")
            continue
        if category is None:
            findings.add("unknown category", f"{place}: {annotation.category_id!r}")
            continue
        box = _box(annotation.bbox)
        if box is None:
            box = _outline_box(annotation.segmentation)
            findings.add("no box" if box is None else "box from outline", place)
            if box is None:
                continue
        area = _number(annotation.area)
        if area is None or area < 0 or isinstance(annotation.area, str):
            findings.add("area filled in", place)
            area = max(box[2], 0.0) * max(box[3], 0.0) if area is None or area < 0 else area
        crowd = annotation.iscrowd
        if type(crowd) is not int or crowd not in (0, 1):
            findings.add("crowd mark", f"{place}: {crowd!r}")
            crowd = str(crowd).strip().lower() in TRUE_WORDS or crowd == 1
        annotations.append(Annotation(image, category, box, area, bool(crowd)))
    return tuple(annotations)


def _box(value: Any) -> PixelBox | None:
    if not isinstance(value, list) or len(value) != 4:
        return None
    numbers = [_number(number) for number in value]
    if any(number is None for number in numbers):
        return None
    x, y, width, height = (float(number or 0.0) for number in numbers)
    return x, y, width, height


def _outline_box(segmentation: msgspec.Raw) -> PixelBox | None:
    """Around polygons or a mask in COCO's run length code; None if it is neither."""
    outline = msgspec.json.decode(segmentation)
    if isinstance(outline, dict):
        return _mask_box(outline)
    polygons = outline if isinstance(outline, list) else []
    if polygons and not any(isinstance(part, list) for part in polygons):
        polygons = [polygons]
    numbers = [_number(value) for part in polygons if isinstance(part, list) for value in part]
    if len(numbers) < 4 or len(numbers) % 2 or any(number is None for number in numbers):
        return None
    xs = [float(number or 0.0) for number in numbers[0::2]]
    ys = [float(number or 0.0) for number in numbers[1::2]]
    return min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)


def _mask_box(mask: dict[str, Any]) -> PixelBox | None:
    """Around the ones of a mask whose runs are counted in plain numbers.

    Runs alternate between zeros and ones down the columns. Texts, COCO's compressed form, are not
    decoded: whoever writes those writes boxes as well.
    """
    counts, size = mask.get("counts"), mask.get("size")
    if not isinstance(counts, list) or not isinstance(size, list) or len(size) != 2:
        return None
    height = _side(size[0])
    runs = [_number(count) for count in counts]
    if not height or any(run is None or run < 0 for run in runs):
        return None
    ends = [0]
    for run in runs:
        ends.append(ends[-1] + int(run or 0))
    ones = [(ends[i], ends[i + 1]) for i in range(1, len(runs), 2) if ends[i + 1] > ends[i]]
    if not ones:
        return None
    left, right = ones[0][0] // height, (ones[-1][1] - 1) // height + 1
    # A run that goes on in the next column touches the bottom and the top.
    spans = [(a % height, (b - 1) % height + 1, a // height != (b - 1) // height) for a, b in ones]
    top = min(0 if wraps else low for low, _, wraps in spans)
    bottom = max(height if wraps else high for _, high, wraps in spans)
    return float(left), float(top), float(right - left), float(bottom - top)
