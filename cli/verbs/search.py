"""``mnasfpn search``: trials of a space's cells, and the frontier they make."""

from __future__ import annotations

import math
from typing import Any

import click

from .. import options
from ..console import command, progress, say
from .frontier import finalists_json, print_finalists, print_frontier


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
@click.option("--at", help="Latencies in ms, comma-separated: also print what is best at each.")
@options.seed
def search(at: str | None, as_json: bool, **asked: Any) -> Any:
    """Search for accurate and fast heads; reward mAP x LAT^w.

    The same command goes on where it was stopped.
    """
    from ...latency.profiles import open_profile
    from ...search.detector_search import search as run
    from ...search.finalists import shortlist
    from ...search.search_request import SearchRequest

    request = SearchRequest(**asked)
    budgets_ms = options.numbers(at, "--at", float)
    with progress(f"{request.controller} search", quiet=as_json) as report:
        found = run(request, report)
    accuracy = open_profile(request.profile).summary
    if not as_json:
        print_frontier(found)
        say(f"profile: {accuracy}")
    result: dict[str, Any] = {
        "study": str(request.study),
        "accuracy": accuracy,
        "frontier": [row.to_json() for row in found],
    }
    if budgets_ms:
        fastest_ms = min((row.latency_ms for row in found), default=math.inf)
        reached = [budget for budget in budgets_ms if budget >= fastest_ms]
        # What a search has not reached is no reason to call it failed.
        best = shortlist(request.study, reached, [request.repeats])[1] if reached else []
        result["best_at"] = finalists_json(best)
        if not as_json:
            missed = [f"{budget:g}" for budget in budgets_ms if budget < fastest_ms]
            note = f"nothing takes at most {', '.join(missed)} ms; search on with more --samples"
            print_finalists("The best at each latency", best, note if missed else "")
    return result
