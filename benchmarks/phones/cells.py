"""The connectivity question on real phones: NAS-Bench-201 cells, predicted from a few of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from ...latency.fitting.held_out import every_fifth
from ...latency.fitting.kernel_rates import RateModel, TimedModel, fit_rates, predict_held_out
from ...latency.kernels.execution import execution_plan
from ...latency.kernels.features import Matrix
from ...latency.kernels.kernel import Kernel
from ...latency.kernels.runtimes import BUILTIN
from .figures import Figures, Rows, figures, latency_columns, number, read_rows
from .nasbench201 import Folding, network

TRAIN = 300
LEARNING_CURVE = (20, 50, 100, 200, 300)
LEAST_MS = 0.01  # what a disconnected network is recorded with

ALL_EDGES = "every edge counted"


def read_cells(path: Path) -> Rows:
    return read_rows(path, "nb201_index", "arch_str")


def timed_cells(rows: Rows, column: str, rule: Folding | str) -> list[TimedModel]:
    """Cells with a latency, as executed under a rule of connectivity."""
    found = []
    for row in rows:
        if row[column] and number(row, column) > LEAST_MS:
            kernels = _executed(row["arch_str"], rule)
            found.append(TimedModel(row["nb201_index"], kernels, number(row, column)))
    return found


@lru_cache(maxsize=1 << 13)  # the same cells again for every phone
def _executed(cell: str, rule: Folding | str) -> tuple[Kernel, ...]:
    folding = rule if isinstance(rule, Folding) else Folding.NOTHING
    return execution_plan(network(cell, folding, rule == ALL_EDGES), BUILTIN).kernels


def compare_rules(train: Rows, test: Rows, column: str) -> list[Figures]:
    """Connectivity against all edges, on one column; the exporter's folding from training alone."""
    rule = choose_folding(train, column)
    label = column.removesuffix("_ms")
    return [
        _tested(f"{label}, {text}", timed_cells(train, column, r), timed_cells(test, column, r))
        for r, text in ((rule, f"connectivity ({rule.value})"), (ALL_EDGES, ALL_EDGES))
    ]


def learning_curve(train: Rows, test: Rows, column: str) -> list[Figures]:
    """The same from few training cells on."""
    rule = choose_folding(train, column)
    tested = timed_cells(test, column, rule)
    trained = timed_cells(train, column, rule)
    return [
        _tested(f"{column.removesuffix('_ms')}, {count} training cells", trained[:count], tested)
        for count in LEARNING_CURVE
        if count <= len(trained)
    ]


def choose_folding(train: Rows, column: str) -> Folding:
    """What this column's exporter folds: the rule with the least cross-validated error."""
    errors = {folding: _held_out_error(train, column, folding) for folding in Folding}
    return min(errors, key=lambda folding: errors[folding])


def split(rows: Rows, seed: int) -> tuple[Rows, Rows]:
    """(at most 300 to train on, the rest)."""
    order = np.random.default_rng(seed).permutation(len(rows))
    return [rows[i] for i in order[:TRAIN]], [rows[i] for i in order[TRAIN:]]


def columns(rows: Rows) -> list[str]:
    return latency_columns(rows)


def _held_out_error(train: Rows, column: str, folding: Folding) -> float:
    models = timed_cells(train, column, folding)
    predicted = predict_held_out(models, every_fifth(len(models)), _fit)
    return float(np.sqrt(np.mean(np.square(predicted / _measured(models) - 1))))


def _tested(what: str, train: Sequence[TimedModel], test: Sequence[TimedModel]) -> Figures:
    predicted = _fit(train).predict_ms([model.kernels for model in test])
    return figures(what, len(train), [model.name for model in test], _measured(test), predicted)


def _fit(models: Sequence[TimedModel]) -> RateModel:
    return fit_rates(models, intercept=True)


def _measured(models: Sequence[TimedModel]) -> Matrix:
    return np.asarray([model.latency_ms for model in models])
