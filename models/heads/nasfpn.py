"""NAS-FPN and NAS-FPNLite heads (Ghiasi et al. 2019): any cell as layers of a graph.

The Lite form (MnasFPN paper, section 4) has separable convolutions and levels 3 to 6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

from ...errors import InvalidGraph
from ..backbones.endpoints import Endpoints
from ..genotype import MIN_LEVEL, Merge
from ..graph.builder import GraphBuilder
from .merge import Feature, add_all, merge
from .mnasfpn import HEAD_L2, PYRAMID_NORM, SEPARABLE_STDDEV


@dataclass(frozen=True, slots=True)
class Node:
    """Two features, resampled to one level, merged and convolved.

    Args:
        inputs: two feature indices: 0.. are the pyramid's levels from 3 on, then the nodes before
            this one in order.
        level: resolution of the result (stride 2^level).
        merge: ``add``, or ``se`` for global pooling attention (GP).
    """

    inputs: tuple[int, int]
    level: int
    merge: Merge = "add"

    def __post_init__(self) -> None:
        if len(self.inputs) != 2:
            raise InvalidGraph(f"a NAS-FPN node takes 2 inputs, got {list(self.inputs)}")
        if self.merge not in get_args(Merge):
            raise InvalidGraph(f"merge must be 'add' or 'se', got {self.merge!r}")


@dataclass(frozen=True, slots=True)
class NasFpn:
    """A NAS-FPN cell and how often it is repeated.

    The last nodes are the cell's outputs, one for each level 3..top_level in any order. An output
    also adds every feature of its level that nothing has consumed so far (the leftover rule).

    Args:
        channels: C of every feature.
        repeats: number of cells.
        nodes: internal nodes, then the output nodes.
        top_level: 6 (Lite, as in the MnasFPN paper) or 7 (the original).
        separable: depthwise-separable convolutions (Lite) instead of full ones.
    """

    channels: int
    repeats: int
    nodes: tuple[Node, ...]
    top_level: int = 6
    separable: bool = True

    def __post_init__(self) -> None:
        if self.channels < 1 or self.repeats < 1:
            raise InvalidGraph(
                f"channels and repeats must be at least 1, got {self.channels} and {self.repeats}"
            )
        if self.top_level not in (6, 7):
            raise InvalidGraph(f"the top level must be 6 or 7, got {self.top_level}")
        levels = list(self.levels)
        for index, node in enumerate(self.nodes, start=len(levels)):
            if node.level not in levels:
                raise InvalidGraph(
                    f"node {index}: level {node.level} cannot be reached; the pyramid has levels "
                    f"{levels}"
                )
            for source in node.inputs:
                if not 0 <= source < index:
                    raise InvalidGraph(
                        f"node {index} takes feature {source}; it may take features 0..{index - 1}"
                    )
        outputs = sorted(node.level for node in self.nodes[-len(levels) :])
        if outputs != levels:
            raise InvalidGraph(
                f"the last {len(levels)} nodes are the outputs and must have levels {levels} once "
                f"each; got {outputs}"
            )

    @property
    def levels(self) -> tuple[int, ...]:
        return tuple(range(MIN_LEVEL, self.top_level + 1))

    @property
    def outputs(self) -> dict[int, int]:
        """Level -> feature index of the node that makes the cell's output there."""
        first = len(self.nodes)
        return {node.level: i for i, node in enumerate(self.nodes[-len(self.levels) :], first)}

    @property
    def leftovers(self) -> tuple[tuple[int, ...], ...]:
        """For each node, the features it adds because nothing has consumed them so far."""
        levels = [*self.levels, *(node.level for node in self.nodes)]
        consumed: set[int] = set()
        found = []
        for index, node in enumerate(self.nodes, start=len(self.levels)):
            consumed.update(node.inputs)
            left = tuple(i for i in range(index) if i not in consumed and levels[i] == node.level)
            found.append(left if index in self.outputs.values() else ())
            consumed.update(found[-1])
        return tuple(found)


def nasfpn_head(builder: GraphBuilder, endpoints: Endpoints, head: NasFpn) -> dict[int, str]:
    """Add the lateral convolutions and all cells to a graph.

    All nodes are written, used or not; ``Graph.prune`` removes what no output depends on.

    Returns:
        Level -> layer name of the last cell's outputs, ``head.channels`` channels each.
    """
    laterals = zip(head.levels, (endpoints.c3, endpoints.c4, endpoints.c5), strict=False)
    features = [
        builder.conv(f"head/lateral{level}", source, head.channels, norm=PYRAMID_NORM, l2=HEAD_L2)
        for level, source in laterals
    ]
    for level in head.levels[3:]:
        features.append(builder.max_pool(f"head/lateral{level}/pool", features[-1], 2, 2))
    for cell in range(head.repeats):
        features = _cell(builder, f"head/cell{cell}", features, head)
    return dict(zip(head.levels, features, strict=True))


def _cell(builder: GraphBuilder, cell: str, cell_inputs: list[str], head: NasFpn) -> list[str]:
    """One cell; returns its outputs in level order."""
    features = [Feature(*pair) for pair in zip(cell_inputs, head.levels, strict=True)]
    sizes = {feature.level: builder.shape(feature.layer)[1:3] for feature in features}
    for position, (node, leftovers) in enumerate(zip(head.nodes, head.leftovers, strict=True)):
        name = f"{cell}/node{position}"
        inputs = []
        for i, feature in enumerate(features[source] for source in node.inputs):
            resampled = _resample(builder, f"{name}/in{i}", feature, node.level, sizes)
            inputs.append(Feature(resampled, feature.level))
        left = [features[source].layer for source in leftovers]
        merged = _merged(builder, name, inputs, node.merge, left)
        features.append(Feature(_convolution(builder, name, merged, head), node.level))
    return [features[head.outputs[level]].layer for level in head.levels]


def _merged(
    builder: GraphBuilder,
    name: str,
    inputs: list[Feature],
    kind: Merge,
    leftovers: list[str],
) -> str:
    """Merge, add what is left over, ReLU."""
    if not leftovers:
        return merge(builder, f"{name}/merge", inputs, kind, "relu")
    x = merge(builder, f"{name}/merge", inputs, kind)
    return add_all(builder, f"{name}/leftover", [x, *leftovers], "relu")


def _resample(
    builder: GraphBuilder,
    name: str,
    feature: Feature,
    target: int,
    sizes: dict[int, tuple[int, ...]],
) -> str:
    """Max-pool k x k with stride k down, nearest neighbour up; channels agree everywhere."""
    source, level = feature
    if level < target:
        stride = 2 ** (target - level)
        return builder.max_pool(f"{name}/pool", source, stride, stride)
    if level > target:
        return builder.resize_nearest(f"{name}/resize", source, *sizes[target])
    return source


def _convolution(builder: GraphBuilder, name: str, source: str, head: NasFpn) -> str:
    """3x3 convolution and batch norm."""
    if not head.separable:
        return builder.conv(f"{name}/conv", source, head.channels, 3, norm=PYRAMID_NORM, l2=HEAD_L2)
    weights: dict[str, Any] = {
        "initializer": "truncated_normal",
        "stddev": SEPARABLE_STDDEV,
        "l2": HEAD_L2,
    }
    x = builder.depthwise(f"{name}/depthwise", source, 3, **weights)
    return builder.conv(f"{name}/pointwise", x, head.channels, norm=PYRAMID_NORM, **weights)
