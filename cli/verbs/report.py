"""``mnasfpn report``: a profile, and a search, as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .. import options
from ..console import command, say


@command
@click.option("--profile", required=True, help="A profile, or a bundled one's name.")
@click.option("--study", type=options.FILE, help="A study of a search on that profile.")
@options.output("--out", "The .html to write.")
def report(profile: str, study: Path | None, out: Path, as_json: bool) -> Any:
    """An HTML report of a profile, and of a search."""
    from ...report.content import write_report

    write_report(profile, study, out)
    if not as_json:
        say(str(out))
    return {"report": str(out)}
