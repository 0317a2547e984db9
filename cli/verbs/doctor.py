"""``mnasfpn doctor``: what is wrong with a .tflite file for the program that is to open it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...errors import InvalidModelFile, MnasFpnError
from .. import options
from ..console import FAILED, command, say, to_json

if TYPE_CHECKING:
    from ...latency.estimate.partition_costs import PartitionCosts, Splitter
    from ...models.doctor.finding import Diagnosis

CLIENTS = ("mediapipe", "mediapipe-android", "litert-cpu", "litert-gpu", "play-services")
SAID = {
    "works": "nothing keeps {} from this file",
    "fails": "{} opens this file, but the first image ends in an error",
    "refuses": "{} does not open this file",
}
STYLES = {"refuses": "bold red", "fails": "bold red", "warns": "yellow"}


@command
@click.argument("file", type=options.FILE)
@click.option(
    "--for",
    "client",
    type=click.Choice(CLIENTS),
    default=CLIENTS[0],
    show_default=True,
    help="The program that is to open the file.",
)
@options.text("--profile", "pixel1-published", "Whose milliseconds are told.")
def doctor(file: Path, client: str, profile: str, as_json: bool) -> Any:
    """What a client of a .tflite needs, finds, and would change.

    FILE may be anybody's. It is run once, in a process of its own. Exits with 1 if the client does
    not open the file or cannot use it.
    """
    from ...latency.estimate.estimate import Estimator
    from ...latency.profiles import open_profile
    from ...models.doctor.attempt import AttemptProcess
    from ...models.doctor.clients import diagnose

    content = _read(file)
    estimator = Estimator(open_profile(profile))
    with AttemptProcess() as attempts:
        diagnosis = diagnose(content, client, attempts)
    costs = _costs(content, estimator)
    result = {
        "file": str(file),
        "client": client,
        "verdict": diagnosis.verdict,
        "findings": diagnosis.findings,
        "xnnpack": costs,
        "xnnpack_partitions_here": diagnosis.partitions,
    }
    if not as_json:
        _print(file, diagnosis, costs)
    if diagnosis.verdict != "works":
        if as_json:
            click.echo(to_json(result))
        sys.exit(FAILED)
    return result


def _read(file: Path) -> bytes:
    """
    Raises:
        InvalidModelFile: it is not there, or no .tflite at all.
    """
    from ...models.tflite.schema import IDENTIFIER

    try:
        content = file.read_bytes()
    except OSError as error:
        raise InvalidModelFile(
            f"cannot read {file}: {error.strerror}; give the path of a .tflite file"
        ) from error
    if content[4:8] != IDENTIFIER:
        raise InvalidModelFile(
            f"{file} is not a TensorFlow Lite file: its bytes 4 to 8 are {content[4:8]!r}, "
            f"expected {IDENTIFIER!r}; convert the model first"
        )
    return content


def _costs(content: bytes, estimator: Any) -> PartitionCosts | str:
    """What splits the graph; or why that is not known."""
    from ...latency.estimate.partition_costs import partition_costs
    from ...models.tflite.reader import read_tflite

    try:
        return partition_costs(read_tflite(content), estimator)
    except MnasFpnError as error:
        return str(error)


def _print(file: Path, diagnosis: Diagnosis, costs: PartitionCosts | str) -> None:
    said = SAID[diagnosis.verdict].format(diagnosis.client)
    say(f"{said}: {file}", "bold")
    for finding in diagnosis.findings:
        if finding.level == "notes":
            advice = f"; {finding.change}" if finding.change else ""
            say(f"  {finding.part}: {finding.found} ({finding.needs}){advice}")
            continue
        say(f"  {finding.level}: {finding.part}", STYLES[finding.level])
        say(f"    needs   {finding.needs}")
        say(f"    finds   {finding.found}")
        say(f"    change  {finding.change}")
    if isinstance(costs, str):
        say(f"XNNPACK's partitions are not known: {costs}", "yellow")
        return
    here = diagnosis.partitions
    measured = "" if here is None else f"; the runtime of this PC makes {here}"
    plural = "" if costs.partitions == 1 else "s"
    say(f"XNNPACK: {costs.partitions} partition{plural}{measured}", "bold")
    for splitter in costs.splitters:
        say(f"  split by {_splitter(splitter)}", "yellow")
    if costs.partitions > 1 and costs.entering_ms is None:
        say(
            f"  what more than one costs beside that is not in profile {costs.profile}, which was "
            "measured without XNNPACK; give --profile of a phone measured with it"
        )
    elif costs.partitions > 1:
        say(f"  more than one costs {costs.entering_ms:.3f} ms beside that, by {costs.profile}")


def _splitter(splitter: Splitter) -> str:
    low, high = splitter.own_low_ms, splitter.own_high_ms
    own = f"{splitter.own_ms:.3f} ms" if splitter.known else f"{low:.3f} to {high:.3f} ms (bounds)"
    count = len(splitter.layers)
    return f"{count} x {splitter.name}: {own} by themselves, first {splitter.layers[0]!r}"
