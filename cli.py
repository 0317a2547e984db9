"""The command line: every command parses, calls one function of a folder, and prints its result.

Heavy libraries are imported by the commands that use them, so that ``mnasfpn estimate`` answers at
once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import __version__
from .console import command, print_table, progress, stdout
from .errors import InvalidInput

if TYPE_CHECKING:
    from .latency.estimate import LatencyEstimate

FILE = click.Path(path_type=Path)
SPACES = ("mnasfpn", "no-expand", "conn-search", "nas-fpnlite-s")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="mnasfpn")
def main() -> None:
    """Measure, predict, search and ship mobile detectors (after MnasFPN, CVPR 2020)."""


@command(main)
def models(as_json: bool) -> Any:
    """Every system of the paper: multiply-adds and parameters beside the paper's figures."""
    from .models.published import published_table

    rows = published_table()
    if not as_json:
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
                stdout().print(f"{row.name}: {row.paper.note}")
    return {"models": rows}


@command(main)
@click.option("--fetch-tool", metavar="ABI", help="Download benchmark_model for this ABI.")
def devices(fetch_tool: str | None, as_json: bool) -> Any:
    """This PC and every adb device, its state, and the fix for a bad state."""
    from .device_list import find_devices

    if fetch_tool:
        from .android_harness.benchmark_tool import fetch_tool as fetch

        tool = fetch(fetch_tool)
        if not as_json:
            stdout().print(f"benchmark_model for {fetch_tool}: {tool.path}, sha256 {tool.sha256}")
        return {"tool": tool}
    found = find_devices()
    if not as_json:
        columns = ("device", "state", "what it is", "what to do")
        rows = [(item.serial, item.state, item.what, item.fix) for item in found]
        print_table("Devices for --device", columns, rows)
    return {"devices": found}


@command(main)
@click.option("--device", default="host", show_default=True, help="host, or an adb serial.")
@click.option("--space", type=click.Choice(SPACES[:3]), default="mnasfpn", show_default=True)
@click.option("--out", type=FILE, required=True, help="The profile to write.")
@click.option("--binary", type=FILE, help="A benchmark_model for the phone.")
@click.option("--store", type=FILE, help="Raw runs; default: OUT with the suffix .db.")
@click.option("--calibration-heads", default=24, show_default=True)
@click.option("--validation-heads", default=40, show_default=True)
@click.option("--runtime", type=click.Choice(("xnnpack", "builtin")), default="xnnpack")
@click.option("--seed", default=0, show_default=True)
def profile(
    device: str,
    space: str,
    out: Path,
    binary: Path | None,
    store: Path | None,
    calibration_heads: int,
    validation_heads: int,
    runtime: str,
    seed: int,
    as_json: bool,
) -> Any:
    """Measure every kernel that a space needs, and whole random heads. Resumable."""
    from .device_list import opened
    from .latency.execution import runtime_named
    from .latency.profile import save_profile
    from .latency.profiling import ProfilingPlan, profile_device
    from .latency.store import MeasurementStore
    from .models.published import published
    from .search.spaces import search_space

    plan = ProfilingPlan(
        space=search_space(space).space,
        detectors=(published("mobilenetv2-mnasfpn").graph(),),
        seed=seed,
        calibration_heads=calibration_heads,
        validation_heads=validation_heads,
        runtime=runtime_named(runtime),
    )
    with (
        opened(device, binary) as target,
        MeasurementStore(store or out.with_suffix(".db")) as runs,
        progress(f"profiling {device}", quiet=as_json) as report,
    ):
        result = profile_device(target, plan, runs, progress=report)
    save_profile(result, out)
    summary = {
        "profile": str(out),
        "device": result.device,
        "provenance": result.provenance,
        "kernels": len(result.table),
        "heads": len(result.heads),
        "unstable_share": result.measuring.unstable,
    }
    if not as_json:
        stdout().print(
            f"{out}: {len(result.table)} kernels and {len(result.heads)} heads {result.provenance} "
            f"on {result.device.soc}, {result.measuring.unstable:.0%} of them UNSTABLE\n"
            f"next: mnasfpn fit {out}"
        )
    return summary


@command(main)
@click.argument("profile", type=FILE)
def fit(profile: Path, as_json: bool) -> Any:
    """Fit a measured profile and validate it on heads that were used for nothing else."""
    from .latency.fit import fit as fit_profile
    from .latency.profile import load_profile, save_profile
    from .latency.summary import validation_rows

    fitted = fit_profile(load_profile(profile))
    save_profile(fitted, profile)
    validation = fitted.validation
    assert validation is not None
    if not as_json:
        print_table(
            f"{validation.accuracy.models} held-out heads, {fitted.provenance} on "
            f"{fitted.device.soc}",
            ("figure", "prediction", "95 % interval", "measured again (noise floor)"),
            validation_rows(validation),
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
    return {"profile": str(profile), "validation": validation}


@command(main)
@click.argument("model")
@click.option("--profile", required=True, help="A profile, or a bundled one's name.")
@click.option("--layers", is_flag=True, help="One row for each kernel.")
@click.option("--allow-gaps", is_flag=True, help="Name unknown kernels instead of failing.")
def estimate(model: str, profile: str, layers: bool, allow_gaps: bool, as_json: bool) -> Any:
    """Latency of MODEL from a profile, offline.

    MODEL is a published name, a genotype or detector .json, a .jsonl of many, or any .tflite.
    """
    from .latency.estimate import Estimator
    from .latency.profiles import open_profile
    from .models.files import resolve_all

    estimator = Estimator(open_profile(profile))
    found = {item.name: estimator.estimate(item.graph, allow_gaps) for item in resolve_all(model)}
    if not found:
        raise InvalidInput(f"{model} holds no model; expected one JSON object on each line")
    if not as_json:
        _print_estimates(found, layers)
    return {"estimates": {name: _estimate_json(value, layers) for name, value in found.items()}}


def _print_estimates(found: dict[str, LatencyEstimate], layers: bool) -> None:
    for name, value in found.items():
        parts = ", ".join(f"{part} {ms:.2f}" for part, ms in value.by_part_ms.items())
        stdout().print(
            f"[bold]{name}[/bold]: [bold]{value.latency_ms:.2f} ms[/bold] "
            f"({value.low_ms:.2f} to {value.high_ms:.2f} ms with {value.coverage:.0%}), "
            f"{value.provenance}\n  {parts} ms"
        )
        for signature in value.uncovered:
            stdout().print(f"  [yellow]not covered, not in the sum:[/yellow] {signature}")
        if layers:
            print_table(
                "",
                ("ms", "from", "partition", "kernel", "layers"),
                [
                    (f"{c.latency_ms:.4f}", c.source, c.partition, c.kernel, " ".join(c.layers))
                    for c in value.contributions
                ],
            )
    stdout().print(f"profile: {next(iter(found.values())).accuracy}")


def _estimate_json(value: LatencyEstimate, layers: bool) -> dict[str, Any]:
    fields = {
        "latency_ms": value.latency_ms,
        "low_ms": value.low_ms,
        "high_ms": value.high_ms,
        "coverage": value.coverage,
        "provenance": value.provenance,
        "accuracy": value.accuracy,
        "by_part_ms": value.by_part_ms,
        "by_source_ms": value.by_source_ms,
        "uncovered": value.uncovered,
    }
    return fields | ({"layers": value.contributions} if layers else {})


@command(main)
@click.option("--space", type=click.Choice(SPACES), default="mnasfpn", show_default=True)
@click.option("--profile", required=True, help="A fitted profile, or a bundled one's name.")
@click.option("--task", default="digits", show_default=True, help="digits, or a COCO folder.")
@click.option("--samples", default=100, show_default=True, help="Trials in all.")
@click.option(
    "--controller",
    type=click.Choice(("ppo", "evolution", "random")),
    default="ppo",
    show_default=True,
)
@click.option("--study", type=FILE, required=True, help="The study's file; continued if there.")
@click.option("--workers", default=1, show_default=True, help="Processes that train.")
@click.option("--repeats", default=3, show_default=True, help="Cells of the estimated detector.")
@click.option("--exponent", default=-0.3, show_default=True, help="w of mAP x LAT^w.")
@click.option("--seed", default=0, show_default=True)
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
    """Search for heads; reward mAP x LAT^w. Resumable: the same command goes on."""
    from .search.run import search as run
    from .search.run import search_plan

    plan = search_plan(space, controller, profile, task, repeats, exponent, seed, study)
    with progress(f"{controller} search", quiet=as_json) as report:
        found = run(study, plan, samples, workers, report)
    if not as_json:
        _print_frontier(found)
    return {"study": str(study), "frontier": [row.to_json() for row in found]}


def _print_frontier(found: Any) -> None:
    from .search.frontier import FrontierRow

    rows = [row.cells() for row in found]
    print_table("Pareto frontier: no other trial is faster and better", FrontierRow.HEADINGS, rows)


@command(main)
@click.argument("study", type=FILE)
@click.option("--at", help="Latencies in ms, comma-separated; default: spread over the frontier.")
@click.option("--repeats", default="3,4,5", show_default=True, help="Cells of each finalist.")
@click.option("--profile", help="Instead of the study's own.")
@click.option("--out", type=FILE, help="Folder for the finalists' detectors and drawings.")
def frontier(
    study: Path, at: str | None, repeats: str, profile: str | None, out: Path | None, as_json: bool
) -> Any:
    """The Pareto frontier of a study, and the best models at given latencies."""
    from .search.run import finalists

    found, chosen = finalists(study, _numbers(at, "--at"), _numbers(repeats, "--repeats"), profile)
    if out:
        from .search.run import write_finalists

        write_finalists(chosen, out)
    if not as_json:
        _print_frontier(found)
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
    return {
        "frontier": [row.to_json() for row in found],
        "finalists": [
            {"trial": f.trial, "repeats": f.repeats, "latency_ms": f.latency_ms} for f in chosen
        ],
    }


def _numbers(text: str | None, option: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")] if text else []
    except ValueError:
        raise InvalidInput(f"{option} takes numbers like 166,173,180, got {text!r}") from None


@command(main)
@click.argument("model")
@click.option("--data", type=FILE, required=True, help="A folder in COCO's layout.")
@click.option("--split", default="train", show_default=True)
@click.option("--recipe", default="finetune", show_default=True)
@click.option("--out", type=FILE, required=True, help="The run's folder; continued if there.")
@click.option("--weights", type=FILE, help="An .npz to start from.")
@click.option("--seed", default=0, show_default=True)
def train(
    model: str,
    data: Path,
    split: str,
    recipe: str,
    out: Path,
    weights: Path | None,
    seed: int,
    as_json: bool,
) -> Any:
    """Train MODEL on a dataset. Resumable: the same command goes on."""
    from .jobs import train_model

    with progress("training", quiet=as_json) as report:
        run = train_model(model, data, split, recipe, out, weights, seed, report)
    if not as_json:
        stdout().print(f"{out}: {len(run.history)} steps, last loss {run.history[-1].total:.4f}")
    return {"run": str(out), "steps": len(run.history), "loss": run.history[-1].total}


@command(main)
@click.argument("model", type=FILE)
@click.option("--data", type=FILE, required=True, help="A folder in COCO's layout.")
@click.option("--split", default="val", show_default=True)
def evaluate(model: Path, data: Path, split: str, as_json: bool) -> Any:
    """COCO mAP of a training run or a .tflite."""
    from .jobs import evaluate_model

    with progress("evaluating", quiet=as_json) as report:
        precision = evaluate_model(model, data, split, report)
    if not as_json:
        stdout().print(f"mAP {precision.map:.4f}, at IoU 0.5 {precision.map50:.4f} ({split})")
    return {"precision": precision}


@command(main)
@click.argument("model")
@click.option("--precision", type=click.Choice(("float32", "float16", "int8")), default="float32")
@click.option("--data", type=FILE, help="Images to calibrate int8 on and to compare on.")
@click.option("--split", default="train", show_default=True)
@click.option("--images", default=32, show_default=True, help="How many of them.")
@click.option("--out", type=FILE, required=True, help="A name that ends in .tflite.")
@click.option("--seed", default=0, show_default=True)
def export(
    model: str,
    precision: Any,
    data: Path | None,
    split: str,
    images: int,
    out: Path,
    seed: int,
    as_json: bool,
) -> Any:
    """A trained run (or MODEL with random weights) as .tflite, compared with Keras."""
    from .jobs import export_model

    report = export_model(model, precision, data, split, images, out, seed)
    if not as_json:
        stdout().print(
            f"{out}: {report.size_bytes / 1e6:.2f} MB, {sum(report.operators.values())} operators, "
            f"all builtin\ncompared with Keras on {report.images} images: scores differ by at most "
            f"{report.max_score_difference:.2g}, box codes by {report.max_code_difference:.2g}"
        )
    return {"report": report}


@command(main)
@click.option("--profile", required=True, help="A profile, or a bundled one's name.")
@click.option("--study", type=FILE, help="A study of a search on that profile.")
@click.option("--out", type=FILE, required=True, help="The .html to write.")
def report(profile: str, study: Path | None, out: Path, as_json: bool) -> Any:
    """An HTML report of a profile, and of a search."""
    from .report.content import write_report

    write_report(profile, study, out)
    if not as_json:
        stdout().print(f"{out}")
    return {"report": str(out)}


@command(main)
@click.option("--out", type=FILE, default=Path("quickstart"), show_default=True)
@click.option("--seed", default=0, show_default=True)
def quickstart(out: Path, seed: int, as_json: bool) -> Any:
    """Profile this PC, search, train, export and report: at most ten minutes."""
    from .quickstart import run_quickstart

    return run_quickstart(out, seed, quiet=as_json)


if __name__ == "__main__":
    main()
