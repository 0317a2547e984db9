"""Training a detector: interruptible, resumable, and the same every time.

What is shown at a step is a function of seed and step, so a training resumed from its checkpoint
goes on exactly where it was: on one machine, with the same number of processes, to the same bits.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ...errors import InvalidInput
from ...progress import Progress, silent
from ..data.coco import CocoSplit
from ..detection.losses import TRAINED_OUTPUTS
from ..detector import Detector
from ..graph.graph import Graph
from ..graph.weights import Weights, balanced_weights, random_weights
from ..networks.torch_threads import with_threads
from .compute import Compute, fastest_threads, joined
from .recipes import Recipe
from .run_folder import (
    WEIGHTS,
    TrainingRun,
    TrainingSettings,
    data_digest,
    is_run,
    load_run,
    load_settings,
    start_run,
)
from .training_job import TrainingJob, ValidationPlan

CHECKPOINT_STEPS = 200


def training_graph(detector: Detector, norm_momentum: float | None = None) -> Graph:
    """The detector up to its logits, before the sigmoid.

    Args:
        norm_momentum: of every batch norm instead of its own.
    """
    graph = detector.graph().prune(TRAINED_OUTPUTS)
    if norm_momentum is None:
        return graph
    layers = (
        layer
        if (norm := layer.attributes.norm) is None
        else replace(
            layer,
            attributes=replace(layer.attributes, norm=replace(norm, momentum=norm_momentum)),
        )
        for layer in graph
    )
    return Graph(tuple(layers), graph.outputs)


def warm_start(
    graph: Graph, seed: int, initial: Weights | None, balanced: bool = False
) -> tuple[Weights, int]:
    """Drawn weights, replaced by the given ones wherever name and shape agree.

    So a backbone's weights alone will do, or those of a detector with other classes.

    Args:
        balanced: see :class:`.recipes.Recipe`.

    Returns:
        Weights, and how many arrays were given.

    Raises:
        InvalidInput: none of the given arrays fits.
    """
    weights = (balanced_weights if balanced else random_weights)(graph, seed)
    given = {
        key: np.asarray(value, np.float32)
        for key, value in (initial or {}).items()
        if key in weights and weights[key].shape == np.shape(value)
    }
    if initial and not given:
        raise InvalidInput(
            f"none of the {len(initial)} initial weight arrays fits the model, for example "
            f"{next(iter(initial))!r}; give weights of the same backbone and width"
        )
    return weights | given, len(given)


def train(
    detector: Detector,
    data: CocoSplit,
    recipe: Recipe,
    out: Path | str,
    *,
    seed: int = 0,
    initial: Weights | None = None,
    validation: ValidationPlan | None = None,
    compute: Compute | None = None,
    skip_bad: bool = False,
    tensorboard: bool = False,
    progress: Progress = silent,
    checkpoint_steps: int = CHECKPOINT_STEPS,
) -> TrainingRun:
    """Train, or go on with a training that was stopped, or return one that has finished.

    Started by ``torchrun``, all its processes train together, each on its part of every batch.

    Args:
        data: as many classes as the detector has.
        out: the run's folder, made if needed.
        initial: weights to start from where they fit (see :func:`warm_start`).
        skip_bad: where an image turns out to be unreadable, the next one is shown.
        tensorboard: write its event files into the run's folder, too.
        progress: called with (steps done, steps in all, losses and the last validation).
        checkpoint_steps: how often to save at least; an interrupt saves as well.

    Raises:
        InvalidInput: the classes differ, or the folder holds another training.
        JobFailed: interrupted, an image cannot be read, or the loss is no longer a number; what was
            done is saved.
    """
    out, compute = Path(out), compute or Compute()
    if len(data.classes) != detector.classes:
        raise InvalidInput(
            f"the detector has {detector.classes} classes and the data {len(data.classes)}; "
            f"build the detector with classes={len(data.classes)}"
        )
    with joined(compute.device) as ranks:
        if recipe.batch_size % ranks.world:
            raise InvalidInput(
                f"a batch of {recipe.batch_size} images cannot be shared by {ranks.world} "
                f"processes; choose a multiple of {ranks.world} with --batch-size"
            )
        graph = training_graph(detector, recipe.norm_momentum)
        weights, given = warm_start(graph, seed, initial, recipe.initial == "balanced")
        threads = _threads(out, compute, graph, weights)
        settings = TrainingSettings(
            recipe,
            seed,
            data.classes,
            len(data),
            (given, len(weights)),
            data_digest(data),
            threads,
        )
        if ranks.first:
            start_run(out, detector, settings)
        ranks.wait()
        if (out / WEIGHTS).is_file():
            return load_run(out)
        job = TrainingJob(out, detector, data, recipe, seed, compute, ranks, validation)
        with with_threads(threads):
            job.run(graph, weights, skip_bad, tensorboard, progress, checkpoint_steps)
        ranks.wait()
    return load_run(out)


def _threads(out: Path, compute: Compute, graph: Graph, weights: Weights) -> int:
    """As asked, as the run began, or else what is fastest on this machine now."""
    if compute.threads is not None:
        return compute.threads
    if is_run(out) and (begun := load_settings(out).threads):
        return begun
    import torch

    from ..networks.torch_network import TorchGraph

    network = TorchGraph(graph, weights).eval()
    image = torch.zeros(1, *graph["image"].shape[3:], *graph["image"].shape[1:3])

    def step() -> None:
        sum(value.sum() for value in network({"image": image}).values()).backward()

    return fastest_threads(step)
