"""What the genotypes of a space are made of, as dense tables in microseconds.

A head is a sum of parts that each depend on a few small integers: which level an input comes from,
the level it goes to, C, F, kernel and merge. The parts are read off one covering head for each C,
built, planned and priced exactly as a single model is, so both ways share every number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ...errors import InvalidInput, NotCovered
from ...models.backbones.backbone import add_backbone
from ...models.detector import Detector
from ...models.genotype import LEVELS, MIN_LEVEL, Block, Genotype
from ...models.graph.builder import GraphBuilder
from ...models.graph.graph import Graph
from ...models.graph.layer import Layer
from ...models.heads.mnasfpn import PYRAMID_NORM
from ...models.heads.predictor import shared_predictor
from ...models.space import Space
from ..estimate.estimate import Estimator, KernelLatency
from ..kernels.cache_traffic import MEGABYTE
from ..kernels.execution import execution_plan
from ..kernels.kernel import DTYPE_BYTES, Kernel
from ..profile.calibration import SHARED
from ..profile.device_profile import DeviceProfile
from ..profiling.head_graph import INPUT_SIZE, MOBILENET_V2_CHANNELS, unpruned_head
from ..profiling.space_kernels import covering

Prices = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

N = len(LEVELS)
# Where an input comes from: a feature of C channels at one of the four levels or, in the first
# cell, the backbone's C3, C4, C5.
BACKBONE = N
SOURCE_COUNT = BACKBONE + N - 1
MERGE_COUNT = 4  # sums of two, three, four; squeeze-excite
SE = 3
MOST_BLOCKS = 27  # so that they, a cell's inputs and one for no input are the bits of 32


@dataclass(frozen=True, slots=True)
class HeadAlone:
    """A head alone, as profiling measures it.

    Args:
        channels: of the backbone's C3, C4 and C5.
        input_size: pixels of the image the features would come from.
    """

    channels: tuple[int, int, int] = MOBILENET_V2_CHANNELS
    input_size: int = INPUT_SIZE


@dataclass
class PriceTables:
    """Axes: S sources, C channels, L = 4 levels, F expansions, K kernels, M merges.

    Args:
        conv_us: [S, C, L, F], an input's convolution and change of resolution but shared pools.
        pool_us: [S, C, L], an input's down-sampling where it comes first: once for each feature
            and target, however many blocks read it.
        merge_us: [C, L, F, M].
        depthwise_us: [C, L, F, K].
        pointwise_us: [C, L, F].
        residual_us: [C, L], adding a cell's input to its output.
        residual: [2, C, L], whether the first cell does that, and all others.
        c6_us: [C].
        rest_us: [8, C], intercept, predictor, and the backbone as far as it is used: bits C3..C5.
        waits: [S, L], whether an input is resampled outside the delegate.
        direct: [S, L], whether what is merged was made by the delegate.
        pooled: [S, L], whether the feature itself is read outside the delegate.
        expanded_us, feature_us: [C, L, F] and [C, L], one crossing of a tensor of F or C channels.
        gate_us: [C, L, F], one of squeeze-excite's gate.
        backbone_us: [3], one of the backbone's features.
        predictions_us: [L], both crossings of a level's predictions to where all are joined.
        partition_us: of entering the delegate.
        delegates: whether the runtime has a delegate at all.
        whole: a detector, not a head alone.
        most_inputs: of a block.
    """

    conv_us: Prices
    pool_us: Prices
    merge_us: Prices
    depthwise_us: Prices
    pointwise_us: Prices
    residual_us: Prices
    residual: Flags
    c6_us: Prices
    rest_us: Prices
    waits: Flags
    direct: Flags
    pooled: Flags
    expanded_us: Prices
    feature_us: Prices
    gate_us: Prices
    backbone_us: Prices
    predictions_us: Prices
    partition_us: float
    delegates: bool
    whole: bool
    most_inputs: int
    unknown: list[str] = field(default_factory=list)

    @cached_property
    def body_us(self) -> Prices:
        """[C, L, F, K, 2], what the inputs of a block do not decide, without and with gate.

        A gated block merges two inputs, of which :attr:`inputs_us` has the sum.
        """
        gate = self.merge_us[..., SE] - self.merge_us[..., 0]
        separable = self.depthwise_us + self.pointwise_us[..., None]
        return np.stack([separable, separable + gate[..., None]], axis=-1)

    @cached_property
    def inputs_us(self) -> Prices:
        """[I, C, L, F], a block's inputs and their sum; I = sums of :func:`level_digits`."""
        base = self.most_inputs + 1
        counts = np.stack(np.unravel_index(np.arange(base**N), (base,) * N, order="F"))
        merges = np.clip(counts.sum(axis=0), 2, self.most_inputs) - 2
        inputs_us: Prices = np.tensordot(counts, self.conv_us[:N], (0, 0))
        inputs_us += np.moveaxis(self.merge_us, -1, 0)[merges]
        return inputs_us

    @cached_property
    def first_us(self) -> Prices:
        """[8, C, L, F], what inputs C3, C4, C5 (bits) cost more than those of C channels."""
        more = self.conv_us[BACKBONE:] - self.conv_us[: N - 1]
        used = np.arange(8)[:, None] >> np.arange(N - 1) & 1
        first: Prices = np.tensordot(used, more, 1)
        return first


class ColdCounter(Estimator):
    """Prices kernels at their cold microseconds, and what is not a kernel at nothing."""

    def __init__(self, profile: DeviceProfile) -> None:
        super().__init__(profile)
        nothing = dict.fromkeys(SHARED, 0.0)
        self.calibration = replace(self.calibration, **nothing)  # type: ignore[arg-type]

    def kernel(self, kernel: Kernel) -> KernelLatency:
        found = super().kernel(kernel)
        return replace(found, warm_us=found.cold_us)


def level_digits(most_inputs: int) -> npt.NDArray[np.uint8]:
    """[L], so that a sum of up to that many says how many inputs come from which level."""
    return ((most_inputs + 1) ** np.arange(N)).astype(np.uint8)


def build_tables(estimator: Estimator, space: Space, template: Detector | HeadAlone) -> PriceTables:
    """Price everything that genotypes of a space can be made of.

    Raises:
        NotCovered: the profile knows nothing about some of it.
        InvalidInput: a template whose head is no MnasFPN head, or whose backbone or predictor
            alone is more than one partition; cells of more than :data:`MOST_BLOCKS`.
    """
    if space.blocks > MOST_BLOCKS:
        raise InvalidInput(
            f"batches hold cells of up to {MOST_BLOCKS} blocks, space {space.name!r} has "
            f"{space.blocks}; estimate its genotypes one by one"
        )
    tables = _empty(estimator, space, template)
    features = _features(template)
    writer = _Writer(estimator, tables)
    if isinstance(template, Detector):
        _write_surroundings(writer, space, template, features)
    for c, genotype in enumerate(covering(space)):
        writer.head(space, c, genotype, features)
    if tables.unknown:
        unknown = list(dict.fromkeys(tables.unknown))
        raise NotCovered(
            f"profile {estimator.profile.name!r} knows nothing about {len(unknown)} kernels that "
            f"space {space.name!r} can need, first {unknown[0]!r}; measure them"
        )
    return tables


def _features(template: Detector | HeadAlone) -> HeadAlone:
    if isinstance(template, HeadAlone):
        return template
    if not isinstance(template.head, Genotype):
        raise InvalidInput(
            f"batches hold MnasFPN cells, the template's head is a {type(template.head).__name__}; "
            "estimate its detectors one by one"
        )
    builder = GraphBuilder()
    image = builder.input("image", (1, template.input_size, template.input_size, 3))
    ends = add_backbone(builder, image, template.backbone, PYRAMID_NORM)
    c3, c4, c5 = (builder.channels(name) for name in (ends.c3, ends.c4, ends.c5))
    return HeadAlone((c3, c4, c5), template.input_size)


def _empty(estimator: Estimator, space: Space, template: Detector | HeadAlone) -> PriceTables:
    c, f, k = len(space.channels), max(1, len(space.expansions)), len(space.kernels)
    calibration = estimator.calibration
    return PriceTables(
        conv_us=np.zeros((SOURCE_COUNT, c, N, f)),
        pool_us=np.zeros((SOURCE_COUNT, c, N)),
        merge_us=np.zeros((c, N, f, MERGE_COUNT)),
        depthwise_us=np.zeros((c, N, f, k)),
        pointwise_us=np.zeros((c, N, f)),
        residual_us=np.zeros((c, N)),
        residual=np.zeros((2, c, N), bool),
        c6_us=np.zeros(c),
        rest_us=np.full((8, c), calibration.intercept_us),
        waits=np.zeros((SOURCE_COUNT, N), bool),
        direct=np.zeros((SOURCE_COUNT, N), bool),
        pooled=np.zeros((SOURCE_COUNT, N), bool),
        expanded_us=np.zeros((c, N, f)),
        feature_us=np.zeros((c, N)),
        gate_us=np.zeros((c, N, f)),
        backbone_us=np.zeros(N - 1),
        predictions_us=np.zeros(N),
        partition_us=calibration.partition_us,
        delegates=bool(estimator.runtime.delegated),
        whole=isinstance(template, Detector),
        most_inputs=max(space.in_degrees),
    )


class _Writer:
    """Fills tables from graphs."""

    def __init__(self, estimator: Estimator, tables: PriceTables) -> None:
        self.estimator = estimator
        self.runtime = estimator.runtime
        self.tables = tables

    def kernels_us(self, graph: Graph) -> dict[str, float]:
        """Microseconds by the name of the last layer each kernel computes."""
        found = {}
        for step in execution_plan(graph, self.runtime).steps:
            latency = self.estimator.kernel(step.kernel)
            if latency.source == "bound":
                self.tables.unknown.append(step.kernel.signature)
            found[step.layers[-1]] = latency.warm_us
        return found

    def crossing_us(self, *layers: Layer) -> float:
        """Of tensors that enter or leave a delegate partition once."""
        if not self.tables.delegates:
            return 0.0
        size = sum(layer.elements * DTYPE_BYTES[layer.dtype] for layer in layers)
        return self.estimator.calibration.crossing_us_per_mb * size / MEGABYTE

    def head(self, space: Space, c: int, genotype: Genotype, features: HeadAlone) -> None:
        """Everything with the c-th number of channels, from a head of two covering cells."""
        graph = unpruned_head(genotype, features.channels, features.input_size)
        us = self.kernels_us(graph)
        parts: dict[str, list[Layer]] = {}
        for layer in graph:
            part = layer.name.rpartition("/")[0]
            parts.setdefault(part, []).append(layer)
        tables = self.tables
        tables.c6_us[c] = _sum(us, parts["head/c6"])
        for level in range(N):
            output = f"output{level + MIN_LEVEL}"
            tables.residual_us[c, level] = us.get(f"head/cell1/{output}", 0.0)
            tables.residual[:, c, level] = [f"head/cell{i}/{output}" in graph for i in range(2)]
        for index in range(N - 1):
            tables.backbone_us[index] = self.crossing_us(graph.inputs[index])
        for position, block in enumerate(genotype.blocks):
            for cell in range(2):
                name = f"head/cell{cell}/block{position}"
                self.block(space, c, block, parts[name], us)
                for slot, source in enumerate(block.inputs):
                    code = BACKBONE + source if cell == 0 and source < N - 1 else source
                    f = _expansion(space, block)
                    self.input((code, c, block.level - MIN_LEVEL, f), parts[f"{name}/in{slot}"], us)

    def block(
        self, space: Space, c: int, block: Block, layers: list[Layer], us: dict[str, float]
    ) -> None:
        """Merge, depthwise and pointwise convolution."""
        tables, f = self.tables, _expansion(space, block)
        at = (c, block.level - MIN_LEVEL, f)
        k = space.kernels.index(block.kernel)
        m = SE if block.merge == "se" else len(block.inputs) - 2
        named = {layer.name.rpartition("/")[2]: layer for layer in layers}
        separable = named["depthwise"], named["pointwise"]
        tables.merge_us[(*at, m)] = _sum(us, (layer for layer in layers if layer not in separable))
        tables.depthwise_us[(*at, k)] = us[named["depthwise"].name]
        tables.pointwise_us[at] = us[named["pointwise"].name]
        tables.expanded_us[at] = self.crossing_us(named["depthwise"])
        tables.feature_us[at[:2]] = self.crossing_us(named["pointwise"])
        if "gate" in named:
            tables.gate_us[at] = self.crossing_us(named["gate"])

    def input(
        self, at: tuple[int, int, int, int], chain: Sequence[Layer], us: dict[str, float]
    ) -> None:
        """One input's way to the merge: convolution, and down- or up-sampling around it."""
        tables, (code, _, level, _) = self.tables, at
        shared = chain[0].op == "max_pool"
        outside = [layer for layer in chain if not self.runtime.delegates(layer)]
        tables.waits[code, level] = bool(outside)
        tables.direct[code, level] = chain[-1] not in outside
        tables.pooled[code, level] = chain[0] in outside
        # What is made outside enters the delegate; what is resampled there after the convolution
        # has left it before.
        crossing = self.crossing_us(*outside)
        if outside and not shared:
            crossing += self.crossing_us(chain[0])
        if shared:
            tables.pool_us[at[:3]] = us[chain[0].name] + crossing
            tables.conv_us[at] = _sum(us, chain[1:])
        else:
            tables.conv_us[at] = _sum(us, chain) + crossing


def _write_surroundings(
    writer: _Writer, space: Space, detector: Detector, features: HeadAlone
) -> None:
    """Backbone and predictor of a detector."""
    tables = writer.tables
    builder = GraphBuilder()
    image = builder.input("image", (1, detector.input_size, detector.input_size, 3))
    ends = add_backbone(builder, image, detector.backbone, PYRAMID_NORM)
    tables.rest_us += writer.crossing_us(builder[image])
    for used in range(1, 8):
        names = [name for bit, name in enumerate((ends.c3, ends.c4, ends.c5)) if used >> bit & 1]
        tables.rest_us[used] += _alone(writer, builder.graph(names), "backbone")
    for c, channels in enumerate(space.channels):
        graph = _predictor(detector, channels, features)
        tables.rest_us[:, c] += _alone(writer, graph, "predictor")
        tables.rest_us[:, c] += writer.crossing_us(*(graph[name] for name in graph.outputs))
        joined = [layer.inputs for layer in graph if layer.op == "concat"]
        tables.predictions_us = np.asarray(
            [
                2 * writer.crossing_us(*(graph[n] for n in level))
                for level in zip(*joined, strict=True)
            ]
        )


def _predictor(detector: Detector, channels: int, features: HeadAlone) -> Graph:
    """The predictor alone on features of that many channels."""
    assert detector.predictor is not None  # the detector's constructor has checked
    builder = GraphBuilder()
    inputs = {}
    for level in LEVELS:
        size = features.input_size // 2**level
        inputs[level] = builder.input(f"p{level}", (1, size, size, channels))
    return builder.graph(
        shared_predictor(builder, inputs, detector.predictor, detector.classes + 1)
    )


def _alone(writer: _Writer, graph: Graph, what: str) -> float:
    """Sum of the kernels of a part that is within one partition."""
    graph = graph.prune().merge_duplicates()
    partitions = execution_plan(graph, writer.runtime).partitions
    if writer.tables.delegates and [part.delegated for part in partitions] != [True]:
        raise InvalidInput(
            f"runtime {writer.runtime.name!r} splits the {what} into {len(partitions)} partitions; "
            "batches need one that the delegate takes whole; estimate its detectors one by one"
        )
    return sum(writer.kernels_us(graph).values())


def _sum(us: dict[str, float], layers: Iterable[Layer]) -> float:
    return sum(us[layer.name] for layer in layers)


def _expansion(space: Space, block: Block) -> int:
    return space.expansions.index(block.expansion) if block.expansion is not None else 0
