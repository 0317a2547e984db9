"""How detectors are trained, as a table."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import Literal

from ...errors import InvalidInput
from ..data.augmentation import NO_AUGMENTATION, Augmentation
from ..graph.layer import Layer
from .learning_rate import cosine, warm_up

DROP = 0.1  # factor of the learning rate at each drop


@dataclass(frozen=True, slots=True)
class Recipe:
    """One way to train.

    Args:
        name: as the command line spells it.
        source: where the values come from.
        batch_size: images per step.
        unit: of the durations ``length``, ``warmup`` and ``drops``.
        length: of the whole training.
        learning_rate: at the end of the linear warm-up from 0.
        warmup: duration of the warm-up.
        schedule: ``cosine`` falls to 0 at the end; ``drops`` multiplies by 0.1 at each drop.
        drops: when.
        optimizer: ``sgd`` (momentum 0.9), ``adam``, or ``adamw`` (decoupled weight decay).
        weight_decay: of ``adamw``.
        clip_norm: limit of the gradient's norm over all weights, or None.
        norm_momentum: of every batch norm instead of the graph's own; a short training never fills
            averages made for a long one.
        augmentation: of the images.
        initial: weights that are not given are drawn as published, or ``balanced`` so that signals
            keep their size from layer to layer; short trainings need that.
        backbone_rate: learning rate of the backbone, as a share; at 0 it is frozen.
        frozen: regular expression of further layers whose weights and norms stay as they are.
        copies: augmented copies of each image whose features are stored once, where the backbone is
            frozen; 0 computes them at every step.
        ema: decay of an average over the steps' weights, which is then what is validated and kept.
    """

    name: str
    source: str
    batch_size: int
    unit: Literal["epochs", "steps"]
    length: float
    learning_rate: float
    warmup: float
    schedule: Literal["cosine", "drops"]
    drops: tuple[float, ...] = ()
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    weight_decay: float = 0.0
    clip_norm: float | None = None
    norm_momentum: float | None = None
    augmentation: Augmentation = Augmentation()  # noqa: RUF009 - frozen
    initial: Literal["published", "balanced"] = "published"
    backbone_rate: float = 1.0
    frozen: str = ""
    copies: int = 0
    ema: float | None = None

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.length <= 0 or self.learning_rate <= 0:
            raise InvalidInput(
                f"recipe {self.name!r} needs a positive batch size, length and learning rate, got "
                f"{self.batch_size}, {self.length} and {self.learning_rate}"
            )
        try:
            re.compile(self.frozen)
        except re.error as error:
            raise InvalidInput(
                f"recipe {self.name!r}: frozen layers {self.frozen!r} are no regular expression: "
                f"{error}"
            ) from None
        if self.copies and self.backbone_rate:
            raise InvalidInput(
                f"recipe {self.name!r}: features can be stored only of a frozen backbone; set the "
                f"backbone's rate to 0 (now {self.backbone_rate:g}) or copies to 0"
            )
        if not 0 <= self.warmup <= self.length:
            raise InvalidInput(
                f"recipe {self.name!r}: the warm-up ({self.warmup} {self.unit}) must not be "
                f"longer than the training ({self.length})"
            )

    def with_batch(self, size: int) -> Recipe:
        """The same with other batches: the learning rate grows with them (Goyal et al. 2017)."""
        rate = self.learning_rate * size / self.batch_size
        return replace(self, batch_size=size, learning_rate=rate)

    def with_length(self, length: float) -> Recipe:
        """The same in another time: warm-up and drops keep their shares of it."""
        share = length / self.length
        drops = tuple(drop * share for drop in self.drops)
        return replace(self, length=length, warmup=self.warmup * share, drops=drops)

    def is_frozen(self, layer: Layer) -> bool:
        """Whether a layer keeps its weights."""
        if layer.part == "backbone" and self.backbone_rate == 0:
            return True
        return bool(self.frozen and re.search(self.frozen, layer.name))

    def steps_per_epoch(self, images: int) -> int:
        """Whole batches in a dataset, at least 1."""
        return max(images // self.batch_size, 1)

    def steps(self, images: int) -> int:
        """Of the whole training, on a dataset of that many images."""
        return max(round(self.length * self._unit_steps(images)), 1)

    def rate(self, step: int, images: int) -> float:
        """Learning rate of a step, counted from 0."""
        unit = self._unit_steps(images)
        warmup = self.warmup * unit
        reached = self.learning_rate * warm_up(step, math.floor(warmup) + 1)
        if self.schedule == "cosine":
            return reached * cosine(step - warmup, max(self.steps(images) - warmup, 1))
        return reached * DROP ** sum(step >= max(drop * unit, warmup) for drop in self.drops)

    def _unit_steps(self, images: int) -> int:
        return self.steps_per_epoch(images) if self.unit == "epochs" else 1


MNASFPN_PAPER = "Chen et al. 2020, MnasFPN"
RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            "val2017",
            source=f"{MNASFPN_PAPER}, section 4.2: the setup of Table 3",
            batch_size=64,
            unit="epochs",
            length=150,
            learning_rate=0.04,
            warmup=1,
            schedule="drops",
            drops=(120, 140),
            clip_norm=10.0,
        ),
        Recipe(
            "test-dev",
            source=f"{MNASFPN_PAPER}, section 4.2: the setup of Table 1",
            batch_size=1024,
            unit="steps",
            length=100_000,
            learning_rate=4.0,
            warmup=2_000,
            schedule="cosine",
        ),
        Recipe(
            "proxy",
            source=f"{MNASFPN_PAPER}, section 4.2: the proxy task of the search",
            batch_size=64,
            unit="epochs",
            length=20,
            learning_rate=0.04,
            warmup=1,
            schedule="drops",
            drops=(16,),
            clip_norm=10.0,
        ),
        Recipe(
            "finetune",
            source="this project: small datasets from trained weights",
            batch_size=16,
            unit="epochs",
            length=30,
            learning_rate=2e-3,
            warmup=1,
            schedule="cosine",
            optimizer="adam",
            clip_norm=10.0,
            norm_momentum=0.9,
        ),
        Recipe(
            "features",
            source="this project: small datasets in minutes on a CPU; the backbone is frozen, and "
            "its features are stored once",
            batch_size=8,
            unit="steps",
            length=1000,
            learning_rate=4e-3,
            warmup=50,
            schedule="cosine",
            optimizer="adamw",
            weight_decay=0.01,
            clip_norm=10.0,
            norm_momentum=0.9,
            initial="balanced",
            backbone_rate=0.0,
            copies=8,
        ),
        Recipe(
            "digits",
            source="this project: generated digits; mirrored digits are others, so none are",
            batch_size=16,
            unit="steps",
            length=300,
            learning_rate=5e-3,
            warmup=30,
            schedule="cosine",
            optimizer="adam",
            clip_norm=10.0,
            norm_momentum=0.9,
            augmentation=NO_AUGMENTATION,
        ),
    )
}


def recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        InvalidInput: there is none; the message lists those that are.
    """
    try:
        return RECIPES[name]
    except KeyError:
        raise InvalidInput(
            f"no training recipe is called {name!r}; known: {', '.join(RECIPES)}"
        ) from None
