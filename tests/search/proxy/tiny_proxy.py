"""The smallest proxy task there is, and a genotype for it."""

from __future__ import annotations

from dataclasses import replace

from mnasfpn.models.genotype import Genotype
from mnasfpn.models.heads.predictor import SharedPredictor
from mnasfpn.models.published import MNASFPN_BLOCKS
from mnasfpn.models.training.pretrain import PretrainSettings
from mnasfpn.search.proxy.proxy_settings import ProxySettings

SETTINGS = ProxySettings(
    input_size=64,
    predictor=SharedPredictor(depth=16),
    steps=4,
    batch_size=2,
    pretrain=PretrainSettings(steps=3, batch_size=4, crop=32, variants=1),
)
GENOTYPE = Genotype(16, 3, tuple(replace(block, expansion=16) for block in MNASFPN_BLOCKS))
