"""``mnasfpn train``: a model on a dataset."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from .. import options
from ..console import command, progress, say


@command
@click.argument("model")
@click.option("--data", type=options.FILE, required=True, help="A folder in COCO's layout.")
@options.text("--split", "train", "Its part to train on.")
@options.text("--recipe", "finetune", "val2017, test-dev, proxy, finetune or digits.")
@click.option(
    "--out", type=options.FILE, required=True, help="The run's folder; continued if there."
)
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
    from ...models.data.coco import read_coco
    from ...models.model_files import named_detector
    from ...models.training.pretrained_backbones import initial_weights
    from ...models.training.recipes import recipe as recipe_named
    from ...models.training.train import train as train_detector

    with progress("training", quiet=as_json) as report:
        named = named_detector(model)
        chosen = recipe_named(recipe)
        examples = read_coco(data, split)
        detector = replace(named, classes=len(examples.classes))
        graph, backbone = detector.graph(), detector.backbone
        run = train_detector(
            detector,
            examples,
            chosen,
            out,
            seed=seed,
            initial=initial_weights(graph, backbone, weights) if weights else None,
            progress=lambda loss, total: report(loss.step, total, f"loss {loss.total:.3f}"),
        )
    if not as_json:
        say(f"{out}: {len(run.history)} steps, last loss {run.history[-1].total:.4f}")
    return {"run": str(out), "steps": len(run.history), "loss": run.history[-1].total}
