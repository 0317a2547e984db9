"""``mnasfpn estimate``: the latency of models from a profile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ...errors import InvalidInput
from .. import options
from ..console import command, print_table, say

if TYPE_CHECKING:
    from ...latency.estimate.estimate import LatencyEstimate

MOST_PARTS = 6  # of an estimate, on one line


@command
@click.argument("model")
@click.option("--profile", required=True, help="A profile, or a bundled one's name.")
@click.option("--layers", is_flag=True, help="One row for each kernel.")
@click.option("--strict", is_flag=True, help="Fail where kernels are unknown; else: bounds.")
@options.signature
def estimate(
    model: str, profile: str, layers: bool, strict: bool, signature: str | None, as_json: bool
) -> Any:
    """Latency of a model from a profile, with no device.

    MODEL is a published name, a genotype or detector .json, a .jsonl of many, or any .tflite.
    """
    from ...latency.estimate.estimate import Estimator
    from ...latency.profiles import open_profile
    from ...models.model_files import resolve_all

    estimator = Estimator(open_profile(profile))
    models = resolve_all(model, signature)
    found = {item.name: estimator.estimate(item.graph, not strict) for item in models}
    if not found:
        raise InvalidInput(f"{model} holds no model; expected one JSON object on each line")
    if not as_json:
        _print(found, layers)
    return {
        "estimates": {name: _as_object(value, layers) for name, value in found.items()},
        "unstable_share": estimator.profile.unstable_shares,
    }


def _print(found: dict[str, LatencyEstimate], layers: bool) -> None:
    """Latency, interval and parts of each model; ``layers`` adds a row for each kernel."""
    for name, value in found.items():
        say(
            f"{name}: {value.latency_ms:.2f} ms ({value.low_ms:.2f} to {value.high_ms:.2f} ms "
            f"with {value.coverage:.0%}: {value.interval_from}), {value.provenance}",
            "bold",
        )
        say(f"  {_parts(value)} ms")
        say(f"  from {value.stands_on}", "yellow" if value.unstable_rows else "")
        if value.uncovered:
            say(
                f"  the profile knows {value.covered_layers:.1%} of the layers and "
                f"{value.covered_madds:.1%} of the multiply-adds; of others only bounds:",
                "yellow",
            )
        for signature, low_ms, high_ms in _bounded(value):
            say(f"  {low_ms:.4f} to {high_ms:.4f} ms in all: {signature}", "yellow")
        if layers:
            print_table(
                "",
                ("ms", "from", "partition", "kernel", "layers"),
                [
                    (f"{c.latency_ms:.4f}", c.source, c.partition, c.kernel, " ".join(c.layers))
                    for c in value.contributions
                ],
                words=("from", "kernel", "layers"),
            )
    say(f"profile: {next(iter(found.values())).accuracy}")


def _as_object(value: LatencyEstimate, layers: bool) -> dict[str, Any]:
    """What ``--json`` prints of an estimate; ``layers`` adds an object for each kernel."""
    fields = {
        "latency_ms": value.latency_ms,
        "low_ms": value.low_ms,
        "high_ms": value.high_ms,
        "coverage": value.coverage,
        "interval_from": value.interval_from,
        "provenance": value.provenance,
        "rows": value.rows,
        "unstable_rows": value.unstable_rows,
        "accuracy": value.accuracy,
        "by_part_ms": value.by_part_ms,
        "by_source_ms": value.by_source_ms,
        "covered_layers": value.covered_layers,
        "covered_madds": value.covered_madds,
        "uncovered": value.uncovered,
    }
    return fields | ({"layers": value.contributions} if layers else {})


def _parts(value: LatencyEstimate) -> str:
    """The parts that take most; foreign networks have many small ones."""
    parts = sorted(value.by_part_ms.items(), key=lambda part: -part[1])
    shown = [f"{part} {ms:.2f}" for part, ms in parts[:MOST_PARTS]]
    if len(parts) > MOST_PARTS:
        shown.append(f"others {sum(ms for _, ms in parts[MOST_PARTS:]):.2f}")
    return ", ".join(shown)


def _bounded(value: LatencyEstimate) -> list[tuple[str, float, float]]:
    """(signature, lower bound, upper bound) of kernels that are not covered, the largest first."""
    bounds = dict.fromkeys(value.uncovered, (0.0, 0.0))
    for item in value.contributions:
        if item.source == "bound":
            low_ms, high_ms = bounds[item.kernel]
            bounds[item.kernel] = (low_ms + item.low_ms, high_ms + item.high_ms)
    ranked = sorted(bounds.items(), key=lambda entry: -entry[1][1])
    return [(signature, low_ms, high_ms) for signature, (low_ms, high_ms) in ranked]
