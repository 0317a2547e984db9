"""The detection loss: focal loss for classes, smooth L1 for boxes.

One formula for every library: each function takes ``xp``, the module whose arrays it is given, and
uses only what ``numpy``, ``torch`` and ``keras.ops`` have in common. Gradients are the library's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

FOCAL_ALPHA = 0.25
FOCAL_GAMMA = 2.0
HUBER_DELTA = 1.0
BOX_CODE_SIZE = 4
#: Outputs of a detector's graph that the loss is about: codes, and logits before the sigmoid.
TRAINED_OUTPUTS = ("predictor/boxes", "predictor/logits")


def softplus(xp: Any, x: Any) -> Any:
    """log(1 + e^x) without overflow."""
    size = xp.abs(x)
    return xp.log1p(xp.exp(-size)) + (x + size) / 2


def focal_loss(
    xp: Any, logits: Any, targets: Any, alpha: float = FOCAL_ALPHA, gamma: float = FOCAL_GAMMA
) -> Any:
    """Sigmoid focal loss of every slot (Lin et al. 2017, equation 5).

    Args:
        logits: any shape, before the sigmoid.
        targets: the same shape, 0 or 1.
    """
    signed = logits * (2 * targets - 1)  # the right answer's logit: p_t = sigmoid(signed)
    weight = (1 - alpha) + (2 * alpha - 1) * targets
    surprise = softplus(xp, signed)  # -log(1 - p_t); minus the logit it is -log(p_t)
    return weight * xp.exp(-gamma * surprise) * (surprise - signed)


def huber_loss(xp: Any, difference: Any, delta: float = HUBER_DELTA) -> Any:
    """Half the square up to ``delta``, linear beyond: smooth L1 (Girshick 2015) at delta 1."""
    size = xp.abs(difference)
    return xp.where(size <= delta, size * size / 2, delta * (size - delta / 2))


@dataclass(frozen=True, slots=True)
class DetectionLoss:
    """Scalars of the library that made them."""

    classes: Any
    boxes: Any

    @property
    def total(self) -> Any:
        return self.classes + self.boxes


def detection_loss(
    xp: Any, codes: Any, logits: Any, target_codes: Any, labels: Any, count: Any = None
) -> DetectionLoss:
    """Both losses of a batch, each divided by the number of matched anchors (at least 1).

    Box losses count matched anchors only and are also divided by the code size, 4. Class losses
    count all anchors: background is the all-zeros target.

    Args:
        codes, target_codes: [B, N, 4] encoded boxes.
        logits: [B, N, slots] before the sigmoid; slot 0 is the background's.
        labels: [B, N] integers: 1 .. slots - 1 where an anchor answers for a box, else -1.
        count: to divide by instead, where this batch is a part of a larger one.
    """
    matched = xp.where(labels >= 0, 1.0, 0.0)
    if count is None:
        count = xp.sum(matched)
        count = xp.where(count > 1, count, xp.ones_like(count))
    target_classes = xp.where(labels[..., None] == xp.arange(logits.shape[-1]), 1.0, 0.0)
    classes = xp.sum(focal_loss(xp, logits, target_classes)) / count
    boxes = huber_loss(xp, codes - target_codes) * matched[..., None]
    return DetectionLoss(classes, xp.sum(boxes) / BOX_CODE_SIZE / count)
