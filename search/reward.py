"""What a search maximises: mAP x LAT^w (paper section 3.3)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import InvalidInput

PAPER_EXPONENT = -0.3


@dataclass(frozen=True, slots=True)
class Reward:
    """mAP x (latency / target)^exponent.

    A detector that finds nothing is worth 0 however fast, and so is one that never finishes.
    Everything that cannot be a result is an error rather than a small reward, because a controller
    would learn from it: NaN, a negative mAP (pycocotools returns -1 where no object was to be
    found), an infinite mAP, a latency that is not positive.

    Args:
        exponent: w; negative, so that of two equally good detectors the faster one is better.
        target_ms: latency that leaves the mAP as it is. It scales every reward alike and changes
            no order; 1 ms is the paper's formula.
    """

    exponent: float = PAPER_EXPONENT
    target_ms: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.exponent) and self.exponent <= 0):
            raise InvalidInput(
                f"the exponent must be 0 or negative (slower is worse), got {self.exponent}"
            )
        if not (math.isfinite(self.target_ms) and self.target_ms > 0):
            raise InvalidInput(f"the reward's target must be positive ms, got {self.target_ms}")

    def __call__(self, mean_ap: float, latency_ms: float) -> float:
        """Reward of one detector.

        Raises:
            InvalidInput: the mAP or the latency cannot be the result of a measurement.
        """
        if not (math.isfinite(mean_ap) and mean_ap >= 0):
            raise InvalidInput(
                f"mAP must be a finite number of at least 0, got {mean_ap}; "
                "-1 means that the validation data hold no objects"
            )
        if math.isnan(latency_ms) or latency_ms <= 0:
            raise InvalidInput(f"latency must be positive ms, got {latency_ms}")
        if mean_ap == 0 or math.isinf(latency_ms):
            return 0.0
        return float(mean_ap * (latency_ms / self.target_ms) ** self.exponent)
