"""``mnasfpn evaluate``: COCO's average precision of what was trained or exported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from .. import options
from ..console import command, progress, say


@command
@click.argument("model", type=options.FILE)
@click.option("--data", type=options.FILE, required=True, help="A folder in COCO's layout.")
@options.text("--split", "val", "Its part to evaluate on.")
@options.signature
def evaluate(model: Path, data: Path, split: str, signature: str | None, as_json: bool) -> Any:
    """COCO mAP of a training run or of a .tflite.

    MODEL is the folder of a finished training, or an exported file.
    """
    from ...models.data.coco import read_coco
    from ...models.evaluation.evaluate import evaluate as evaluate_predictor
    from ...models.evaluation.predictors import predictor_of

    with progress("evaluating", quiet=as_json) as report:
        examples = read_coco(data, split)
        predictor = predictor_of(model, signature)
        precision = evaluate_predictor(predictor, examples, progress=report)
    if not as_json:
        say(f"mAP {precision.map:.4f}, at IoU 0.5 {precision.map50:.4f} ({split})")
    return {"precision": precision}
