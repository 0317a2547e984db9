"""What decides the proxy task of a search besides the images."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import InvalidInput
from ...models.backbones.backbone import Backbone
from ...models.heads.predictor import SharedPredictor
from ...models.training.pretrain import PretrainSettings
from ...models.training.recipes import Recipe

GRADIENT_NORM = 10.0


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """Settings of a proxy task.

    Args:
        backbone, input_size, predictor: of every candidate; small, so that a candidate takes
            seconds.
        repeats: of every candidate's cell, whatever it says itself; None for its own.
        steps, batch_size, learning_rate: of every candidate's training (Adam, cosine).
        norm_momentum: of every batch norm, short enough for so few steps.
        pretrain: of the backbone.
        seed: of the backbone.
    """

    backbone: Backbone = Backbone("mobilenet_v2", 0.35)  # noqa: RUF009 - frozen
    input_size: int = 128
    predictor: SharedPredictor = SharedPredictor(depth=48)  # noqa: RUF009 - frozen
    repeats: int | None = 1
    steps: int = 120
    batch_size: int = 8
    learning_rate: float = 1e-2
    norm_momentum: float = 0.9
    pretrain: PretrainSettings = PretrainSettings()  # noqa: RUF009 - frozen
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.steps, self.batch_size) < 1 or not self.learning_rate > 0:
            raise InvalidInput(
                "a proxy task needs at least 1 step, 1 image per step and a positive learning "
                f"rate, got {self.steps}, {self.batch_size} and {self.learning_rate}"
            )

    @property
    def recipe(self) -> Recipe:
        """Of a candidate's training; its rate at a step is that of a short training."""
        return Recipe(
            "proxy candidate",
            source="this project",
            batch_size=self.batch_size,
            unit="steps",
            length=self.steps,
            learning_rate=self.learning_rate,
            warmup=0,
            schedule="cosine",
            optimizer="adam",
            clip_norm=GRADIENT_NORM,
        )
