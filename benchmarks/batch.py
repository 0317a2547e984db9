"""``python -m mnasfpn.benchmarks.batch``: genotypes estimated in a second, on one core.

The profile's numbers are simulated; how fast they are added up does not depend on them.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import click
import numpy as np

from ..cli.console import command
from ..latency.batch.batch import BatchEstimator
from ..latency.batch.tables import HeadAlone
from ..latency.estimate.estimate import Estimator
from ..latency.profile.device_profile import DeviceProfile, load_profile
from ..latency.profiling.head_graph import head_graph
from ..latency.profiling.sampled_heads import REPEATS
from ..models.genotype_array import GenotypeArray, random_genotypes
from ..models.published import published
from ..models.space import CONN_SEARCH, MNASFPN, NO_EXPAND
from ..storage.atomic import write_atomically
from .simulated import simulated_profile

OUT = Path(__file__).parents[1] / "benchmarks" / "results"
COUNT = 200_000
ONE_BY_ONE = 20
ROUNDS = 5
BAR = 500_000  # genotypes a second that every row has to reach


def measure(profile: DeviceProfile) -> list[dict[str, float | str]]:
    """One row for each space, template and number of cells."""
    rows: list[dict[str, float | str]] = []
    detector = published("mobilenetv2-mnasfpn")
    for space in (MNASFPN, NO_EXPAND, CONN_SEARCH):
        for name, template in (("head alone", HeadAlone()), ("detector", detector)):
            batch = BatchEstimator(profile, space, template)
            for repeats in REPEATS:
                many = random_genotypes(space, np.random.default_rng(0), COUNT, repeats)
                wall_s, cpu_s = _fastest(batch, many)
                rows.append(
                    {
                        "space": space.name,
                        "of": name,
                        "cells": repeats,
                        "genotypes_per_second": COUNT / wall_s,
                        "genotypes_per_cpu_second": COUNT / cpu_s,
                    }
                )
    return rows


def _fastest(batch: BatchEstimator, many: GenotypeArray) -> tuple[float, float]:
    """Least wall and processor seconds of several rounds."""
    seconds = []
    for _ in range(ROUNDS):
        wall, cpu = time.perf_counter(), time.process_time()
        batch.latencies_ms(many)
        seconds.append((time.perf_counter() - wall, time.process_time() - cpu))
    walls, cpus = zip(*seconds, strict=True)
    return min(walls), min(cpus)


def one_by_one(profile: DeviceProfile) -> float:
    """Genotypes a processor second, each as a graph of its own: 3 cells, head alone."""
    estimator = Estimator(profile)
    few = list(random_genotypes(MNASFPN, np.random.default_rng(0), ONE_BY_ONE, 3))
    for _ in range(2):  # the second time all kernels have been looked up
        start = time.process_time()
        for genotype in few:
            estimator.estimate(head_graph(genotype))
        seconds = time.process_time() - start
    return ONE_BY_ONE / seconds


def verdict(rows: list[dict[str, float | str]]) -> str:
    """The bar, and whether the slowest row meets it."""
    least = min(float(row["genotypes_per_second"]) for row in rows)
    return f"Slowest: {least:,.0f} (bar: {BAR:,}; {'met' if least >= BAR else 'NOT met'})."


def markdown(rows: list[dict[str, float | str]], single: float) -> str:
    lines = [
        "# Genotypes estimated in a second",
        "",
        f"One thread of this machine, {COUNT:,} random genotypes, best of {ROUNDS} rounds; "
        f"connectivity, partitions and crossings included. One by one, as graphs of their own: "
        f"{single:,.0f} a processor second. {verdict(rows)}",
        "",
        "| space | of | cells | genotypes a second | a processor second |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['space']} | {row['of']} | {row['cells']} | {row['genotypes_per_second']:,.0f} | "
        f"{row['genotypes_per_cpu_second']:,.0f} |"
        for row in rows
    ]
    return "\n".join(lines) + "\n"


@command
@click.option("--profile", "path", type=click.Path(path_type=Path), help="A fitted profile.")
@click.option("--out", type=click.Path(path_type=Path), default=OUT, help="Where results go.")
def main(path: Path | None, out: Path, as_json: bool) -> dict[str, object]:
    """Genotypes estimated in a second, on one core."""
    profile = load_profile(path) if path else simulated_profile()
    rows, single = measure(profile), one_by_one(profile)
    result = {"one_by_one_per_cpu_second": single, "rows": rows, "cores": os.cpu_count()}
    write_atomically(out / "batch.json", json.dumps(result, indent=1) + "\n")
    write_atomically(out / "batch.md", markdown(rows, single))
    if not as_json:
        click.echo(markdown(rows, single))
    return result


if __name__ == "__main__":
    main(prog_name="python -m mnasfpn.benchmarks.batch")
