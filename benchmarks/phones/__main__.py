"""``python -m mnasfpn.benchmarks.phones``: predictors against latencies others measured on phones.

Without options, every comparison on the data of ``--data``, written to ``--out``. With ``--train``
and ``--test``, one comparison on two files of the same layout, told from their columns.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import click

from ...cli.console import command
from ...errors import InvalidInput
from ...latency.fitting.kernel_rates import TimedModel
from ...storage.atomic import write_atomically
from . import cells, pixel1, real_cnns
from .figures import MARKDOWN_HEADER, Figures, markdown_row, read_rows
from .peers import PEERS

REPOSITORY = Path(__file__).parents[2]
DATA = REPOSITORY.parent / "shared" / "data" / "phones"
OUT = REPOSITORY / "benchmarks" / "results"
CELLS = "nasbench201_cells_on_phones.csv"
CNNS, OPERATORS = "qed_real_cnns_single_thread.csv", "qed_real_cnns_ops.csv"
PIXEL1, BLOCKS = "pixel1_published_models.csv", "proxylessnas_pixel1_lut.csv"
CPU_COLUMNS = (
    "nnmeter_pixel4_cortexA76cpu_tflite21_ms",
    "latbench_sd855_kryo485cpu_int8_ms",
    "hwnasbench_pixel3_cifar10_ms",
)
SEED = 0
THIRD_LEFT_OUT = "Real CNNs, a third of them left out, at random"


def everything(data: Path) -> dict[str, list[Figures]]:
    """All comparisons on the files of a folder."""
    if not data.is_dir():
        raise InvalidInput(f"no folder {data}; name the one that holds {CELLS} with --data")
    train, test = cells.split(cells.read_cells(data / CELLS), SEED)
    cnns = real_cnns.read_operators(data / OPERATORS)
    latencies = read_rows(data / CNNS, "model")
    models = pixel1_models(data)
    return {
        "NAS-Bench-201 cells: does connectivity matter?": [
            row for column in CPU_COLUMNS for row in cells.compare_rules(train, test, column)
        ],
        "NAS-Bench-201 cells: how many must be measured?": cells.learning_curve(
            train, test, CPU_COLUMNS[0]
        ),
        "Pixel 1 from published numbers": [
            *pixel1.leave_one_architecture_out(models),
            pixel1.paper_detectors(models)[0],
        ],
        "Real CNNs, leave-one-out": [
            real_cnns.leave_one_out(
                real_cnns.timed_models(latencies, cnns, column), column.removesuffix("_ms")
            )
            for column in real_cnns.columns(latencies)
        ],
    }


def splits(data: Path) -> list[real_cnns.Splits]:
    """Real CNNs with a third of them left out, many times."""
    lists = real_cnns.read_operators(data / OPERATORS)
    latencies = read_rows(data / CNNS, "model")
    return [
        real_cnns.random_splits(
            real_cnns.timed_models(latencies, lists, column), column.removesuffix("_ms")
        )
        for column in real_cnns.columns(latencies)
    ]


def pixel1_models(data: Path) -> list[TimedModel]:
    return [
        *pixel1.published_models(data / PIXEL1),
        *pixel1.proxylessnas_blocks(data / BLOCKS),
    ]


def compare_files(train: Path, test: Path, operators: Path | None) -> list[Figures]:
    """One comparison on two files of one of the layouts above."""
    rows, tested = read_rows(train), read_rows(test)
    header = set(rows[0] if rows else ()) & set(tested[0] if tested else ())
    if "arch_str" in header:
        found = [
            row
            for column in cells.columns(rows)
            if column in header
            for row in cells.compare_rules(rows, tested, column)
        ]
        return [*found, *cells.learning_curve(rows, tested, cells.columns(rows)[0])]
    if "flops" in header:
        lists = real_cnns.read_operators(operators or train.parent / OPERATORS)
        return [
            real_cnns.train_and_test(
                real_cnns.timed_models(rows, lists, column),
                real_cnns.timed_models(tested, lists, column),
                column.removesuffix("_ms"),
            )
            for column in real_cnns.columns(rows)
            if column in header
        ]
    if "runtime" in header:
        return pixel1.train_and_test(pixel1.published_models(train), pixel1.published_models(test))
    raise InvalidInput(
        f"{train} and {test} have no known layout in common; expected the columns of {CELLS} "
        f"(arch_str, ..._ms), {CNNS} (model, flops, ..._ms) or {PIXEL1} (model, width, runtime)"
    )


def markdown(
    sections: dict[str, list[Figures]], third_left_out: Sequence[real_cnns.Splits] = ()
) -> str:
    """A document of tables."""
    lines = [
        "# Predictors on real phones' published latencies",
        "",
        "Provenance: published. No phone was measured for this; the latencies are others' "
        "measurements, the predictions are ours. R2 and shares are of models that were not used "
        "for fitting; errors are relative to the published latency.",
    ]
    for title, rows in sections.items():
        lines += ["", f"## {title}", "", MARKDOWN_HEADER, *map(markdown_row, rows)]
    if third_left_out:
        lines += [
            "",
            f"## {THIRD_LEFT_OUT}",
            "",
            "Means over the splits, and between which nine tenths of the splits lie. A network "
            "with operators that few others have is predicted from those few, or none.",
            "",
            "| what | splits | trained on | tested on | R2 | MAPE | within 10 % |",
            "|---|---|---|---|---|---|---|",
            *map(_splits_row, third_left_out),
        ]
    lines += [
        "",
        "## What others publish",
        "",
        "| predictor | figures | comparable? |",
        "|---|---|---|",
    ]
    lines += [f"| {name} | {figure} | {comparable} |" for name, figure, comparable in PEERS]
    return "\n".join(lines) + "\n"


def _splits_row(row: real_cnns.Splits) -> str:
    r2, *shares = row.r2, row.mape, row.within_10
    percent = " | ".join(f"{each.mean:.1%} [{each.low:.1%}, {each.high:.1%}]" for each in shares)
    return (
        f"| {row.what} | {row.splits} | {row.trained_on} | {row.tested_on} | "
        f"{r2.mean:.4f} [{r2.low:.4f}, {r2.high:.4f}] | {percent} |"
    )


@command
@click.option("--data", type=click.Path(path_type=Path), default=DATA, help="Folder of the files.")
@click.option("--out", type=click.Path(path_type=Path), default=OUT, help="Where results go.")
@click.option("--train", type=click.Path(path_type=Path), help="Fit on this CSV file.")
@click.option("--test", type=click.Path(path_type=Path), help="Test on this one.")
@click.option("--ops", type=click.Path(path_type=Path), help="Operator lists of real CNNs.")
@click.option("--write-profile", is_flag=True, help="Renew the bundled pixel1-published profile.")
def main(
    data: Path,
    out: Path,
    train: Path | None,
    test: Path | None,
    ops: Path | None,
    write_profile: bool,
    as_json: bool,
) -> dict[str, object]:
    """Predictors against latencies that others measured on phones."""
    if (train is None) != (test is None):
        raise InvalidInput("--train and --test belong together; give both or none")
    third_left_out: list[real_cnns.Splits] = []
    if train and test:
        sections = {f"{train.name} -> {test.name}": compare_files(train, test, ops)}
    else:
        sections, third_left_out = everything(data), splits(data)
    result = {title: [asdict(row) for row in rows] for title, rows in sections.items()}
    text = markdown(sections, third_left_out)
    if third_left_out:
        result[THIRD_LEFT_OUT] = [asdict(row) for row in third_left_out]
        write_atomically(out / "phones.json", json.dumps(result, indent=1) + "\n")
        write_atomically(out / "phones.md", text)
    if write_profile:
        pixel1.write_profile(pixel1_models(data))
    if not as_json:
        click.echo(text)
    return dict(result)


if __name__ == "__main__":
    main(prog_name="python -m mnasfpn.benchmarks.phones")
