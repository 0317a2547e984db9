"""``python -m mnasfpn.benchmarks.loading``: images a second a core, from JPEG to targets.

Beside what a training needs, the same of two other ways: a plain loop with PIL and NumPy that
computes anchors for every image, as version 0.1.0 did, and torchvision's v2 transforms where that
can be installed. All in turns, in one process on one thread.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np

from ..cli.console import command
from ..models.arrays import Floats, Indices
from ..models.data.augmentation import Augmentation, crop_boxes, flip_boxes
from ..models.data.coco import CocoSplit, read_coco
from ..models.data.loading import TrainingImages
from ..models.detection.anchors import multiscale_grid
from ..models.detection.box_coding import areas, encode, to_corners
from ..models.detection.target_assignment import POSITIVE_IOU, UNMATCHED
from ..models.networks.torch_threads import with_threads
from ..storage.atomic import write_atomically

OUT = Path(__file__).parent / "results"
SIZE = 320
ROUNDS = 7
IMAGES = 32  # of a round
BAR = 3.0  # times the plain loop


def ours(data: CocoSplit) -> Callable[[int], object]:
    """What ``mnasfpn train`` does."""
    samples = TrainingImages(data, SIZE, multiscale_grid(SIZE), 0, Augmentation())
    return lambda position: samples[position]


def plain(data: CocoSplit) -> Callable[[int], object]:
    """PIL's filtered resize, and everything anew for every image."""
    from PIL import Image

    def load(position: int) -> object:
        generator = np.random.default_rng(position)
        order = generator.permutation(len(data))
        example = data.examples[order[position % len(data)]]
        height, width = example.size
        window = (0, 0, int(0.9 * width), int(0.9 * height))
        with Image.open(example.path) as image:
            scaled = image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR, window)
        pixels = np.asarray(scaled)[:, ::-1].astype(np.float32) / 127.5 - 1
        boxes, labels = crop_boxes(example.boxes, example.labels, window, example.size)
        return pixels, plain_targets(flip_boxes(boxes), labels)

    return load


def plain_targets(boxes: Floats, labels: Indices) -> tuple[Floats, Indices]:
    """Codes and labels of anchors, with overlaps of all pairs of corners at once."""
    anchors = multiscale_grid(SIZE)
    corners = to_corners(anchors)
    low = np.maximum(boxes[:, None, :2], corners[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], corners[None, :, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=-1)
    overlap = shared / (areas(boxes)[:, None] + areas(corners)[None] - shared)
    best = overlap.argmax(axis=0)
    wanted = np.where(overlap.max(axis=0) >= POSITIVE_IOU, labels[best], UNMATCHED)
    wanted[overlap.argmax(axis=1)] = labels
    return np.where((wanted > 0)[:, None], encode(boxes[best], anchors), 0), wanted


def torchvision(data: CocoSplit) -> Callable[[int], object] | None:
    """Its v2 transforms of the image, without targets; None where it is not installed."""
    try:
        from torchvision.io import decode_image  # type: ignore[import-not-found]
        from torchvision.transforms import v2  # type: ignore[import-not-found]
    except ImportError:
        return None
    transform = v2.Compose(
        [
            v2.RandomResizedCrop(SIZE, (0.75, 1.0), (0.75, 3.0), antialias=False),
            v2.RandomHorizontalFlip(),
        ]
    )
    return lambda position: transform(decode_image(str(data.examples[position % len(data)].path)))


def measure(data: CocoSplit) -> dict[str, list[float]]:
    """Way -> milliseconds of processor time for an image, of each round."""
    ways: dict[str, Any] = {"ours": ours(data), "plain": plain(data)}
    other = torchvision(data)
    if other is not None:
        ways["torchvision v2"] = other
    found: dict[str, list[float]] = {name: [] for name in ways}
    with with_threads(1):
        for turn in range(ROUNDS):
            for name, load in ways.items():
                begun = time.process_time()
                for position in range(turn * IMAGES, (turn + 1) * IMAGES):
                    load(position)
                found[name].append(1e3 * (time.process_time() - begun) / IMAGES)
    return found


@command
@click.option("--data", type=click.Path(path_type=Path), required=True, help="A folder of JPEGs.")
@click.option("--out", type=click.Path(path_type=Path), default=OUT, help="Where results go.")
def main(data: Path, out: Path, as_json: bool) -> dict[str, object]:
    """Images a second a core."""
    split = read_coco(data, "train")
    found = measure(split)
    middle = {name: statistics.median(values) for name, values in found.items()}
    times = middle["plain"] / middle["ours"]
    lines = [
        "# How fast images are prepared",
        "",
        f"{len(split)} images of {split.examples[0].size[1]} x {split.examples[0].size[0]} pixels "
        f"and {np.mean([len(e.boxes) for e in split.examples]):.1f} boxes, at {SIZE} pixels and "
        f"19,125 anchors; {platform.machine()}, one of {os.cpu_count()} cores, processor time, "
        f"median of {ROUNDS} rounds in turns.",
        "",
        "| way | images a second a core | ms an image | slowest and fastest round |",
        "|---|---|---|---|",
        *(
            f"| {name} | {1e3 / middle[name]:.0f} | {middle[name]:.1f} | {max(values):.1f}, "
            f"{min(values):.1f} |"
            for name, values in found.items()
        ),
        "",
        f"Ours prepares {times:.1f} times as many as the plain loop (bar: {BAR:g}; "
        f"{'met' if times >= BAR else 'NOT met'})."
        + ("" if "torchvision v2" in found else " torchvision is not installed here."),
    ]
    text = "\n".join(lines) + "\n"
    write_atomically(out / "loading.json", json.dumps(found, indent=1) + "\n")
    write_atomically(out / "loading.md", text)
    if not as_json:
        click.echo(text)
    return {"ms": found, "times_plain": times}


if __name__ == "__main__":
    main(prog_name="python -m mnasfpn.benchmarks.loading")
