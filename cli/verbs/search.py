"""``mnasfpn search``: trials of a space's cells, and the frontier they make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .. import options
from ..console import command, progress
from .frontier import print_frontier


@command
@options.space("nas-fpnlite-s")
@click.option("--profile", required=True, help="A fitted profile, or a bundled one's name.")
@options.text("--task", "digits", "digits, or a COCO folder.")
@options.count("--samples", 100, "Trials in all.")
@options.choice("--controller", ("ppo", "evolution", "random"), "What proposes the trials.")
@options.output("--study", "The study's file; continued if there.")
@options.count("--workers", 1, "Processes that train.")
@options.count("--repeats", 3, "Cells of the estimated detector.")
@click.option("--exponent", default=-0.3, show_default=True, help="w of mAP x LAT^w.")
@options.seed
def search(
    space: str,
    profile: str,
    task: str,
    samples: int,
    controller: str,
    study: Path,
    workers: int,
    repeats: int,
    exponent: float,
    seed: int,
    as_json: bool,
) -> Any:
    """Search for accurate and fast heads; reward mAP x LAT^w.

    The same command goes on where it was stopped.
    """
    from ...search.detector_search import search as run
    from ...search.detector_search import search_plan

    plan = search_plan(space, controller, profile, task, repeats, exponent, seed, study)
    with progress(f"{controller} search", quiet=as_json) as report:
        found = run(study, plan, samples, workers, report)
    if not as_json:
        print_frontier(found)
    return {"study": str(study), "frontier": [row.to_json() for row in found]}
