"""Arrays by what they hold, for annotations; shapes stand where they are used."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Floats: TypeAlias = "NDArray[np.float32]"
AnyFloats: TypeAlias = "NDArray[np.floating]"  # of whatever precision comes in
Indices: TypeAlias = "NDArray[np.int64]"  # of boxes, anchors, classes
Pixels: TypeAlias = "NDArray[np.uint8]"
