"""``mnasfpn evaluate``: COCO's average precision of what was trained or exported."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .. import options
from ..console import command, print_table, progress, say

if TYPE_CHECKING:
    from ...models.evaluation.coco_metrics import MeanPrecision


@command
@click.argument("model", type=options.FILE)
@options.dataset
@options.text("--split", "val", "Its part to evaluate on.")
@options.signature
@options.choice(
    "--metrics", ("pycocotools", "faster-coco-eval"), "Who computes them; the latter is an extra."
)
def evaluate(
    model: Path,
    data: Path | None,
    train_json: Path | None,
    val_json: Path | None,
    images: Path | None,
    skip_bad: bool,
    split: str,
    metrics: Any,
    signature: str | None,
    as_json: bool,
) -> Any:
    """COCO mAP of a training run or of a .tflite.

    MODEL is the folder of a finished training, or an exported file of either form. Classes of a
    run and of the data are matched by name.
    """
    from ...models.data.coco import read_coco
    from ...models.evaluation.evaluate import evaluate as evaluate_finder
    from ...models.evaluation.predictors import finder_of
    from ...models.training.run_folder import is_run, load_settings
    from ..datasets import part_of

    with progress("evaluating", quiet=as_json) as report:
        finder = finder_of(model, signature)
        classes = load_settings(model).classes if is_run(model) else None
        where = part_of(split, data, train_json, val_json, images)
        examples = read_coco(where, split, classes, skip_bad=skip_bad, progress=report)
        precision = evaluate_finder(finder, examples, progress=report, metrics=metrics)
    if not as_json:
        say(str(examples))
        for line in examples.findings.lines("left out"):
            say(f"  {line}")
        _print(precision, split)
    return {"precision": precision, "findings": examples.findings.places}


def _print(precision: MeanPrecision, split: str) -> None:
    say(
        f"mAP {precision.map:.4f}, at IoU 0.5 {precision.map50:.4f}, at 0.75 "
        f"{precision.map75:.4f}; small {precision.small:.4f}, medium {precision.medium:.4f}, large "
        f"{precision.large:.4f} ({split})"
    )
    print_table(
        "",
        ("class", "AP", "AP50"),
        [
            (name, f"{value:.4f}", f"{precision.per_class50[name]:.4f}")
            for name, value in precision.per_class.items()
        ],
        words=("class",),
    )
