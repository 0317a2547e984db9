"""``mnasfpn frontier``: the best of a study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .. import options
from ..console import command, print_table, say

if TYPE_CHECKING:
    from ...search.finalists import Finalist
    from ...search.frontier import FrontierRow


@command
@click.argument("study", type=options.FILE)
@click.option("--at", help="Latencies in ms, comma-separated; default: spread over the frontier.")
@options.text("--repeats", "3,4,5", "Cells of each finalist.")
@click.option("--profile", help="Estimate with this one instead of the study's.")
@click.option("--out", type=options.FILE, help="Folder for the finalists' detectors and drawings.")
def frontier(
    study: Path, at: str | None, repeats: str, profile: str | None, out: Path | None, as_json: bool
) -> Any:
    """The Pareto frontier of a study, and its finalists."""
    from ...latency.profiles import open_profile
    from ...search.detector_task import DetectorTask
    from ...search.finalists import shortlist, write_finalists
    from ...search.study import Study

    found, chosen = shortlist(
        study,
        options.numbers(at, "--at", float),
        options.numbers(repeats, "--repeats", int),
        profile,
    )
    if out:
        write_finalists(chosen, out)
    with Study(study) as store:
        accuracy = open_profile(profile or DetectorTask.of(store.plan).profile).summary
    if not as_json:
        print_frontier(found)
        print_finalists(
            "Finalists: the best at each latency, with other numbers of cells",
            chosen,
            f"detectors and drawings in {out}" if out else "",
        )
        say(f"profile: {accuracy}")
    return {
        "accuracy": accuracy,
        "frontier": [row.to_json() for row in found],
        "finalists": finalists_json(chosen),
    }


def finalists_json(chosen: Sequence[Finalist]) -> list[dict[str, Any]]:
    return [{"trial": f.trial, "repeats": f.repeats, "latency_ms": f.latency_ms} for f in chosen]


def print_frontier(found: Sequence[FrontierRow]) -> None:
    """The trials of a frontier, one a row."""
    from ...search.frontier import FrontierRow

    rows = [row.cells() for row in found]
    print_table("Pareto frontier: no other trial is faster and better", FrontierRow.HEADINGS, rows)


def print_finalists(title: str, chosen: Sequence[Finalist], note: str = "") -> None:
    """The best models at some latencies, one a row."""
    print_table(
        title,
        ("best at ms", "trial", "repeats", "latency ms"),
        [
            (
                ", ".join(f"{ms:.2f}" for ms in item.budgets_ms),
                item.trial,
                item.repeats,
                f"{item.latency_ms:.2f}",
            )
            for item in chosen
        ],
        note=note,
    )
