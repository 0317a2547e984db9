"""Real CNNs from their operator lists (QED): very different networks, some left out at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import InvalidInput
from ...latency.fitting.kernel_rates import TimedModel, fit_rates, predict_held_out, rates_by_kind
from ...latency.kernels.features import Matrix
from ...latency.kernels.kernel import Kernel
from .figures import Figures, Rows, figures, latency_columns, number, read_rows


def read_operators(path: Path) -> dict[str, tuple[Kernel, ...]]:
    """Model name -> its kernels, from a list of operators with shapes (square maps, no edges)."""
    found: dict[str, list[Kernel]] = {}
    for row in read_rows(path, "model", "operation", "Input_channel", "Input_shape"):
        if row["operation"] != "operation":  # a header that was copied along with the data
            found.setdefault(row["model"], []).append(_kernel(row))
    return {name: tuple(kernels) for name, kernels in found.items()}


def timed_models(
    rows: Rows, operators: dict[str, tuple[Kernel, ...]], column: str
) -> list[TimedModel]:
    """Models with a latency in that column.

    Raises:
        InvalidInput: a model has no operator list.
    """
    missing = [row["model"] for row in rows if row["model"] not in operators]
    if missing:
        raise InvalidInput(f"no operator list for the models {', '.join(missing)}")
    return [
        TimedModel(row["model"], operators[row["model"]], number(row, column))
        for row in rows
        if row[column]
    ]


def leave_one_out(models: list[TimedModel], what: str) -> Figures:
    """Each model predicted from all others."""
    from sklearn.model_selection import LeaveOneOut

    rates = rates_by_kind(sorted({k.kind for model in models for k in model.kernels}))
    predicted = predict_held_out(
        models, LeaveOneOut().split(models), lambda kept: fit_rates(kept, rates)
    )
    return _figures(what, len(models) - 1, models, predicted)


SPLITS = 100


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure of many splits: mean, and between which nine tenths of the splits lie."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(float(np.mean(values)), *map(float, np.quantile(values, (0.05, 0.95))))


@dataclass(frozen=True, slots=True)
class Splits:
    """Predictions of one third of the models from the other two, split at random many times."""

    what: str
    splits: int
    trained_on: int
    tested_on: int
    r2: Spread
    mape: Spread
    within_10: Spread


def random_splits(models: list[TimedModel], what: str, splits: int = SPLITS) -> Splits:
    """How good predictions are when a third of the models is left out, and how that varies."""
    rates = rates_by_kind(sorted({k.kind for model in models for k in model.kernels}))
    trained, found = len(models) * 2 // 3, []
    for seed in range(splits):
        order = np.random.default_rng(seed).permutation(len(models))
        train, test = ([models[i] for i in part] for part in (order[:trained], order[trained:]))
        predicted = fit_rates(train, rates).predict_ms([model.kernels for model in test])
        measured = np.asarray([model.latency_ms for model in test])
        error = np.abs(predicted / measured - 1)
        r2 = 1 - ((predicted - measured) ** 2).mean() / measured.var()
        found.append((r2, error.mean(), (error <= 0.1).mean()))
    figures = (Spread.of(values) for values in zip(*found, strict=True))
    return Splits(what, splits, trained, len(models) - trained, *figures)


def train_and_test(train: list[TimedModel], test: list[TimedModel], what: str) -> Figures:
    rates = rates_by_kind(sorted({k.kind for model in train for k in model.kernels}))
    predicted = fit_rates(train, rates).predict_ms([model.kernels for model in test])
    return _figures(what, len(train), test, predicted)


def columns(rows: Rows) -> list[str]:
    return latency_columns(rows)


def _figures(what: str, trained: int, models: list[TimedModel], predicted: Matrix) -> Figures:
    measured = np.asarray([model.latency_ms for model in models])
    names = [model.name for model in models]
    return figures(what, trained, names, measured, predicted)


def _kernel(row: dict[str, str]) -> Kernel:
    channels, size = _integer(row["Input_channel"]), _integer(row["Input_shape"])
    side, window = _integer(row["Output_shape"]), _integer(row["Kernel"])
    stride, filters = _integer(row["Stride"]), _integer(row["Filter"])
    source, target = (1, size, size, channels), (1, side, side, filters)
    pair, step = (window, window), (stride, stride)
    operation = row["operation"]
    if operation in ("CONV_2D", "CONV_2D_GROUP"):
        return Kernel("conv", (source,), target, pair, step, groups=_integer(row["Group"]))
    pooled = (1, side, side, channels)
    if operation == "DEPTHWISE_CONV_2D":
        return Kernel("depthwise_conv", (source,), pooled, pair, step)
    if operation in ("MAX_POOL_2D", "AVERAGE_POOL_2D"):
        op = operation.removesuffix("_POOL_2D").lower() + "_pool"
        return Kernel(op, (source,), pooled, pair, step)
    if operation == "MEAN":
        return Kernel("global_average_pool", (source,), (1, 1, 1, channels))
    if operation == "FULLY_CONNECTED":
        return Kernel("fully_connected", ((1, channels),), (1, filters))
    if operation == "CONCATENATION":  # its output's channels stand under Filter
        return Kernel("concat", (target,), target)
    raise InvalidInput(f"no kernel is known for the operation {operation!r}")


def _integer(text: str) -> int:
    """A size; ``-`` where the operation has none.

    Raises:
        InvalidInput: it is neither.
    """
    if text in ("", "-"):
        return 1
    if not text.isdecimal():
        raise InvalidInput(f"a list of operators holds the size {text!r}, expected a whole number")
    return max(1, int(text))
