"""The MnasFPN head: any genotype as layers of a graph (paper section 3.1)."""

from __future__ import annotations

from ..backbones.endpoints import Endpoints
from ..genotype import LEVELS, MIN_LEVEL, Block, Genotype
from ..graph.attributes import BatchNorm
from ..graph.builder import GraphBuilder
from .merge import merge

# The released extractor's own values, for head and backbone alike.
NORM = BatchNorm(epsilon=1e-2, momentum=0.99)
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
    features.append(builder.conv("head/c6/conv", pooled, genotype.channels, norm=NORM))
    for cell in range(genotype.repeats):
        features = _cell(builder, f"head/cell{cell}", features, genotype)
    return dict(zip(LEVELS, features, strict=True))


def _cell(
    builder: GraphBuilder, cell: str, cell_inputs: list[str], genotype: Genotype
) -> list[str]:
    """One cell; returns its outputs in level order."""
    features = [(name, level) for name, level in zip(cell_inputs, LEVELS, strict=True)]
    sizes = {level: builder.shape(name)[1:3] for name, level in features}
    for position, block in enumerate(genotype.blocks):
        name = f"{cell}/block{position}"
        features.append((_block(builder, name, features, sizes, block, genotype), block.level))
    outputs = []
    for level, index in sorted(genotype.outputs.items()):
        output, _ = features[index]
        cell_input = cell_inputs[level - MIN_LEVEL]
        if genotype.cell_residual and builder.shape(cell_input) == builder.shape(output):
            output = builder.add(f"{cell}/output{level}", output, cell_input)
        outputs.append(output)
    return outputs


def _block(
    builder: GraphBuilder,
    name: str,
    features: list[tuple[str, int]],
    sizes: dict[int, tuple[int, ...]],
    block: Block,
    genotype: Genotype,
) -> str:
    """Resample each input to the block's level and F channels, merge, separable convolution."""
    filters = genotype.expansion(block)
    resampled = []
    for position, index in enumerate(block.inputs):
        source, level = features[index]
        x = _resample(
            builder,
            f"{name}/in{position}",
            source,
            level,
            block.level,
            sizes[block.level],
            filters,
            genotype.sdo,
        )
        resampled.append((x, level))
    merged = merge(builder, f"{name}/merge", resampled, block.merge, "relu6")
    x = builder.depthwise(
        f"{name}/depthwise",
        merged,
        block.kernel,
        initializer="truncated_normal",
        stddev=SEPARABLE_STDDEV,
        l2=HEAD_L2,
    )
    return builder.conv(
        f"{name}/pointwise",
        x,
        genotype.channels,
        norm=NORM,
        initializer="truncated_normal",
        stddev=SEPARABLE_STDDEV,
        l2=HEAD_L2,
    )


def _resample(
    builder: GraphBuilder,
    name: str,
    source: str,
    level: int,
    target: int,
    size: tuple[int, ...],
    filters: int,
    sdo: bool,
) -> str:
    """1x1 convolution to F channels around a change of resolution.

    Size-dependent ordering (SDO): the convolution always runs at the smaller of the two sizes.
    """
    stride = 2 ** (target - level) if level < target else 1
    x = source
    if stride > 1 and sdo:
        x = builder.max_pool(f"{name}/pool", x, 3, stride)
    x = builder.conv(f"{name}/conv", x, filters, norm=NORM, l2=HEAD_L2)
    if stride > 1 and not sdo:
        x = builder.max_pool(f"{name}/pool", x, 3, stride)
    if level > target:
        x = builder.resize_nearest(f"{name}/resize", x, *size)
    return x
