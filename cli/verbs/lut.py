"""``mnasfpn lut``: look-up tables of ProxylessNAS and Once-for-all, in and out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .. import options
from ..console import command, say


@click.group()
def lut() -> None:
    """Published look-up tables into profiles, and back.

    Tables of blocks, as ProxylessNAS and Once-for-all publish them.
    """


@command
@click.argument("table", type=options.FILE)
@options.output("--out", "The profile to write.")
@click.option("--name", help="Of the phone; default: the table's name.")
@click.option(
    "--source", "sources", multiple=True, help="Where the numbers are from; default: the file."
)
@options.choice(
    "--runtime", ("builtin", "xnnpack"), "What executed the blocks when they were measured."
)
def import_(
    table: Path, out: Path, name: str | None, sources: tuple[str, ...], runtime: str, as_json: bool
) -> Any:
    """Make a fitted profile of a published table.

    TABLE is a .yaml that maps blocks to count, mean and var (ProxylessNAS), or count, mean and std
    (Once-for-all); milliseconds.
    """
    from ...latency.fitting.lookup_tables import profile_from_lut, read_lut
    from ...latency.kernels.runtimes import runtime_named
    from ...latency.profile.device_profile import save_profile

    entries = read_lut(table)
    made = profile_from_lut(
        entries,
        name or table.stem,
        runtime_named(runtime),
        sources=sources or (table.name,),
    )
    save_profile(made, out)
    calibration = made.require_calibration()
    if not as_json:
        say(
            f"{out}: {len(entries)} blocks, {made.provenance}; {calibration.coverage:.0%} of those "
            f"left out are within {calibration.half_width:.0%} of their estimate"
        )
        say(f"next: mnasfpn estimate MODEL --profile {out}")
    return {"profile": str(out), "blocks": len(entries), "half_width": calibration.half_width}


@command
@click.argument("profile")
@click.option(
    "--blocks",
    type=options.FILE,
    required=True,
    help="A table of the blocks that are wanted; its latencies are not looked at.",
)
@options.output("--out", "The .yaml to write.")
def export(profile: str, blocks: Path, out: Path, as_json: bool) -> Any:
    """Write a profile's latencies of blocks as a table.

    PROFILE is a fitted profile, or a bundled one's name. The table has the layout of the blocks':
    var as ProxylessNAS, or std as Once-for-all. A count of 0 marks an estimate.
    """
    from ...latency.fitting.lookup_tables import lut_from_profile, read_lut, write_lut
    from ...latency.profiles import open_profile

    opened = open_profile(profile)
    entries = lut_from_profile(opened, read_lut(blocks))
    write_lut(entries, out)
    estimated = sum(entry.count == 0 for entry in entries)
    if not as_json:
        say(f"{out}: {len(entries)} blocks, {estimated} of them estimated, {opened.provenance}")
        say(f"profile: {opened.summary}")
    return {
        "table": str(out),
        "blocks": len(entries),
        "estimated": estimated,
        "provenance": opened.provenance,
        "accuracy": opened.summary,
    }


lut.add_command(import_, "import")
lut.add_command(export)
