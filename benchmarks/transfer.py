"""``python -m mnasfpn.benchmarks.transfer``: a new phone from an old one and k measurements.

On latencies that others measured on real phones. The old phone's rates are fitted on all it has;
of the new phone, k randomly drawn models (or blocks) are known and all others predicted. Beside it,
rates fitted from scratch on the same k.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np

from ..cli.console import command
from ..errors import InvalidInput
from ..latency.fitting.kernel_rates import (
    FEW_RATES,
    RateModel,
    TimedModel,
    design,
    fit_rates,
    rates_by_kind,
)
from ..latency.fitting.transfer import fit_transfer
from ..latency.kernels.execution import execution_plan
from ..latency.kernels.features import Matrix
from ..latency.kernels.runtimes import BUILTIN
from ..storage.atomic import write_atomically
from .phones import cells, real_cnns
from .phones.__main__ import CELLS, CNNS, CPU_COLUMNS, DATA, OPERATORS, OUT
from .phones.classifiers import lut_entry
from .phones.figures import read_rows

COUNTS = (5, 10, 20)
DRAWS = 10
PIXEL4 = "pixel4_1large_float_ms"
PHONES = ("s10_1large_float_ms", "mi8se_1large_float_ms", "a03s_1large_float_ms")
PIXEL1_LUT, NOTE10_LUT = "proxylessnas_pixel1_lut.csv", "ofa_note10_lut.csv"
INTERCEPT = "intercept"


@dataclass(frozen=True, slots=True)
class Row:
    """Medians over the draws, of the models that were not measured."""

    what: str
    measured: int
    transfer_mape: float
    transfer_within_10: float
    scratch_mape: float
    scratch_within_10: float


def parts_ms(old: RateModel, model: TimedModel) -> dict[str, float]:
    """What each rate of the old phone contributes to a model there."""
    amounts = design([model.kernels], old.rates)[0]
    parts = {
        rate.name: float(amount * old.us_per_unit[rate.name] / 1e3)
        for rate, amount in zip(old.rates, amounts, strict=True)
    }
    return {
        name: part for name, part in {**parts, INTERCEPT: old.intercept_us / 1e3}.items() if part
    }


def curve(
    what: str,
    old: RateModel,
    new: Sequence[TimedModel],
    scratch: Callable[[Sequence[TimedModel]], RateModel],
) -> list[Row]:
    """One row for each number of measurements."""
    priced = [(model, parts_ms(old, model)) for model in new]
    known = [(model, parts) for model, parts in priced if parts]
    return [_row(what, known, count, scratch) for count in COUNTS]


def _row(
    what: str,
    known: Sequence[tuple[TimedModel, dict[str, float]]],
    count: int,
    scratch: Callable[[Sequence[TimedModel]], RateModel],
) -> Row:
    figures = []
    for seed in range(DRAWS):
        order = np.random.default_rng(seed).permutation(len(known))
        drawn, rest = ([known[i] for i in part] for part in (order[:count], order[count:]))
        transfer = fit_transfer([p for _, p in drawn], [model.latency_ms for model, _ in drawn])
        measured = np.asarray([model.latency_ms for model, _ in rest])
        predicted = np.asarray([transfer.predict(parts) for _, parts in rest])
        alone = scratch([model for model, _ in drawn]).predict_ms([m.kernels for m, _ in rest])
        figures.append((*_errors(predicted, measured), *_errors(alone, measured)))
    return Row(what, count, *(float(value) for value in np.median(figures, axis=0)))


def _errors(predicted: Matrix, measured: Matrix) -> tuple[float, float]:
    error = np.abs(predicted / measured - 1)
    return float(error.mean()), float((error <= 0.1).mean())


def real_networks(data: Path) -> list[Row]:
    """Pixel 4 to three other phones, 68 networks."""
    lists = real_cnns.read_operators(data / OPERATORS)
    rows = read_rows(data / CNNS, "model")
    source = real_cnns.timed_models(rows, lists, PIXEL4)
    old = fit_rates(source, rates_by_kind(sorted({k.kind for m in source for k in m.kernels})))
    found = []
    for column in PHONES:
        new = real_cnns.timed_models(rows, lists, column)
        what = f"real CNNs, Pixel 4 -> {column.removesuffix('_1large_float_ms')}"
        found += curve(what, old, new, fit_rates)
    return found


def nas_cells(data: Path) -> list[Row]:
    """NAS-Bench-201 cells, Pixel 4 to Snapdragon 855 (int8)."""
    rows, _ = cells.split(cells.read_cells(data / CELLS), seed=0)
    column, other = CPU_COLUMNS[:2]
    rule = cells.choose_folding(rows, column)

    def fit(models: Sequence[TimedModel]) -> RateModel:
        return fit_rates(models, intercept=True)

    old = fit(cells.timed_cells(rows, column, rule))
    new = cells.timed_cells(rows, other, rule)
    return curve("NAS-Bench-201 cells, Pixel 4 -> Snapdragon 855 int8", old, new, fit)


def blocks(data: Path) -> list[Row]:
    """Blocks of look-up tables: Pixel 1 to Note 10, and Note 10 at 160 pixels to 224."""
    pixel1 = _timed_blocks(data / PIXEL1_LUT, "224")
    small = _timed_blocks(data / NOTE10_LUT, "160")
    large = _timed_blocks(data / NOTE10_LUT, "224")
    simple = [model for model in large if "se:1" not in model.name and "hs:1" not in model.name]
    return [
        *curve("blocks, Pixel 1 -> Note 10", fit_rates(pixel1, FEW_RATES), simple, fit_rates),
        *curve("blocks, Note 10 160 px -> 224 px", fit_rates(small, FEW_RATES), large, fit_rates),
    ]


def _timed_blocks(path: Path, resolution: str) -> list[TimedModel]:
    found = []
    for row in read_rows(path, "layer", "hin", "mean_ms", "resolution"):
        entry = lut_entry(row)
        if row["resolution"] == resolution and entry.layer != "AvgPool2D":
            kernels = execution_plan(entry.graph(), BUILTIN).kernels
            found.append(TimedModel(entry.key, kernels, entry.mean_ms))
    return found


def everything(data: Path) -> list[Row]:
    """All comparisons on the files of a folder."""
    if not data.is_dir():
        raise InvalidInput(f"no folder {data}; name the one that holds {CNNS} with --data")
    return [*real_networks(data), *nas_cells(data), *blocks(data)]


def markdown(rows: Sequence[Row]) -> str:
    lines = [
        "# A new phone from an old one and k measurements",
        "",
        "Provenance: published; others measured these latencies. The new phone's k models are "
        f"drawn at random {DRAWS} times; figures are medians over the draws, of models that "
        "were not drawn. From scratch: rates fitted on the same k alone. Where models are alike "
        "and the arithmetic is another (cells, float to int8), the old phone has little to tell.",
        "",
        "| what | k | transfer: MAPE | within 10 % | from scratch: MAPE | within 10 % |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.what} | {row.measured} | {row.transfer_mape:.1%} | {row.transfer_within_10:.0%} | "
        f"{row.scratch_mape:.1%} | {row.scratch_within_10:.0%} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


@command
@click.option("--data", type=click.Path(path_type=Path), default=DATA, help="Folder of the files.")
@click.option("--out", type=click.Path(path_type=Path), default=OUT, help="Where results go.")
def main(data: Path, out: Path, as_json: bool) -> dict[str, object]:
    """A new phone from an old one and k measurements."""
    rows = everything(data)
    result: dict[str, object] = {"draws": DRAWS, "rows": [asdict(row) for row in rows]}
    write_atomically(out / "transfer.json", json.dumps(result, indent=1) + "\n")
    write_atomically(out / "transfer.md", markdown(rows))
    if not as_json:
        click.echo(markdown(rows))
    return result


if __name__ == "__main__":
    main(prog_name="python -m mnasfpn.benchmarks.transfer")
