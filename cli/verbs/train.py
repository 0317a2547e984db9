"""``mnasfpn train``: a model on a dataset."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .. import options
from ..console import command, progress, say

if TYPE_CHECKING:
    from ...models.data.coco import CocoSplit
    from ...models.training.recipes import Recipe
    from ...models.training.run_folder import TrainingRun
    from ...progress import Progress


@command
@click.argument("model")
@options.dataset
@options.text("--split", "train", "Its part to train on; train+val for both.")
@options.text("--val-split", "val", "Its part to validate on meanwhile.")
@options.text("--recipe", "finetune", "val2017, test-dev, proxy, finetune, features or digits.")
@click.option(
    "--out", type=options.FILE, required=True, help="The run's folder; continued if there."
)
@click.option("--weights", metavar="FILE", help="To start from: an .npz, or imagenet (downloads).")
@click.option("--length", type=float, help="Epochs or steps instead of the recipe's.")
@click.option("--batch-size", type=click.IntRange(min=1), help="The learning rate grows with it.")
@options.number("--validate", 5.0, "Epochs between validations; 0 for none.", least=0)
@click.option(
    "--patience",
    type=click.IntRange(min=1),
    help="Stop after so many validations in vain.",
)
@options.choice("--device", ("auto", "cpu", "cuda", "mps"), "To compute on.")
@click.option("--bfloat16", is_flag=True, help="Multiply in bfloat16.")
@click.option("--compile", "compiled", is_flag=True, help="Through torch.compile.")
@click.option(
    "--at-once",
    type=click.IntRange(min=1),
    help="Images at a time; larger batches are accumulated.",
)
@options.count("--workers", 2, "Processes that prepare images.", least=0)
@click.option("--threads", type=click.IntRange(min=1), help="Of a CPU; default: what is fastest.")
@click.option("--tensorboard", is_flag=True, help="Write its event files into the run's folder.")
@options.seed
def train(
    model: str,
    data: Path | None,
    train_json: Path | None,
    val_json: Path | None,
    images: Path | None,
    skip_bad: bool,
    split: str,
    val_split: str,
    recipe: str,
    out: Path,
    weights: str | None,
    length: float | None,
    batch_size: int | None,
    validate: float,
    patience: int | None,
    tensorboard: bool,
    seed: int,
    as_json: bool,
    **compute: Any,
) -> Any:
    """Train a model on a dataset in COCO's form.

    MODEL is a published name, or a genotype or detector .json. The same command goes on where it
    was stopped. Several GPUs: torchrun --nproc-per-node N -m mnasfpn train ...
    """
    from ...models.data.coco import joined_splits, read_coco
    from ...models.model_files import named_detector
    from ...models.training.compute import Compute
    from ...models.training.pretrained_backbones import initial_weights
    from ...models.training.recipes import recipe as recipe_named
    from ...models.training.train import train as train_detector
    from ...models.training.training_job import ValidationPlan
    from ..datasets import part_of

    quiet = as_json or os.environ.get("RANK", "0") != "0"
    files = (data, train_json, val_json, images)
    with progress("training", quiet=quiet) as report:
        named = named_detector(model)
        chosen = _changed(recipe_named(recipe), length, batch_size)
        parts: list[CocoSplit] = []
        for part in split.split("+"):
            classes = parts[0].classes if parts else None
            where = part_of(part, *files)
            parts.append(read_coco(where, part, classes, skip_bad=skip_bad, progress=report))
        examples = joined_splits(parts)
        validation = None
        if validate and val_split not in split.split("+"):
            where = part_of(val_split, *files)
            held_out = read_coco(
                where, val_split, examples.classes, skip_bad=skip_bad, progress=report
            )
            validation = ValidationPlan(held_out, validate, patience)
        read = [*parts, *([validation.data] if validation else [])]
        detector = replace(named, classes=len(examples.classes))
        graph, backbone = detector.graph(), detector.backbone
        run = train_detector(
            detector,
            examples,
            chosen,
            out,
            seed=seed,
            initial=initial_weights(graph, backbone, weights) if weights else None,
            validation=validation,
            compute=Compute(**compute),
            skip_bad=skip_bad,
            tensorboard=tensorboard,
            progress=_saying_once(report, [] if quiet else read),
        )
    if not quiet:
        _print(run)
    best = max(run.validated, key=lambda each: each.map, default=None)
    return {
        "run": str(out),
        "steps": len(run.history),
        "loss": run.history[-1].total if run.history else None,
        "best_validation": best,
    }


def _changed(recipe: Recipe, length: float | None, batch_size: int | None) -> Recipe:
    if length is not None:
        recipe = recipe.with_length(length)
    return recipe if batch_size is None else recipe.with_batch(batch_size)


def _saying_once(report: Progress, read: list[CocoSplit]) -> Progress:
    """A progress that says what was read as soon as the training has begun."""

    def progress(done: int, total: int, what: str) -> None:
        while read:
            data = read.pop(0)
            say(str(data))
            for line in data.findings.lines("left out"):
                say(f"  {line}")
        report(done, total, what)

    return progress


def _print(run: TrainingRun) -> None:
    last = f", last loss {run.history[-1].total:.4f}" if run.history else ""
    say(f"{run.folder}: {len(run.history)} steps{last}")
    if run.validated:
        best = max(run.validated, key=lambda each: each.map)
        say(
            f"kept: the weights of step {best.step}, validation AP {best.map:.4f}, AP50 "
            f"{best.map50:.4f}; the last ones had AP {run.validated[-1].map:.4f}"
        )
    say(
        f"next: mnasfpn evaluate {run.folder} --data ...; what was trained, with its "
        f"{run.detector.classes} classes: mnasfpn estimate {run.folder}/detector.json --profile ..."
    )
