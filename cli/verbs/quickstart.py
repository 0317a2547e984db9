"""``mnasfpn quickstart``: the whole job on this PC."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .. import options
from ..console import command


@command
@click.option(
    "--out",
    type=options.FILE,
    default=Path("quickstart"),
    show_default=True,
    help="Folder for all of it; continued if there.",
)
@options.seed
def quickstart(out: Path, seed: int, as_json: bool) -> Any:
    """All of it on this PC in ten minutes, from profile to report."""
    from ..quickstart import run_quickstart

    return run_quickstart(out, seed, quiet=as_json)
