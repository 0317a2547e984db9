"""Look-up tables in the layout of ProxylessNAS and Once-for-all, read and written.

Such a table is a YAML mapping from the description of a block to what a phone took for it::

    expanded_conv-input:112x112x16-output:56x56x24-expand:3-kernel:3-stride:2-idskip:0:
        {count: 982, mean: 9.96, std: 0.63}        # milliseconds

(han-cai/files, ``proxylessnas/mobile_trim.yaml``, and ``ofa/note10/*_lookup_table.yaml``, whose
blocks also say ``se`` and ``hs`` and give the channels of the expansion instead of its ratio.)
A row is a block, not a kernel: :func:`profile_from_lut` turns them into a profile.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...android_harness.measurement import UNREADABLE, DeviceInfo, Provenance
from ...errors import InvalidInput
from ...models.backbones.rounding import round_channels
from ...models.graph.attributes import Activation, BatchNorm
from ...models.graph.builder import GraphBuilder
from ...models.graph.graph import Graph
from ...storage.atomic import write_atomically
from ..estimate.estimate import Estimator
from ..kernels.execution import execution_plan
from ..kernels.runtimes import BUILTIN, Runtime
from ..profile.calibration import Calibration
from ..profile.device_profile import CampaignRecord, DeviceProfile
from ..profile.table import MeasuredKernel
from .held_out import every_fifth
from .intervals import COVERAGE, conformal_half_width
from .kernel_rates import TimedModel, fit_rates, predict_held_out

EXPANDED = "expanded_conv"
LAYERS = ("Conv", "Conv_1", "Conv_2", "Logits", "AvgPool2D", EXPANDED)
LEAST_BLOCKS = 10
ROW_STATISTICS = ("mean", "std", "count")
NORMAL_90 = 1.645  # standard deviations of a 90 % interval
NORM = BatchNorm()


@dataclass(frozen=True, slots=True)
class LutEntry:
    """One row.

    Args:
        layer: one of :data:`LAYERS`: the first 3x3 convolution, 1x1 convolutions, the classifier
            behind its pooling, pooling alone, or an inverted residual block.
        input, output: (height, width, channels); a classifier's output is (classes,).
        expand: ratio of the expansion; with ``se`` given, its channels.
        idskip: whether input and output are added.
        se, hs: whether the block has squeeze-excite, and hard-swish instead of ReLU6; None in
            tables that know neither.
        mean_ms, std_ms, count: of single inferences; a count of 0 marks an estimate.
    """

    layer: str
    input: tuple[int, ...]
    output: tuple[int, ...]
    mean_ms: float
    std_ms: float
    count: int
    expand: int | None = None
    kernel: int | None = None
    stride: int | None = None
    idskip: int | None = None
    se: int | None = None
    hs: int | None = None

    def __post_init__(self) -> None:
        if self.layer not in LAYERS:
            raise InvalidInput(f"no layer is called {self.layer!r}; known: {', '.join(LAYERS)}")
        block = (self.expand, self.kernel, self.stride, self.idskip)
        one_of_two = (self.se is None) != (self.hs is None)
        if (self.layer == EXPANDED) != (None not in block) or one_of_two:
            raise InvalidInput(
                f"{EXPANDED} has expand, kernel, stride and idskip (and se and hs, or neither), "
                f"other layers have none; got {self.layer} with {block}, {(self.se, self.hs)}"
            )
        if len(self.input) != 3 or min((*self.input, *self.output)) < 1:
            raise InvalidInput(f"shapes are HxWxC, positive; got {self.input} -> {self.output}")
        if not 0 < self.mean_ms < math.inf or not 0 <= self.std_ms < math.inf or self.count < 0:
            raise InvalidInput(
                "mean must be positive, std and count not negative; got "
                f"{self.mean_ms}, {self.std_ms}, {self.count}"
            )

    @property
    def key(self) -> str:
        """As the table spells it; :func:`parse_entry` reads it back."""
        parts = [self.layer, f"input:{_dims(self.input)}", f"output:{_dims(self.output)}"]
        for name in _BLOCK_OPTIONS:
            value = getattr(self, name)
            if value is not None:
                parts.append(f"{name}:{value}")
        return "-".join(parts)

    def graph(self, fuse_relu6: bool = False) -> Graph | None:
        """The block as a network of its own; None for pooling alone.

        Args:
            fuse_relu6: into the convolutions of a block, as converters do. A profile made of blocks
                alone is better without: a separate operator stands for one more pass over the wide
                tensors, whose rate blocks cannot show in any other way. On the published Pixel 1
                table the median error of blocks left out is below 10 % so, and 14 % with fusion.
        """
        builder = GraphBuilder()
        x = builder.input("input", (1, *self.input))
        if self.layer == "AvgPool2D":
            return None
        if self.layer == EXPANDED:
            return builder.graph((self._block(builder, x, fuse_relu6),))
        if self.layer == "Logits":
            x = builder.unary("pool", "global_average_pool", x)
            weights = (self.input[2], self.output[-1])
            return builder.graph((builder.add_layer("logits", "fully_connected", (x,), weights),))
        kernel, stride = (3, 2) if self.layer == "Conv" else (1, 1)
        x = builder.conv("conv", x, self.output[-1], kernel, stride, norm=NORM, activation="relu6")
        return builder.graph((x,))

    def _block(self, builder: GraphBuilder, x: str, fuse_relu6: bool) -> str:
        assert self.expand is not None
        assert self.kernel is not None
        assert self.stride is not None
        channels = self.input[2]
        middle = self.expand if self.se is not None else self.expand * channels
        y = x
        apart = "hard_swish" if self.hs else None if fuse_relu6 else "relu6"
        inside: Activation | None = None if apart else "relu6"
        if middle != channels:
            y = builder.conv("expand", y, middle, norm=NORM, activation=inside)
            y = builder.unary("expand/activation", apart, y) if apart else y
        y = builder.depthwise(
            "depthwise", y, self.kernel, self.stride, norm=NORM, activation=inside
        )
        y = builder.unary("depthwise/activation", apart, y) if apart else y
        if self.se:
            y = _squeeze_excite(builder, y)
        y = builder.conv("project", y, self.output[2], norm=NORM)
        return builder.add("add", x, y) if self.idskip else y


def _squeeze_excite(builder: GraphBuilder, x: str) -> str:
    """MobileNetV3's: a quarter of the channels in between, hard-sigmoid as relu6(x + 3) / 6."""
    channels = builder.channels(x)
    y = builder.unary("squeeze/pool", "global_average_pool", x)
    y = builder.conv("squeeze/conv", y, round_channels(channels / 4), activation="relu", bias=True)
    y = builder.conv("squeeze/gate", y, channels, shift=3.0, activation="relu6", bias=True)
    return builder.mul("squeeze/mul", x, builder.unary("squeeze/sixth", "mul", y, constant=1 / 6))


_BLOCK_OPTIONS = ("expand", "kernel", "stride", "idskip", "se", "hs")
_DIMENSIONS = r"\d+(?:x\d+)*"
_KEY_PATTERN = re.compile(
    rf"(?P<layer>\w+)-input:(?P<input>{_DIMENSIONS})-output:(?P<output>{_DIMENSIONS})"
    + "".join(rf"(?:-{name}:(?P<{name}>\d+))?" for name in _BLOCK_OPTIONS)
)


def _dims(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def parse_entry(key: object, statistics: object) -> LutEntry:
    """One row of the YAML mapping.

    Raises:
        InvalidInput: the key describes no layer, or mean, std or count is missing or impossible;
            the message names the key.
    """
    found = _KEY_PATTERN.fullmatch(key) if isinstance(key, str) else None
    if found is None:
        raise InvalidInput(
            f"{key!r} describes no layer; expected for example "
            "'expanded_conv-input:112x112x16-output:56x56x24-expand:3-kernel:3-stride:2-idskip:0'"
        )
    numbers = statistics if isinstance(statistics, dict) else {}
    wrong = [name for name in ROW_STATISTICS if not _is_number(numbers.get(name))]
    if wrong:
        raise InvalidInput(
            f"{key!r} needs numbers for mean, std and count; {', '.join(wrong)} is missing or no "
            f"number in {statistics!r}"
        )
    options = {name: int(found[name]) for name in _BLOCK_OPTIONS if found[name] is not None}
    try:
        return LutEntry(
            layer=found["layer"],
            input=tuple(map(int, found["input"].split("x"))),
            output=tuple(map(int, found["output"].split("x"))),
            mean_ms=float(numbers["mean"]),
            std_ms=float(numbers["std"]),
            count=int(numbers["count"]),
            **options,
        )
    except InvalidInput as error:
        raise InvalidInput(f"{key!r}: {error}") from None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def read_lut(path: Path | str) -> tuple[LutEntry, ...]:
    """All rows of a table.

    Raises:
        InvalidInput: the file cannot be read, is no YAML mapping, or has a damaged row.
    """
    import yaml

    try:
        loaded: Any = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInput(f"cannot read the look-up table {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(loaded, dict) or not loaded:
        raise InvalidInput(f"{path} holds {type(loaded).__name__}, expected a mapping of blocks")
    try:
        return tuple(parse_entry(key, statistics) for key, statistics in loaded.items())
    except InvalidInput as error:
        raise InvalidInput(f"{path}: {error}") from None


def write_lut(entries: Iterable[LutEntry], path: Path | str) -> None:
    """Write a table whole or not at all, sorted by key.

    Raises:
        InvalidInput: two entries describe the same block.
    """
    import yaml

    rows: dict[str, dict[str, float]] = {}
    for entry in entries:
        if entry.key in rows:
            raise InvalidInput(f"two rows for {entry.key!r}; keep one of them")
        rows[entry.key] = {"count": entry.count, "mean": entry.mean_ms, "std": entry.std_ms}
    write_atomically(path, yaml.safe_dump(rows, sort_keys=True))


def profile_from_lut(
    entries: Sequence[LutEntry],
    name: str,
    runtime: Runtime = BUILTIN,
    provenance: Provenance = "published",
    sources: tuple[str, ...] = (),
) -> DeviceProfile:
    """A profile of the phone a table was measured on.

    Blocks that are one kernel become rows of the profile's table. All blocks together determine
    rates for every kind of kernel (see :mod:`.kernel_rates`), with an interval from blocks left out
    five at a time.

    Raises:
        InvalidInput: fewer than ten blocks.
    """
    models, rows = [], []
    for entry in entries:
        graph = entry.graph()
        if graph is None:
            continue
        kernels = execution_plan(graph, runtime).kernels
        models.append(TimedModel(entry.key, kernels, entry.mean_ms))
        if len(kernels) == 1 and entry.count:
            spread = entry.std_ms / entry.mean_ms
            rows.append(
                MeasuredKernel(
                    kernels[0].signature, entry.mean_ms * 1e3, spread, entry.count, provenance
                )
            )
    if len(models) < LEAST_BLOCKS:
        raise InvalidInput(
            f"a profile needs at least {LEAST_BLOCKS} blocks, this table has {len(models)}"
        )
    half_width = _held_out_half_width(models)
    regressors = fit_rates(models).regressors(models, half_width)
    return DeviceProfile(
        name=name,
        provenance=provenance,
        device=DeviceInfo(
            serial=UNREADABLE,
            model=name,
            soc=UNREADABLE,
            os=UNREADABLE,
            abi=UNREADABLE,
            runtime=runtime.name,
            provenance=provenance,
        ),
        runtime=runtime.name,
        campaign=CampaignRecord("look-up table", "mean as in the table", 0),
        dispatch_us=0.0,
        table=tuple(rows),
        regressors=regressors,
        calibration=Calibration(
            families={},
            models=len(models),
            shrinkage=0.0,
            half_width=half_width,
            coverage=COVERAGE,
        ),
        sources=sources,
    )


def _held_out_half_width(models: Sequence[TimedModel]) -> float:
    predicted = predict_held_out(models, every_fifth(len(models)), fit_rates)
    measured = np.asarray([model.latency_ms for model in models])
    return conformal_half_width(np.maximum(predicted, measured / 1e3), measured)


def lut_from_profile(profile: DeviceProfile, blocks: Iterable[LutEntry]) -> tuple[LutEntry, ...]:
    """A table of the given blocks as a profile estimates them, for programs that read that layout.

    Args:
        blocks: which; their own latencies are not looked at. Pooling alone is left out.

    Returns:
        Means are estimates, deviations follow from their intervals, and counts are 0: nobody has
        measured these blocks.

    Raises:
        NotCovered: a block has kernels the profile knows nothing about.
    """
    estimator = Estimator(profile)
    found = []
    for block in blocks:
        graph = block.graph()
        if graph is None:
            continue
        estimate = estimator.estimate(graph)
        std_ms = (estimate.high_ms - estimate.low_ms) / 2 / NORMAL_90
        found.append(replace(block, mean_ms=estimate.latency_ms, std_ms=std_ms, count=0))
    return tuple(found)
