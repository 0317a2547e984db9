"""The command line: every command parses, calls one function of a folder, and prints its result.

Heavy libraries are imported by the commands that use them, so that ``mnasfpn estimate`` answers at
once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .. import __version__
from ..errors import InvalidInput
from . import listings, options
from .console import command, progress, say
from .options import FILE

SPACES = ("mnasfpn", "no-expand", "conn-search", "nas-fpnlite-s")
SPACE = "The paper's search space."
COMMON_ABI = "arm64-v8a"  # of any phone of the last years


class InOrder(click.Group):
    """Lists commands in the order of a person's work."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(
    cls=InOrder, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="mnasfpn")
def main() -> None:
    """Measure, predict, search and ship mobile detectors (after MnasFPN, CVPR 2020)."""


@command(main)
def models(as_json: bool) -> Any:
    """The systems of the paper, MAdds and params beside its figures."""
    from ..models.published import published_table

    rows = published_table()
    if not as_json:
        listings.print_models(rows)
    return {"models": rows}


@command(main)
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
    from ..android_harness.devices import find_devices

    if sha256 and not fetch_tool:
        raise InvalidInput("--sha256 is of a program to download; give --fetch-tool as well")
    if fetch_tool:
        from ..android_harness.phone.benchmark_tool import fetch_tool as fetch

        tool = fetch(fetch_tool, sha256)
        if not as_json:
            say(f"benchmark_model for {fetch_tool}: {tool.path}, sha256 {tool.sha256}")
        return {"tool": tool}
    found = find_devices()
    if not as_json:
        listings.print_devices(found)
    return {"devices": found}


@command(main)
@options.text("--device", "host", "host, phone for the only one there is, or an adb serial.")
@options.choice("--space", SPACES[:3], SPACE)
@options.count(
    "--input-size", 320, "Pixels of the detectors' square image, a multiple of 64.", least=64
)
@options.output("--out", "The profile to write.")
@click.option("--binary", type=FILE, help="A benchmark_model for the phone.")
@options.output("--store", "Raw runs; default: OUT with the suffix .db.", required=False)
@options.count(
    "--calibration-heads", 24, "Whole random heads to calibrate sums of kernels on.", least=5
)
@options.count(
    "--validation-heads", 40, "Others, measured twice, to tell how good predictions are.", least=5
)
@options.count(
    "--general", 0, "Kernels of other networks, to estimate any .tflite; 256 do well.", least=0
)
@options.text(
    "--arithmetic", "float32", "Of these, and of whole models: float32,int8,hybrid (int8 weights)."
)
@options.choice(
    "--runtime", ("xnnpack", "builtin"), "With the XNNPACK delegate, or TFLite's builtin kernels."
)
@options.choice(
    "--kernels",
    ("auto", "packed", "alone"),
    "Many in one file, by the operator profile, or one each; auto: packed on phones.",
)
@options.choice(
    "--operators",
    ("auto", "yes", "no"),
    "Calibration heads once more, by operator; auto: on this PC, if it has a C compiler.",
)
@options.seed
def profile(
    device: str,
    out: Path,
    binary: Path | None,
    store: Path | None,
    as_json: bool,
    **asked: Any,
) -> Any:
    """Measure a device: all kernels of a space, and whole heads.

    The same command goes on where it was stopped; raw runs are kept in --store.
    """
    from ..android_harness.devices import opened
    from ..latency.profile.device_profile import save_profile
    from ..latency.profiling.profile_device import profile_device
    from ..latency.profiling.store import MeasurementStore
    from .jobs import profiling_plan

    plan = profiling_plan(device, **asked)
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
        "failed": result.measuring.failed,
    }
    if not as_json:
        listings.print_measured(result, out)
    return summary


@command(main)
@click.argument("profile", type=FILE)
def fit(profile: Path, as_json: bool) -> Any:
    """Fit a measured profile, and tell how good its predictions are.

    PROFILE is a file made by `mnasfpn profile`; the fit is written into it. The figures are those
    of held-out heads, which were used for nothing else.
    """
    from ..latency.fitting.fit import fit as fit_profile
    from ..latency.profile.device_profile import load_profile, save_profile

    fitted = fit_profile(load_profile(profile))
    save_profile(fitted, profile)
    if not as_json:
        listings.print_fit(fitted)
    return {"profile": str(profile), "validation": fitted.validation}


@command(main)
@click.argument("model")
@click.option("--profile", required=True, help="A profile, or a bundled one's name.")
@click.option("--layers", is_flag=True, help="One row for each kernel.")
@click.option("--strict", is_flag=True, help="Fail where kernels are unknown; else: bounds.")
def estimate(model: str, profile: str, layers: bool, strict: bool, as_json: bool) -> Any:
    """Latency of a model from a profile, with no device.

    MODEL is a published name, a genotype or detector .json, a .jsonl of many, or any .tflite.
    """
    from ..latency.estimate.estimate import Estimator
    from ..latency.profiles import open_profile
    from ..models.model_files import resolve_all

    estimator = Estimator(open_profile(profile))
    found = {item.name: estimator.estimate(item.graph, not strict) for item in resolve_all(model)}
    if not found:
        raise InvalidInput(f"{model} holds no model; expected one JSON object on each line")
    if not as_json:
        listings.print_estimates(found, layers)
    as_objects = {name: listings.estimate_json(value, layers) for name, value in found.items()}
    return {"estimates": as_objects}


@command(main)
@options.choice("--space", SPACES, SPACE)
@click.option("--profile", required=True, help="A fitted profile, or a bundled one's name.")
@options.text("--task", "digits", "digits, or a COCO folder.")
@options.count("--samples", 100, "Trials in all.")
@options.choice("--controller", ("ppo", "evolution", "random"), "What proposes the trials.")
@options.output("--study", "The study's file; continued if there.")
@options.count("--workers", 1, "Processes that train.")
@options.count("--repeats", 3, "Cells of the estimated detector.")
@click.option("--exponent", default=-0.3, show_default=True, help="w of mAP x LAT^w.")
@options.seed
def search(as_json: bool, **asked: Any) -> Any:
    """Search for accurate and fast heads; reward mAP x LAT^w.

    The same command goes on where it was stopped.
    """
    from ..search.detector_search import search as run
    from ..search.search_request import SearchRequest

    request = SearchRequest(**asked)
    with progress(f"{request.controller} search", quiet=as_json) as report:
        found = run(request, report)
    if not as_json:
        listings.print_frontier(found)
    return {"study": str(request.study), "frontier": [row.to_json() for row in found]}


@command(main)
@click.argument("study", type=FILE)
@click.option("--at", help="Latencies in ms, comma-separated; default: spread over the frontier.")
@options.text("--repeats", "3,4,5", "Cells of each finalist.")
@click.option("--profile", help="Estimate with this one instead of the study's.")
@click.option("--out", type=FILE, help="Folder for the finalists' detectors and drawings.")
def frontier(
    study: Path, at: str | None, repeats: str, profile: str | None, out: Path | None, as_json: bool
) -> Any:
    """The Pareto frontier of a study, and its finalists."""
    from ..search.finalists import shortlist, write_finalists

    found, chosen = shortlist(
        study,
        options.numbers(at, "--at", float),
        options.numbers(repeats, "--repeats", int),
        profile,
    )
    if out:
        write_finalists(chosen, out)
    if not as_json:
        listings.print_frontier(found)
        listings.print_finalists(chosen, out)
    return {
        "frontier": [row.to_json() for row in found],
        "finalists": [
            {"trial": f.trial, "repeats": f.repeats, "latency_ms": f.latency_ms} for f in chosen
        ],
    }


@command(main)
@click.argument("model")
@click.option("--data", type=FILE, required=True, help="A folder in COCO's layout.")
@options.text("--split", "train", "Its part to train on.")
@options.text("--recipe", "finetune", "val2017, test-dev, proxy, finetune or digits.")
@click.option("--out", type=FILE, required=True, help="The run's folder; continued if there.")
@click.option("--weights", metavar="FILE", help="To start from: an .npz, or imagenet (downloads).")
@options.seed
def train(
    model: str,
    data: Path,
    split: str,
    recipe: str,
    out: Path,
    weights: str | None,
    seed: int,
    as_json: bool,
) -> Any:
    """Train a model on a dataset in COCO's layout.

    MODEL is a published name, or a genotype or detector .json. The same command goes on where it
    was stopped.
    """
    from .jobs import train_model

    with progress("training", quiet=as_json) as report:
        run = train_model(model, data, split, recipe, out, weights, seed, report)
    if not as_json:
        say(f"{out}: {len(run.history)} steps, last loss {run.history[-1].total:.4f}")
    return {"run": str(out), "steps": len(run.history), "loss": run.history[-1].total}


@command(main)
@click.argument("model", type=FILE)
@click.option("--data", type=FILE, required=True, help="A folder in COCO's layout.")
@options.text("--split", "val", "Its part to evaluate on.")
def evaluate(model: Path, data: Path, split: str, as_json: bool) -> Any:
    """COCO mAP of a training run or of a .tflite.

    MODEL is the folder of a finished training, or an exported file.
    """
    from .jobs import evaluate_model

    with progress("evaluating", quiet=as_json) as report:
        precision = evaluate_model(model, data, split, report)
    if not as_json:
        say(f"mAP {precision.map:.4f}, at IoU 0.5 {precision.map50:.4f} ({split})")
    return {"precision": precision}


@command(main)
@click.argument("model")
@options.choice(
    "--precision",
    ("float32", "float16", "int8"),
    "Of the file's weights; int8: of everything in it.",
)
@click.option("--data", type=FILE, help="Images to calibrate int8 on and to compare on.")
@options.text("--split", "train", "Which of its images.")
@options.count("--images", 32, "How many of them.")
@click.option("--out", type=FILE, required=True, help="A name that ends in .tflite.")
@options.seed
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
    """A trained model as .tflite, compared with Keras.

    MODEL is the folder of a finished training; or any model that can be trained, with random
    weights.
    """
    from .jobs import export_model

    report = export_model(model, precision, data, split, images, out, seed)
    if not as_json:
        listings.print_export(report, out)
    return {"report": report}


@command(main)
@click.option("--profile", required=True, help="A profile, or a bundled one's name.")
@click.option("--study", type=FILE, help="A study of a search on that profile.")
@options.output("--out", "The .html to write.")
def report(profile: str, study: Path | None, out: Path, as_json: bool) -> Any:
    """An HTML report of a profile, and of a search."""
    from ..report.content import write_report

    write_report(profile, study, out)
    if not as_json:
        say(str(out))
    return {"report": str(out)}


@command(main)
@click.option(
    "--out",
    type=FILE,
    default=Path("quickstart"),
    show_default=True,
    help="Folder for all of it; continued if there.",
)
@options.seed
def quickstart(out: Path, seed: int, as_json: bool) -> Any:
    """All of it on this PC in ten minutes, from profile to report."""
    from .quickstart import run_quickstart

    return run_quickstart(out, seed, quiet=as_json)
