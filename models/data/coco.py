"""Datasets in COCO's form: an instances JSON and a folder of images, checked before they are used.

:mod:`.layouts` finds the files, :mod:`.instances` reads the annotations, :mod:`.image_files` the
headers of the images, and :mod:`.findings` says what was odd.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...progress import Progress, silent
from .findings import Findings
from .image_files import SIXTEEN_BITS, BadImage, read_header
from .instances import Annotation, Category, ImageEntry, Instances, read_instances
from .layouts import Located, locate

READERS = 8  # threads that wait for headers of image files
UNSAID_S = 2.0  # reading that takes no longer is not worth a bar
#: A box that reaches out of its image by less than this is rounding, and not worth a word.
CUT_PIXELS = 1.0


@dataclass(frozen=True)
class GroundTruth:
    """All of an image's annotations, as COCO's evaluation counts them: crowds and empty boxes too.

    Args:
        boxes: [K, 4] (x, y, width, height) in pixels, not cut to the image.
        labels: [K] 1 .. number of classes.
        areas: [K] of the objects, in pixels.
        crowd: [K] whether a box marks a crowd.
    """

    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    areas: NDArray[np.float64]
    crowd: NDArray[np.bool_]


@dataclass(frozen=True)
class Example:
    """One image and what is in it.

    Args:
        image_id: as in the JSON.
        path: image file.
        size: (height, width) in pixels.
        boxes: [M, 4] (ymin, xmin, ymax, xmax), normalised, all of positive area.
        labels: [M] 1 .. number of classes.
        truth: what the evaluation compares with.
        as_seen: the boxes are about the image as viewers turn it, not as it is stored.
    """

    image_id: int
    path: Path
    size: tuple[int, int]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    truth: GroundTruth
    as_seen: bool = True


@dataclass(frozen=True)
class CocoSplit:
    """One split of a dataset.

    Args:
        annotations: the instances JSON that it was read from.
        examples: every image, annotated or not, by id.
        classes: names of labels 1, 2, ...
        findings: what was put right, left out, or is worth a look.
    """

    annotations: Path
    examples: tuple[Example, ...]
    classes: tuple[str, ...]
    findings: Findings

    def __len__(self) -> int:
        return len(self.examples)

    def __str__(self) -> str:
        """One line for people."""
        boxes = sum(len(example.boxes) for example in self.examples)
        return f"{self.annotations}: {len(self)} images, {boxes} boxes, {len(self.classes)} classes"


def joined_splits(splits: Sequence[CocoSplit]) -> CocoSplit:
    """Several parts with the same classes as one; images are numbered anew."""
    if len(splits) == 1:
        return splits[0]
    examples = [example for split in splits for example in split.examples]
    return replace(
        splits[0],
        examples=tuple(replace(e, image_id=number) for number, e in enumerate(examples, start=1)),
    )


def read_coco(
    data: Path | str | Located,
    split: str,
    classes: Sequence[str] | None = None,
    *,
    skip_bad: bool = False,
    progress: Progress = silent,
) -> CocoSplit:
    """One split of a dataset, with the header of every image looked at.

    Boxes are cut to the image. What cannot be used is left out and counted in ``findings``.

    Args:
        data: a folder in one of the layouts of :mod:`.layouts`, or the files themselves.
        classes: of the part that was trained on: labels are theirs, matched by name.
        skip_bad: images that cannot be used are left out instead of refused.
        progress: called as the headers are read, if that takes long.

    Raises:
        InvalidInput: there is no such split, the JSON is damaged or cannot be used, or an image
            cannot; the message has every kind of fault with the places where it was found first.
    """
    split_data = survey(data, split, classes, skip_bad=skip_bad, progress=progress)
    split_data.findings.refuse()
    return split_data


def survey(
    data: Path | str | Located,
    split: str,
    classes: Sequence[str] | None = None,
    *,
    skip_bad: bool = False,
    progress: Progress = silent,
) -> CocoSplit:
    """As :func:`read_coco`, but what refuses it is among the findings and not raised.

    Raises:
        InvalidInput: there is no such split, or the JSON cannot be read as one.
    """
    located = data if isinstance(data, Located) else locate(Path(data), split)
    findings = Findings(located.annotations)
    instances = read_instances(located.annotations, findings)
    if findings.count("refused"):
        return CocoSplit(located.annotations, (), (), findings)
    label_of, names = _labels(instances.categories, classes, findings)
    by_image: defaultdict[int, list[Annotation]] = defaultdict(list)
    for annotation in instances.annotations:
        if annotation.category in label_of:
            by_image[annotation.image].append(annotation)
    images = _checked_images(instances, located, findings, skip_bad, progress)
    examples = tuple(_example(image, by_image[image.id], label_of, findings) for image in images)
    _check_whole(instances, examples, findings)
    return CocoSplit(located.annotations, examples, names, findings)


def _labels(
    categories: Sequence[Category], classes: Sequence[str] | None, findings: Findings
) -> tuple[dict[int, int], tuple[str, ...]]:
    """Category id -> label, and the names of the labels."""
    if classes is None:
        names = tuple(category.name for category in categories)
        return {c.id: label for label, c in enumerate(categories, start=1)}, names
    free = defaultdict(list)  # a name may stand there twice
    for label, name in enumerate(classes, start=1):
        free[name].append(label)
    labels = {}
    for category in categories:
        if free[category.name]:
            labels[category.id] = free[category.name].pop(0)
        else:
            findings.add("another class", repr(category.name))
    return labels, tuple(classes)


@dataclass(frozen=True, slots=True)
class _CheckedImage:
    id: int
    path: Path
    size: tuple[int, int]
    as_seen: bool


def _checked_images(
    instances: Instances,
    located: Located,
    findings: Findings,
    skip_bad: bool,
    progress: Progress,
) -> list[_CheckedImage]:
    checked = []
    begun = time.monotonic()
    look = partial(_look, located)
    with ThreadPoolExecutor(READERS) as pool:
        for done, found in enumerate(pool.map(look, instances.images), start=1):
            if time.monotonic() - begun > UNSAID_S:
                progress(done, len(instances.images), "headers of images")
            image, kinds = found
            for kind, place in kinds:
                findings.add("bad image left out" if image is None and skip_bad else kind, place)
            if image is not None:
                checked.append(image)
    return checked


def _look(
    located: Located, entry: ImageEntry
) -> tuple[_CheckedImage | None, list[tuple[str, str]]]:
    """An image as it can be used, or None; and what is odd about it."""
    path = located.image(entry.file_name)
    if path is None:
        folders = ", ".join(map(str, located.folders))
        return None, [("image missing", f"{entry.file_name!r}, looked for in {folders}")]
    try:
        header = read_header(path)
    except BadImage as error:
        return None, [(error.kind, str(error))]
    odd = []
    if header.mode in SIXTEEN_BITS:
        odd.append(("sixteen bits", str(path)))
    size = entry.size
    if size is None:
        odd.append(("size filled in", str(path)))
        size = header.seen
    if size == header.seen:
        return _CheckedImage(entry.id, path, size, as_seen=True), odd
    if size == header.stored:
        odd.append(("stored orientation", str(path)))
        return _CheckedImage(entry.id, path, size, as_seen=False), odd
    (height, width), (real_height, real_width) = size, header.seen
    place = f"{path} has {real_width} x {real_height} pixels, its entry says {width} x {height}"
    return None, [("size differs", place)]


def _example(
    image: _CheckedImage,
    annotations: Sequence[Annotation],
    label_of: dict[int, int],
    findings: Findings,
) -> Example:
    height, width = image.size
    boxes, labels = [], []
    for annotation in annotations:
        x, y, w, h = annotation.box
        place = f"image {image.path.name}: {list(annotation.box)}"
        if annotation.crowd:
            findings.add("crowd", place)
            continue
        if w <= 0 or h <= 0:
            findings.add("box without area", place)
            continue
        top, left = max(y / height, 0.0), max(x / width, 0.0)
        bottom, right = min((y + h) / height, 1.0), min((x + w) / width, 1.0)
        if bottom <= top or right <= left:
            findings.add("box outside", place)
            continue
        if max(-x, -y, x + w - width, y + h - height) > CUT_PIXELS:
            findings.add("box cut", place)
        boxes.append((top, left, bottom, right))
        labels.append(label_of[annotation.category])
    truth = GroundTruth(
        np.array([a.box for a in annotations], np.float64).reshape(-1, 4),
        np.array([label_of[a.category] for a in annotations], np.int64),
        np.array([a.area for a in annotations], np.float64),
        np.array([a.crowd for a in annotations], np.bool_),
    )
    corners = np.array(boxes, np.float32).reshape(-1, 4)
    # What float32 makes of a box may have no area where the box had a little.
    kept = ((corners[:, 2:] - corners[:, :2]) > 0).all(axis=1)
    return Example(
        image_id=image.id,
        path=image.path,
        size=image.size,
        boxes=corners[kept],
        labels=np.array(labels, np.int64)[kept],
        truth=truth,
        as_seen=image.as_seen,
    )


def _check_whole(instances: Instances, examples: Sequence[Example], findings: Findings) -> None:
    """Faults of a part as a whole."""
    boxes = np.array([a.box for a in instances.annotations], np.float64).reshape(-1, 4)
    inside = (boxes[:, :2] >= 0) & (boxes[:, 2:] > 0) & (boxes[:, :2] + boxes[:, 2:] <= 1)
    if not examples:
        findings.add("no image", f"{len(instances.images)} of {len(instances.images)} left out")
    elif len(boxes) and inside.all():
        findings.add("normalised boxes", f"{len(boxes)} boxes, the first {boxes[0].tolist()}")
    elif len(boxes) and not any(len(example.boxes) for example in examples):
        findings.add("nothing to learn", f"{len(boxes)} of {len(boxes)} boxes are left out")
