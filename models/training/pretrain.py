"""Teaching a backbone a dataset's own objects, from scratch and in a minute.

Detectors usually start from a backbone trained to classify ImageNet. The proxy task must work
without a download, so its backbone learns to classify the objects it will have to find: small crops
around the ground truth boxes, on average-pooled C3, C4 and C5 alike. Trained as a detector from the
start, the same network needs many times as long before it tells classes apart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...errors import InvalidInput
from ..arrays import Indices, Pixels
from ..data.coco import CocoSplit
from ..data.images import open_image
from ..data.loading import Batch
from ..graph.graph import Graph
from ..graph.weights import Weights, random_weights
from ..networks.torch_threads import with_threads
from .learning_rate import short_training
from .recipes import Recipe

WINDOW = (1.0, 1.8)  # side of a crop relative to its object's longer side
WEIGHT_DECAY = 0.01


@dataclass(frozen=True, slots=True)
class PretrainSettings:
    """How a backbone is taught.

    Args:
        steps: of Adam; 0 leaves the weights as they are drawn.
        batch_size: crops per step.
        crop: pixels of a square crop.
        variants: crops of each object.
        learning_rate: after the warm-up, falling to 0 as a cosine.
    """

    steps: int = 500
    batch_size: int = 64
    crop: int = 48
    variants: int = 4
    learning_rate: float = 4e-3

    def __post_init__(self) -> None:
        if self.steps < 0 or min(self.batch_size, self.crop, self.variants) < 1:
            raise InvalidInput(
                "pre-training needs 0 or more steps and a positive batch size, crop and number of "
                f"variants, got {self.steps}, {self.batch_size}, {self.crop}, {self.variants}"
            )

    @property
    def recipe(self) -> Recipe:
        """Of the trainer; the rate at a step is that of a short training."""
        return Recipe(
            "backbone",
            source="this project",
            batch_size=self.batch_size,
            unit="steps",
            length=max(self.steps, 1),
            learning_rate=self.learning_rate,
            warmup=0,
            schedule="cosine",
            optimizer="adamw",
            weight_decay=WEIGHT_DECAY,
        )


def object_crops(data: CocoSplit, size: int, variants: int, seed: int) -> tuple[Pixels, Indices]:
    """Crops [K, size, size, 3] around every object, of random scale and place, and labels [K]."""
    from PIL import Image

    generator = np.random.default_rng(seed)
    crops, labels = [], []
    for example in data.examples:
        height, width = example.size
        image = Image.fromarray(open_image(example))
        for box, label in zip(example.boxes, example.labels, strict=True):
            top, left, bottom, right = box * [height, width, height, width]
            longer = max(bottom - top, right - left)
            for _ in range(variants):
                side = longer * generator.uniform(*WINDOW)
                shift = generator.uniform(-0.5, 0.5, 2) * (side - longer)
                y = (top + bottom - side) / 2 + shift[0]
                x = (left + right - side) / 2 + shift[1]
                window = (x, y, x + side, y + side)
                crop = image.transform(
                    (size, size), Image.Transform.EXTENT, window, Image.Resampling.BILINEAR
                )
                crops.append(np.asarray(crop))
                labels.append(label)
    if not crops:
        raise InvalidInput(f"{data.annotations}: holds no boxes to learn from")
    return np.stack(crops), np.array(labels)


def pretrain(
    backbone: Graph,
    data: CocoSplit,
    settings: PretrainSettings,
    seed: int,
    progress: Callable[[int, int, float], None] | None = None,
) -> Weights:
    """Weights of a backbone that tells a dataset's objects apart.

    Args:
        backbone: from ``image`` to its features, which are its outputs.
        progress: called with (steps done, steps in all, share of the batch's crops recognised).
    """
    import torch

    from ..networks.torch_network import TorchGraph
    from .trainer import ClassificationTask, Trainer

    weights = random_weights(backbone, seed)
    if not settings.steps:
        return weights
    crops, labels = object_crops(data, settings.crop, settings.variants, seed)
    targets = torch.from_numpy(labels - 1)
    generator = np.random.default_rng((seed, 1))
    with with_threads(1):
        task = ClassificationTask(TorchGraph(backbone, weights), len(data.classes), generator)
        trainer = Trainer(task, settings.recipe, torch.device("cpu"))
        for step in range(settings.steps):
            chosen = generator.integers(len(crops), size=settings.batch_size)
            images = {"image": torch.from_numpy(crops[chosen])}
            batch = Batch(images, torch.empty(0), targets[chosen], ())
            trainer.step([batch], settings.learning_rate * short_training(step, settings.steps))
            if progress is not None:
                progress(step + 1, settings.steps, task.recognised)
    return task.network.weights()
