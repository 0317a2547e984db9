"""Features of a frozen backbone, computed once for some augmented copies of every image.

The head and the predictor of a detector are a small part of its work; where only they are trained,
the backbone need not be computed at every step.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...progress import Progress, silent
from ...storage.atomic import whole_or_nothing
from ..data.loading import Sample, TrainingImages, collate, epoch_order
from ..detection.target_assignment import UNMATCHED, Targets
from ..graph.graph import Graph
from ..graph.parts import features_read
from ..graph.weights import Weights
from .run_folder import load_weights, save_weights

COMPUTED_AT_ONCE = 16
TARGETS, NAMES = "targets.npz", "names.txt"


class StoredFeatures:
    """Samples whose inputs are backbone features; each epoch shows one copy of every image.

    Made by :func:`store_features`. Any number of processes may read one folder.

    Args:
        seed: of the order.
        anchors: how many the detector has.
    """

    def __init__(self, folder: Path, seed: int, anchors: int) -> None:
        self.folder, self.seed, self.anchors = folder, seed, anchors
        self.maps = {
            path.stem.replace(".", "/"): np.load(path, mmap_mode="r")
            for path in sorted(folder.glob("*.npy"))
        }  # [copies, images, C, H, W]
        self.copies, self.images = next(iter(self.maps.values())).shape[:2]
        self.targets = load_weights(folder / TARGETS)
        self.names = (folder / NAMES).read_text().splitlines()

    def __reduce__(self) -> tuple[object, ...]:
        """Another process opens the folder itself instead of being sent what is in it."""
        return StoredFeatures, (self.folder, self.seed, self.anchors)

    def __getitem__(self, position: int) -> Sample:
        epoch, index = divmod(position, self.images)
        image = int(epoch_order(self.images, self.seed, epoch)[index])
        copy = epoch % self.copies
        return Sample(
            {name: np.asarray(maps[copy, image]) for name, maps in self.maps.items()},
            self._targets(copy * self.images + image),
            self.names[image],
        )

    def _targets(self, row: int) -> Targets:
        first, last = self.targets["ends"][row : row + 2]
        codes = np.zeros((self.anchors, 4), np.float32)
        labels = np.full(self.anchors, UNMATCHED, np.int32)
        matched = self.targets["anchors"][first:last]
        codes[matched] = self.targets["codes"][first:last]
        labels[matched] = self.targets["labels"][first:last]
        return Targets(codes, labels)


def store_features(
    folder: Path,
    graph: Graph,
    weights: Weights,
    images: TrainingImages,
    copies: int,
    progress: Progress = silent,
) -> None:
    """Compute them, unless the folder is there; it appears whole or not at all.

    The first copy is the image as it is, the second its mirror image where mirroring is among the
    augmentations, all others are drawn. Half precision: a hundredth of what one image differs from
    the next.

    Args:
        graph: of the detector.
        copies: of each image, 1 or more.

    Raises:
        BadImage: an image cannot be read.
    """
    if folder.exists():
        return
    import torch

    from ..networks.torch_network import TorchGraph
    from .trainer import as_input

    backbone = graph.prune(features_read(graph))
    network = TorchGraph(backbone, weights).eval()
    count = len(images.examples)
    with whole_or_nothing(folder) as unfinished, torch.no_grad():
        unfinished.mkdir(exist_ok=True)
        maps = {}
        for name in backbone.outputs:
            _, height, width, channels = backbone[name].shape
            maps[name] = np.lib.format.open_memmap(
                unfinished / f"{name.replace('/', '.')}.npy",
                mode="w+",
                dtype=np.float16,
                shape=(copies, count, channels, height, width),
            )
        matched: list[Targets] = []
        for first in range(0, copies * count, COMPUTED_AT_ONCE):
            rows = range(first, min(first + COMPUTED_AT_ONCE, copies * count))
            batch = collate([images.copy(*divmod(row, count)) for row in rows])
            for name, value in network({"image": as_input(batch.inputs["image"])}).items():
                for row, features in zip(rows, value.numpy(), strict=True):
                    maps[name][divmod(row, count)] = features
            matched += map(Targets, batch.codes.numpy(), batch.labels.numpy())
            progress(rows[-1] + 1, copies * count, "features of the backbone")
        for array in maps.values():
            array.flush()
        save_weights(unfinished / TARGETS, _sparse(matched))
        (unfinished / NAMES).write_text("\n".join(str(e.path) for e in images.examples))


def _sparse(targets: list[Targets]) -> dict[str, NDArray[Any]]:
    """Those anchors alone that answer for a box."""
    anchors = [np.flatnonzero(each.labels != UNMATCHED) for each in targets]
    return {
        "ends": np.cumsum([0, *map(len, anchors)]),
        "anchors": np.concatenate(anchors).astype(np.int32),
        "codes": np.concatenate([t.codes[a] for t, a in zip(targets, anchors, strict=True)]),
        "labels": np.concatenate([t.labels[a] for t, a in zip(targets, anchors, strict=True)]),
    }
