"""A validation as rows for people: command line and report print the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

from ..latency.fitting.validation import Agreement, Figure, Validation

Row = tuple[str, str, str, str]


def _percent(value: float) -> str:
    return f"{value:.1%}"


def _plain(value: float) -> str:
    return f"{value:.4f}"


#: Field of an Agreement -> what people call it, and how its value is written.
FIGURES: dict[str, tuple[str, Callable[[float], str]]] = {
    "r2": ("R2", _plain),
    "rmse_ms": ("RMSE, ms", _plain),
    "rmspe": ("RMSPE", _percent),
    "mape": ("MAPE", _percent),
    "within_5": ("within 5 %", _percent),
    "within_10": ("within 10 %", _percent),
    "within_15": ("within 15 %", _percent),
    "kendall_tau": ("Kendall tau", _plain),
    "spearman": ("Spearman", _plain),
}


def validation_rows(validation: Validation) -> list[Row]:
    """(figure, of the predictions, its 95 % interval, of a second measurement)."""
    noise = validation.noise_floor
    rows = []
    for field in fields(Agreement):
        if field.name not in FIGURES:
            continue
        name, write = FIGURES[field.name]
        figure: Figure = getattr(validation.accuracy, field.name)
        floor = write(getattr(noise, field.name).value) if noise else "not measured"
        rows.append(
            (name, write(figure.value), f"{write(figure.low)} to {write(figure.high)}", floor)
        )
    worst = next(p for p in validation.points if p.name == validation.largest_error)
    error = worst.predicted_ms / worst.measured_ms - 1
    where = f"{worst.name}: {worst.predicted_ms:.2f} for {worst.measured_ms:.2f} ms"
    return [
        *rows,
        ("largest error", f"{error:+.1%}", where, ""),
        ("inside their interval", _percent(validation.interval_coverage), "", ""),
    ]
