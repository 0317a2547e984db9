"""Every system of the paper as a value, by name."""

from __future__ import annotations

from ..errors import UnknownModel
from .detector import Backbone, Detector
from .genotype import Block, Genotype
from .heads.predictor import SharedPredictor

# The cell of Figure 2 and of the authors' release; its only internal block is at level 4.
MNASFPN_BLOCKS = (
    Block(inputs=(1, 2), level=4, expansion=256),
    Block(inputs=(0, 4), level=3, expansion=128),
    Block(inputs=(5, 4), level=4, expansion=128),
    Block(inputs=(4, 3), level=5, expansion=128, kernel=5),
    Block(inputs=(4, 3), level=6, expansion=96),
)

PUBLISHED: dict[str, Detector] = {
    "mobilenetv2-mnasfpn": Detector(
        Backbone("mobilenet_v2"),
        Genotype(channels=48, repeats=4, blocks=MNASFPN_BLOCKS),
        SharedPredictor(depth=64),
    ),
}


def published(name: str) -> Detector:
    """The detector of that name.

    Raises:
        UnknownModel: no system is called so; the message lists those that are.
    """
    try:
        return PUBLISHED[name]
    except KeyError:
        raise UnknownModel(
            f"no published model is called {name!r}; known: {', '.join(PUBLISHED)}"
        ) from None
