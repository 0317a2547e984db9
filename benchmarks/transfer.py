"""``python -m mnasfpn.benchmarks.transfer``: a new phone from an old one and k measurements.

On latencies that others measured on real phones. Of the models, two thirds (or a half, where there
are hundreds) could be measured on the new phone and the others are predicted. Of those that could
be, k are: the ones that ``mnasfpn profile --from`` would choose, for our method, which is the
product's own; k at random, and the same chosen ones, for three others:

* from scratch: what the k alone say, without the old phone;
* one factor between the phones: the median ratio of the k;
* log-linear: log new = a + b log old by least squares, as public work has it; where the old phone's
  little core is known also with that, FLOPs and size added.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np

from ..cli.console import command
from ..errors import InvalidInput
from ..latency.fitting.held_out import Chosen
from ..latency.fitting.intervals import conformal_half_width, coverage_from
from ..latency.fitting.kernel_rates import (
    RateModel,
    TimedModel,
    design,
    fit_rates,
    rates_by_kind,
)
from ..latency.fitting.optimal_design import most_informative
from ..latency.fitting.transfer import Parts, fit_transfer, transfers_left_out
from ..latency.kernels.features import Matrix
from ..storage.atomic import write_atomically
from .phones import cells, real_cnns
from .phones.__main__ import CELLS, CNNS, CPU_COLUMNS, DATA, OPERATORS, OUT
from .phones.figures import number, read_rows

COUNTS = (5, 10, 20)
DRAWS = 100  # of what could be measured and what is predicted
MOST_PRINTED = 10.0  # a mean of errors without bound: five coefficients from five models
PROMISED_EACH = 4  # draws: leaving one out takes k fits
NAS = "qed_nas_single_thread.csv"
PIXEL4 = "pixel4_1large_float_ms"
PHONES = {
    "s10_1large_float_ms": "Galaxy S10",
    "mi8se_1large_float_ms": "Mi 8 SE",
    "a03s_1large_float_ms": "A03s",
}
INTERCEPT = "intercept"
#: (measured, predicted) of all models, as indices -> predictions of the latter.
Scratch = Callable[[Chosen, Chosen], Matrix]


@dataclass(frozen=True)
class Case:
    """Models whose latencies on two phones are known.

    Args:
        old, new: [n], milliseconds.
        parts: of each model; see :func:`..latency.fitting.transfer.fit_transfer`.
        scratch: how they are predicted without the old phone.
        pool: how many could be measured on the new phone; the others are predicted.
        columns: [n, c], logarithms of what a richer log-linear fit has beside the old latency.
    """

    what: str
    old: Matrix
    new: Matrix
    parts: Sequence[Parts]
    scratch: Scratch
    pool: int
    columns: Matrix | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """Means over the draws.

    Args:
        mape: method -> of the models that were not measured.
        won: rival -> share of draws in which ours is better.
        margin: rival -> (mean of its error less ours, standard error of that over the draws).
        expected: the error that leaving out one of the k at a time promises.
        inside: share of the models inside their interval, which is meant to hold ``coverage``.
    """

    what: str
    measured: int
    mape: dict[str, float]
    won: dict[str, float]
    margin: dict[str, tuple[float, float]]
    expected: float
    inside: float
    coverage: float


OURS = "ours"
OURS_AT_RANDOM = "ours, random models"


def compare(case: Case, draws: int = DRAWS) -> list[Row]:
    """One row for each number of measurements."""
    return [_row(case, count, draws) for count in COUNTS]


def _row(case: Case, count: int, draws: int) -> Row:
    errors: dict[str, list[float]] = {}
    promised = []
    for seed in range(draws):
        order = np.random.default_rng(seed).permutation(len(case.new))
        pool, tested = order[: case.pool], order[case.pool :]
        old, parts, _ = _of(case, pool)
        told = most_informative(old, parts, count, [1.0] * len(pool))
        chosen, at_random = pool[told], pool[:count]
        for name, predicted in _methods(case, chosen, at_random, tested):
            error = np.abs(predicted / case.new[tested] - 1).mean()
            errors.setdefault(name, []).append(float(error))
        if seed % PROMISED_EACH == 0:
            promised.append(_promised(case, chosen, tested))
    ours = np.asarray(errors[OURS])
    lost = {name: np.asarray(error) - ours for name, error in errors.items() if name != OURS}
    expected, inside = np.mean(promised, axis=0)
    return Row(
        what=case.what,
        measured=count,
        mape={name: float(np.mean(error)) for name, error in errors.items()},
        won={name: float((each > 0).mean()) for name, each in lost.items()},
        margin={
            name: (float(each.mean()), float(each.std(ddof=1) / np.sqrt(draws)))
            for name, each in lost.items()
        },
        expected=float(expected),
        inside=float(inside),
        coverage=coverage_from(count),
    )


def _methods(
    case: Case, chosen: Chosen, at_random: Chosen, tested: Chosen
) -> Iterator[tuple[str, Matrix]]:
    """(method, predictions), ours first."""
    yield OURS, _transferred(case, chosen, tested)
    yield OURS_AT_RANDOM, _transferred(case, at_random, tested)
    log_old = np.log(case.old)[:, None]
    for kind, measured in (("random", at_random), ("our", chosen)):
        factor = np.median(case.new[measured] / case.old[measured])
        yield f"one factor, {kind} models", factor * case.old[tested]
        yield f"log-linear, {kind} models", _log_linear(case, log_old, measured, tested)
        if case.columns is not None:
            richer = np.column_stack([log_old, case.columns])
            yield f"log-linear and more, {kind} models", _log_linear(case, richer, measured, tested)
        yield f"from scratch, {kind} models", case.scratch(measured, tested)


def _transferred(case: Case, measured: Chosen, tested: Chosen) -> Matrix:
    found = fit_transfer(*_of(case, measured))
    return np.asarray([found.predict(case.old[i], case.parts[i]) for i in tested])


def _of(case: Case, models: Chosen) -> tuple[list[float], list[Parts], list[float]]:
    old, new = case.old[models].tolist(), case.new[models].tolist()
    return old, [case.parts[i] for i in models], new


def _promised(case: Case, measured: Chosen, tested: Chosen) -> tuple[float, float]:
    """Mean error with one of the k left out, and how many others are inside what follows."""
    old, parts, new = _of(case, measured)
    without = zip(transfers_left_out(old, parts, new), old, parts, strict=True)
    left_out = np.asarray(
        [found.predict(its_old, its_parts) for found, its_old, its_parts in without]
    )
    half_width = conformal_half_width(left_out, np.asarray(new))
    ratio = _transferred(case, measured, tested) / case.new[tested]
    inside = np.abs(np.log(ratio)) <= np.log1p(half_width)
    return float(np.abs(left_out / new - 1).mean()), float(inside.mean())


def _log_linear(case: Case, columns: Matrix, measured: Chosen, tested: Chosen) -> Matrix:
    terms = np.column_stack([np.ones(len(columns)), columns])
    solution = np.linalg.lstsq(terms[measured], np.log(case.new[measured]), rcond=None)[0]
    predicted: Matrix = np.exp(terms[tested] @ solution)
    return predicted


def nas_networks(data: Path) -> Iterator[Case]:
    """Pixel 4 to three other phones, 600 networks whose operators are not known.

    The old phone's little core and its int8 latencies stand for what is different about a model;
    so do FLOPs, size, and that it is a model at all. Each is counted in its own deviation.
    """
    rows = read_rows(data / NAS, PIXEL4, "flops", "size_bytes", *PHONES)
    old = _column(rows, PIXEL4)
    small, flops, size = (
        _column(rows, name) for name in ("pixel4_1small_float_ms", "flops", "size_bytes")
    )
    quantised = [_column(rows, f"pixel4_1{core}_quant_ms") for core in ("large", "small")]
    beside = np.stack([np.ones(len(old)), small, *quantised, flops, size], axis=1) / old[:, None]
    amounts = (beside - beside.mean(axis=0)) / beside.std(axis=0) * old[:, None]
    parts = [{str(j): value for j, value in enumerate(model)} for model in amounts.tolist()]
    for column, phone in PHONES.items():
        new = _column(rows, column)
        yield Case(
            what=f"NAS networks, Pixel 4 -> {phone}",
            old=old,
            new=new,
            parts=parts,
            scratch=_by_flops(np.log(flops), np.log(new)),
            pool=len(old) // 2,
            columns=np.log(np.stack([small, flops, size], axis=1)),
        )


def _column(rows: list[dict[str, str]], name: str) -> Matrix:
    return np.asarray([number(row, name) for row in rows])


def _by_flops(log_flops: Matrix, log_new: Matrix) -> Scratch:
    def predict(measured: Chosen, tested: Chosen) -> Matrix:
        slope, constant = np.polyfit(log_flops[measured], log_new[measured], 1)
        predicted: Matrix = np.exp(slope * log_flops[tested] + constant)
        return predicted

    return predict


def real_networks(data: Path) -> Iterator[Case]:
    """Pixel 4 to three other phones, 68 networks of known operators: two thirds and one."""
    lists = real_cnns.read_operators(data / OPERATORS)
    rows = read_rows(data / CNNS, "model", PIXEL4, *PHONES)
    old = real_cnns.timed_models(rows, lists, PIXEL4)
    rates = fit_rates(old, rates_by_kind(sorted({k.kind for model in old for k in model.kernels})))
    for column, phone in PHONES.items():
        new = real_cnns.timed_models(rows, lists, column)
        what = f"real CNNs, Pixel 4 -> {phone}"
        yield _by_rates(what, rates, old, new, fit_rates, len(new) * 2 // 3)


def nas_cells(data: Path) -> Case:
    """NAS-Bench-201 cells, Pixel 4 to Snapdragon 855 (int8)."""
    rows, _ = cells.split(cells.read_cells(data / CELLS), seed=0)
    column, other = CPU_COLUMNS[:2]
    rule = cells.choose_folding(rows, column)

    def fit(models: Sequence[TimedModel]) -> RateModel:
        return fit_rates(models, intercept=True)

    old = {model.name: model for model in cells.timed_cells(rows, column, rule)}
    new = [m for m in cells.timed_cells(rows, other, rule) if m.name in old]
    what = "NAS-Bench-201 cells, Pixel 4 -> Snapdragon 855 int8"
    rates = fit([*old.values()])
    return _by_rates(what, rates, [old[model.name] for model in new], new, fit, len(new) // 2)


def _by_rates(
    what: str,
    rates: RateModel,
    old: Sequence[TimedModel],
    new: Sequence[TimedModel],
    fit: Callable[[Sequence[TimedModel]], RateModel],
    pool: int,
) -> Case:
    """Parts are what each rate of the old phone contributes to a model there."""

    def scratch(measured: Chosen, tested: Chosen) -> Matrix:
        return fit([new[i] for i in measured]).predict_ms([new[i].kernels for i in tested])

    return Case(
        what=what,
        old=np.asarray([model.latency_ms for model in old]),
        new=np.asarray([model.latency_ms for model in new]),
        parts=[parts_ms(rates, model) for model in new],
        scratch=scratch,
        pool=pool,
    )


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


def everything(data: Path, draws: int = DRAWS) -> list[Row]:
    """All comparisons on the files of a folder."""
    if not data.is_dir():
        raise InvalidInput(f"no folder {data}; name the one that holds {CNNS} with --data")
    found = [*nas_networks(data), *real_networks(data), nas_cells(data)]
    return [row for case in found for row in compare(case, draws)]


RIVALS = ("from scratch", "one factor", "log-linear", "log-linear and more")


def markdown(rows: Sequence[Row], draws: int = DRAWS) -> str:
    lines = [
        "# A new phone from an old one and k measurements",
        "",
        "Provenance: published; others measured these latencies. What could be measured and what "
        f"is predicted is drawn {draws} times; figures are mean absolute relative errors of "
        "models that were not measured, means over the draws. *Ours* measures the k models that "
        "`mnasfpn profile --from` would choose and fits as it does. *Log-linear and more* has the "
        "old phone's little core, FLOPs and size beside its latency.",
        "",
        "The draws share their models, so that differences between methods are surer, and figures "
        "less sure, than their number says. The constants of the choice (how much phones differ, "
        "and how noisy they are) were set looking at these phones; half or twice as much changes "
        "the errors by a tenth of themselves. Where models are alike and the arithmetic is another "
        "(cells, float to int8), the old phone has little to tell, and ten models say more alone.",
        "",
        "## Others measure k models at random",
        "",
        *_table(rows, "random"),
        "",
        "## Others measure the models that we chose",
        "",
        *_table(rows, "our"),
        "",
        "## What a profile promises",
        "",
        "Its validation leaves one of the k out at a time. They were chosen to differ, so each is "
        "harder to predict than what will be asked for: errors are smaller than expected, and "
        "intervals hold more often than they say.",
        "",
        "| what | k | expected error | found | interval meant to hold | holds |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.what} | {row.measured} | {row.expected:.1%} | {row.mape[OURS]:.1%} | "
        f"{row.coverage:.0%} | {row.inside:.0%} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


def _table(rows: Sequence[Row], kind: str) -> list[str]:
    return [
        f"| what | k | ours | ours, random models | {' | '.join(RIVALS)} | "
        "best of these less ours (2 standard errors) | draws in which ours is better than it |",
        "|---|---|---|---" + "|---" * len(RIVALS) + "|---|---|",
        *(_table_row(row, [f"{rival}, {kind} models" for rival in RIVALS]) for row in rows),
    ]


def _table_row(row: Row, rivals: Sequence[str]) -> str:
    errors = [_percent(row.mape[rival]) if rival in row.mape else "" for rival in rivals]
    best = min((rival for rival in rivals if rival in row.mape), key=lambda name: row.mape[name])
    lead, deviation = row.margin[best]
    return (
        f"| {row.what} | {row.measured} | {row.mape[OURS]:.1%} | {row.mape[OURS_AT_RANDOM]:.1%} | "
        f"{' | '.join(errors)} | {100 * lead:+.2f} ± {200 * deviation:.2f} points | "
        f"{row.won[best]:.0%} |"
    )


def _percent(error: float) -> str:
    return f"{error:.1%}" if error < MOST_PRINTED else f"> {MOST_PRINTED:.0%}"


@command
@click.option("--data", type=click.Path(path_type=Path), default=DATA, help="Folder of the files.")
@click.option("--out", type=click.Path(path_type=Path), default=OUT, help="Where results go.")
@click.option("--draws", default=DRAWS, help="Of what could be measured.")
def main(data: Path, out: Path, draws: int, as_json: bool) -> dict[str, object]:
    """A new phone from an old one and k measurements."""
    rows = everything(data, draws)
    result: dict[str, object] = {"draws": draws, "rows": [asdict(row) for row in rows]}
    write_atomically(out / "transfer.json", json.dumps(result, indent=1) + "\n")
    write_atomically(out / "transfer.md", markdown(rows, draws))
    if not as_json:
        click.echo(markdown(rows, draws))
    return result


if __name__ == "__main__":
    main(prog_name="python -m mnasfpn.benchmarks.transfer")
