"""What every comparison reports, and how it is written down."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import InvalidInput
from ...latency.fitting.accuracy import agreement
from ...latency.kernels.features import Matrix
from ...latency.profile.validation import Agreement

Rows = list[dict[str, str]]


@dataclass(frozen=True, slots=True)
class Figures:
    """Predictions of one set of models against their published latencies.

    Args:
        what: the data and the way of predicting.
        trained_on: number of models whose latencies were used.
        worst: the model that is furthest off, and by how much.
    """

    what: str
    trained_on: int
    agreement: Agreement
    worst: str
    worst_error: float


def figures(
    what: str, trained_on: int, names: Sequence[str], measured_ms: Matrix, predicted_ms: Matrix
) -> Figures:
    found = agreement(measured_ms, predicted_ms)
    error = predicted_ms / measured_ms - 1
    worst = int(np.abs(error).argmax())
    return Figures(what, trained_on, found, names[worst], round(float(error[worst]), 4))


def read_rows(path: Path, *columns: str) -> Rows:
    """Rows of a CSV file that has these columns.

    Raises:
        InvalidInput: the file cannot be read or lacks a column.
    """
    try:
        with path.open(newline="") as file:
            reader = csv.DictReader(file)
            rows, header = list(reader), reader.fieldnames or []
    except OSError as error:
        raise InvalidInput(f"cannot read {path}: {error.strerror}") from None
    missing = [column for column in columns if column not in header]
    if missing:
        raise InvalidInput(
            f"{path} lacks the columns {', '.join(missing)}; it has {', '.join(header)}"
        )
    return rows


def number(row: dict[str, str], column: str) -> float:
    """A cell as a number.

    Raises:
        InvalidInput: it is none.
    """
    try:
        return float(row[column])
    except (ValueError, TypeError):
        raise InvalidInput(f"column {column!r} holds {row[column]!r}, expected a number") from None


def latency_columns(rows: Rows) -> list[str]:
    """Columns of milliseconds, deviations left out."""
    return [name for name in rows[0] if name.endswith("_ms") and "std" not in name]


MARKDOWN_HEADER = (
    "| what | trained on | tested on | R2 | RMSPE | MAPE | within 5 % | within 10 % | "
    "Kendall tau | largest error |\n|---|---|---|---|---|---|---|---|---|---|"
)


def markdown_row(row: Figures) -> str:
    a = row.agreement
    return (
        f"| {row.what} | {row.trained_on} | {a.models} | {a.r2.value:.4f} | {a.rmspe.value:.2%} | "
        f"{a.mape.value:.2%} | {a.within_5.value:.1%} | {a.within_10.value:.1%} | "
        f"{a.kendall_tau.value:.3f} | {row.worst_error:+.1%} ({row.worst}) |"
    )
