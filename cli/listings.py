"""What commands print of each kind of result: a table, or a few lines; and estimates as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .console import print_table, say

if TYPE_CHECKING:
    from ..android_harness.devices import FoundDevice
    from ..latency.estimate.estimate import LatencyEstimate
    from ..latency.profile.device_profile import DeviceProfile
    from ..models.export.verify import ExportReport
    from ..models.published import PublishedRow
    from ..search.finalists import Finalist
    from ..search.frontier import FrontierRow


MOST_PARTS = 6  # of an estimate, on one line


def print_models(rows: Sequence[PublishedRow]) -> None:
    print_table(
        "Systems of the paper, counted on their graphs (320x320)",
        ("name", "MAdds B", "paper", "dev %", "params M", "paper", "dev %", "counts"),
        [
            (
                row.name,
                f"{row.madds / 1e9:.4f}",
                f"{row.paper.madds_b:g}",
                f"{row.madds_deviation_percent:+.1f}",
                f"{row.params / 1e6:.4f}",
                f"{row.paper.params_m:g}",
                f"{row.params_deviation_percent:+.1f}",
                row.paper.counting,
            )
            for row in rows
        ],
    )
    for row in rows:
        if row.paper.note:
            say(f"{row.name}: {row.paper.note}")


def print_devices(found: Sequence[FoundDevice]) -> None:
    print_table(
        "Devices for --device",
        ("device", "state", "what it is", "what to do"),
        [(item.serial, item.state, item.what, item.fix) for item in found],
    )


def print_measured(profile: DeviceProfile, path: Path) -> None:
    say(
        f"{path}: {len(profile.table)} kernels and {len(profile.heads)} heads "
        f"{profile.provenance} on {profile.device.soc}, {profile.measuring.unstable:.0%} of them "
        "UNSTABLE"
    )
    failed = profile.measuring.failed
    if failed:
        key, reason = next(iter(failed.items()))
        say(f"{len(failed)} could not be measured, first {key}: {reason}")
    say(f"next: mnasfpn fit {path}")


def print_fit(fitted: DeviceProfile) -> None:
    from ..report.summary import validation_rows

    assert fitted.validation is not None
    print_table(
        f"{fitted.validation.accuracy.models} held-out heads, {fitted.provenance} on "
        f"{fitted.device.soc}",
        ("figure", "prediction", "95 % interval", "measured again (noise floor)"),
        validation_rows(fitted.validation),
    )
    print_table(
        "Regressions, for kernels the table lacks: cross-validated mean relative error",
        ("kind", "kernels", "chosen", "error", "all candidates"),
        [
            (
                kind,
                regressor.count,
                regressor.method,
                f"{regressor.scores.get(regressor.method, float('nan')):.1%}",
                ", ".join(f"{name} {score:.1%}" for name, score in regressor.scores.items()),
            )
            for kind, regressor in fitted.regressors.items()
        ],
    )


def print_estimates(found: dict[str, LatencyEstimate], layers: bool) -> None:
    """Latency, interval and parts of each model; ``layers`` adds a row for each kernel."""
    for name, value in found.items():
        say(
            f"{name}: {value.latency_ms:.2f} ms ({value.low_ms:.2f} to {value.high_ms:.2f} ms "
            f"with {value.coverage:.0%}), {value.provenance}",
            "bold",
        )
        say(f"  {_parts(value)} ms")
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
            )
    say(f"profile: {next(iter(found.values())).accuracy}")


def estimate_json(value: LatencyEstimate, layers: bool) -> dict[str, Any]:
    """What ``--json`` prints of an estimate; ``layers`` adds an object for each kernel."""
    fields = {
        "latency_ms": value.latency_ms,
        "low_ms": value.low_ms,
        "high_ms": value.high_ms,
        "coverage": value.coverage,
        "provenance": value.provenance,
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


def print_frontier(found: Sequence[FrontierRow]) -> None:
    from ..search.frontier import FrontierRow

    rows = [row.cells() for row in found]
    print_table("Pareto frontier: no other trial is faster and better", FrontierRow.HEADINGS, rows)


def print_finalists(chosen: Sequence[Finalist], out: Path | None) -> None:
    print_table(
        "Finalists: the best at each latency, with other numbers of cells",
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
        note=f"detectors and drawings in {out}" if out else "",
    )


def print_export(report: ExportReport, out: Path) -> None:
    say(
        f"{out}: {report.size_bytes / 1e6:.2f} MB, {sum(report.operators.values())} operators, "
        f"all builtin\ncompared with Keras on {report.images} images: scores differ by at most "
        f"{report.max_score_difference:.2g}, box codes by {report.max_code_difference:.2g}"
    )
