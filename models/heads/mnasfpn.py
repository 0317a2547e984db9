"""The MnasFPN head: any genotype as layers of a graph (paper section 3.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..backbones.endpoints import Endpoints
from ..genotype import LEVELS, MIN_LEVEL, Block, Genotype
from ..graph.attributes import BatchNorm
from ..graph.builder import GraphBuilder
from .merge import Feature, merge

# The released extractor's own values, for head and backbone alike.
PYRAMID_NORM = BatchNorm(epsilon=1e-2, momentum=0.99)
HEAD_L2 = 1e-4
SEPARABLE_STDDEV = 0.536


def mnasfpn_head(builder: GraphBuilder, endpoints: Endpoints, genotype: Genotype) -> dict[int, str]:
    """Add C6 and all cells to a graph.

    All blocks are written, used or not; ``Graph.prune`` removes what no output depends on.

    Returns:
        Level -> layer name of the last cell's outputs, ``genotype.channels`` channels each.
    """
    features = [endpoints.c3, endpoints.c4, endpoints.c5]
    pooled = builder.max_pool("head/c6/pool", endpoints.c5, 3, 2)
    features.append(builder.conv("head/c6/conv", pooled, genotype.channels, norm=PYRAMID_NORM))
    for cell in range(genotype.repeats):
        features = _cell(builder, f"head/cell{cell}", features, genotype)
    return dict(zip(LEVELS, features, strict=True))


@dataclass(frozen=True, slots=True)
class _Resampling:
    """What a block's inputs become: features of a level's height and width with F channels."""

    level: int
    size: tuple[int, ...]
    filters: int
    sdo: bool


def _cell(
    builder: GraphBuilder, cell: str, cell_inputs: list[str], genotype: Genotype
) -> list[str]:
    """One cell; returns its outputs in level order."""
    features = [Feature(*pair) for pair in zip(cell_inputs, LEVELS, strict=True)]
    sizes = {feature.level: builder.shape(feature.layer)[1:3] for feature in features}
    for position, block in enumerate(genotype.blocks):
        filters = genotype.expansion(block)
        resampling = _Resampling(block.level, sizes[block.level], filters, genotype.sdo)
        inputs = [features[index] for index in block.inputs]
        layer = _block(
            builder, f"{cell}/block{position}", inputs, resampling, block, genotype.channels
        )
        features.append(Feature(layer, block.level))
    outputs = []
    for level, index in sorted(genotype.outputs.items()):
        output = features[index].layer
        cell_input = cell_inputs[level - MIN_LEVEL]
        if genotype.cell_residual and builder.shape(cell_input) == builder.shape(output):
            output = builder.add(f"{cell}/output{level}", output, cell_input)
        outputs.append(output)
    return outputs


def _block(
    builder: GraphBuilder,
    name: str,
    inputs: list[Feature],
    resampling: _Resampling,
    block: Block,
    channels: int,
) -> str:
    """Resample each input to the block's level and F channels, merge, separable convolution."""
    resampled = [
        Feature(_resample(builder, f"{name}/in{position}", feature, resampling), feature.level)
        for position, feature in enumerate(inputs)
    ]
    x = merge(builder, f"{name}/merge", resampled, block.merge, "relu6")
    weights: dict[str, Any] = {
        "initializer": "truncated_normal",
        "stddev": SEPARABLE_STDDEV,
        "l2": HEAD_L2,
    }
    x = builder.depthwise(f"{name}/depthwise", x, block.kernel, **weights)
    return builder.conv(f"{name}/pointwise", x, channels, norm=PYRAMID_NORM, **weights)


def _resample(builder: GraphBuilder, name: str, feature: Feature, to: _Resampling) -> str:
    """1x1 convolution to F channels around a change of resolution.

    Size-dependent ordering (SDO): the convolution always runs at the smaller of the two sizes.
    """
    x, level = feature
    stride = 2 ** (to.level - level) if level < to.level else 1
    if stride > 1 and to.sdo:
        x = builder.max_pool(f"{name}/pool", x, 3, stride)
    x = builder.conv(f"{name}/conv", x, to.filters, norm=PYRAMID_NORM, l2=HEAD_L2)
    if stride > 1 and not to.sdo:
        x = builder.max_pool(f"{name}/pool", x, 3, stride)
    if level > to.level:
        x = builder.resize_nearest(f"{name}/resize", x, *to.size)
    return x
