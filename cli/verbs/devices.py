"""``mnasfpn devices``: what can be measured from here, and the program that phones need."""

from __future__ import annotations

from typing import Any

import click

from ...errors import InvalidInput
from ..console import command, print_table, say

COMMON_ABI = "arm64-v8a"  # of any phone of the last years


@command
@click.option(
    "--fetch-tool",
    metavar="[ABI]",
    is_flag=False,
    flag_value=COMMON_ABI,
    help=f"Download benchmark_model for an ABI; {COMMON_ABI} if none is given.",
)
@click.option("--sha256", help="Of the benchmark_model that is wanted; else today's is taken.")
def devices(fetch_tool: str | None, sha256: str | None, as_json: bool) -> Any:
    """This PC and every adb device: state, and what to do."""
    from ...android_harness.devices import find_devices

    if sha256 and not fetch_tool:
        raise InvalidInput("--sha256 is of a program to download; give --fetch-tool as well")
    if fetch_tool:
        from ...android_harness.phone.benchmark_tool import fetch_tool as fetch

        tool = fetch(fetch_tool, sha256)
        if not as_json:
            say(f"benchmark_model for {fetch_tool}: {tool.path}, sha256 {tool.sha256}")
        return {"tool": tool}
    found = find_devices()
    if not as_json:
        columns = ("device", "state", "what it is", "what to do")
        rows = [(item.serial, item.state, item.what, item.fix) for item in found]
        print_table("Devices for --device", columns, rows, words=columns)
    return {"devices": found}
