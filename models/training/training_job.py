"""One training in one process: step after step, validated, saved, and ended for whatever reason."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import InvalidInput, JobFailed
from ...progress import Progress
from ...storage.atomic import write_atomically
from ...storage.interruption import ctrl_c_held_back
from ..data.coco import CocoSplit
from ..data.image_files import BadImage
from ..data.loading import Batch, Samples, TrainingImages, batches
from ..detection.anchors import anchors_for
from ..detector import Detector
from ..graph.graph import Graph
from ..graph.parts import without_backbone
from ..graph.weights import Weights, weight_shapes
from .compute import Compute, Ranks, chosen_device
from .recipes import Recipe
from .run_folder import (
    BEST,
    CHECKPOINT,
    FEATURES,
    HISTORY,
    LAST,
    VALIDATION,
    WEIGHTS,
    StepLoss,
    Validated,
    load_weights,
    read_rows,
    save_weights,
    write_rows,
)
from .stored_features import StoredFeatures, store_features

if TYPE_CHECKING:
    from .trainer import Trainer

CHECKPOINT_S = 120.0  # at most so much work is lost by a kill, and one step


@dataclass(frozen=True)
class ValidationPlan:
    """Validating while training goes on.

    Args:
        data: not what is trained on.
        every: epochs between two validations; there is one at the end, too.
        patience: stop after so many in a row without a better one; None: train to the end.
    """

    data: CocoSplit
    every: float = 5.0
    patience: int | None = None


class NotFinite(JobFailed):
    """The loss is no longer a number."""


@dataclass
class TrainingJob:
    """One training in one process."""

    out: Path
    detector: Detector
    data: CocoSplit
    recipe: Recipe
    seed: int
    compute: Compute
    ranks: Ranks
    validation: ValidationPlan | None

    def run(
        self,
        graph: Graph,
        weights: Weights,
        skip_bad: bool,
        tensorboard: bool,
        progress: Progress,
        checkpoint_steps: int,
    ) -> None:
        from ..networks.torch_network import TorchGraph, folded_norms
        from .trainer import DetectionTask, Trainer

        anchors = anchors_for(self.detector.input_size, graph["predictor/boxes"].shape[1])
        images = TrainingImages(
            self.data,
            self.detector.input_size,
            anchors,
            self.seed,
            self.recipe.augmentation,
            skip_bad=skip_bad,
        )
        samples: Samples = images
        self.rest: Weights = {}
        if self.recipe.copies:
            folder = self.out / FEATURES
            if self.ranks.first:
                store_features(folder, graph, weights, images, self.recipe.copies, progress)
            self.ranks.wait()
            samples = StoredFeatures(folder, self.seed, len(anchors))
            graph = without_backbone(graph)
            head = weight_shapes(graph)
            self.rest = {key: value for key, value in weights.items() if key not in head}
        self.graph = graph
        network = TorchGraph(graph, weights, folded_norms(graph, weights))
        self.trainer: Trainer = Trainer(
            DetectionTask(network),
            self.recipe,
            chosen_device(self.compute.device, self.ranks),
            self.ranks,
            bfloat16=self.compute.bfloat16,
            compiled=self.compute.compiled,
        )
        self.history, self.validated = self._resume()
        with _writer(self.out if tensorboard and self.ranks.first else None) as log:
            self._steps(samples, log, progress, checkpoint_steps)
        if self.ranks.first:
            self._finish()

    def _steps(self, samples: Samples, log: Any, progress: Progress, checkpoint_steps: int) -> None:
        total = self.recipe.steps(len(self.data))
        done = len(self.history)
        saved_at = time.monotonic()
        try:
            # Between steps only, so that a checkpoint never holds half of one.
            with ctrl_c_held_back(presses=1) as interrupted:
                for step, parts in self._batches(samples, done, total):
                    if self._given_up():
                        break
                    loss = self._step(step, parts)
                    self._log(log, loss)
                    progress(len(self.history), total, self._words(loss))
                    validated = self._validate_if_due(total, log, progress)
                    if interrupted.is_set():
                        raise KeyboardInterrupt
                    due = time.monotonic() - saved_at > CHECKPOINT_S
                    if due or validated or len(self.history) % checkpoint_steps == 0:
                        self._save()
                        saved_at = time.monotonic()
        except (BadImage, JobFailed, KeyboardInterrupt) as error:
            self._stopped(error, total)

    def _batches(
        self, samples: Samples, first: int, last: int
    ) -> Iterator[tuple[int, Sequence[Batch]]]:
        """Step -> this process's part of its batch, in pieces of what is computed at once."""
        size = self.recipe.batch_size
        share = size // self.ranks.world
        at_once = min(self.compute.at_once or share, share)
        pieces = -(-share // at_once)
        positions = [
            part[begin : begin + at_once]
            for step in range(first, last)
            for part in (self.ranks.part(range(step * size, (step + 1) * size)),)
            for begin in range(0, share, at_once)
        ]
        prepared = batches(samples, positions, self.compute.workers)
        for step in range(first, last):
            yield step, list(islice(prepared, pieces))

    def _step(self, step: int, parts: Sequence[Batch]) -> StepLoss:
        rate = self.recipe.rate(step, len(self.data))
        loss = StepLoss(step + 1, **self.trainer.step(parts, rate))
        if not np.isfinite(loss.total):
            names = sorted({name for part in parts for name in part.names})
            raise NotFinite(
                f"the loss is {loss.total} at step {step + 1}, on the images {', '.join(names)}; "
                f"train with a lower learning rate (now {rate:g}) or a longer warm-up, and see "
                "that these images and their boxes are right"
            )
        self.history.append(loss)
        return loss

    def _words(self, loss: StepLoss) -> str:
        last = f", AP {self.validated[-1].map:.3f}" if self.validated else ""
        return f"loss {loss.total:.3f}{last}"

    def _validate_if_due(self, total: int, log: Any, progress: Progress) -> bool:
        plan = self.validation
        if plan is None:
            return False
        every = max(round(plan.every * self.recipe.steps_per_epoch(len(self.data))), 1)
        step = len(self.history)
        if step % every and step != total:
            return False
        if self.ranks.first:
            self._validate(plan, log, progress)
        return True

    def _validate(self, plan: ValidationPlan, log: Any, progress: Progress) -> None:
        from ..evaluation.evaluate import evaluate
        from ..evaluation.predictors import detector_predictor

        weights = self._weights()
        predictor = detector_predictor(self.detector, weights, self.trainer.device)

        def report(done: int, count: int, what: str) -> None:
            progress(len(self.history), self.recipe.steps(len(self.data)), f"validating {done}")

        precision = evaluate(predictor, plan.data, progress=report)
        found = Validated(len(self.history), precision.map, precision.map50)
        if not self.validated or found.map > max(each.map for each in self.validated):
            save_weights(self.out / BEST, weights)
        self.validated.append(found)
        if log is not None:
            log.add_scalar("validation/AP", found.map, found.step)
            log.add_scalar("validation/AP50", found.map50, found.step)

    def _given_up(self) -> bool:
        """Whether validation has not become better for as long as the plan waits."""
        patience = self.validation.patience if self.validation else None
        if patience is None or not self.ranks.first or len(self.validated) <= patience:
            return bool(self.ranks.total(0.0))
        best = max(range(len(self.validated)), key=lambda i: self.validated[i].map)
        return bool(self.ranks.total(float(len(self.validated) - 1 - best >= patience)))

    def _weights(self) -> Weights:
        """Of the whole detector, averaged where the recipe says so."""
        with self.trainer.averaged():
            return {**self.rest, **self.trainer.task.network.weights()}

    def _save(self) -> None:
        """The checkpoint says itself how many steps of the history belong to it."""
        if not self.ranks.first:
            return
        import torch

        write_rows(self.out / HISTORY, self.history, StepLoss)
        write_rows(self.out / VALIDATION, self.validated, Validated)
        content = io.BytesIO()
        torch.save({"step": len(self.history), **self.trainer.state()}, content)
        write_atomically(self.out / CHECKPOINT, content.getvalue())

    def _resume(self) -> tuple[list[StepLoss], list[Validated]]:
        path = self.out / CHECKPOINT
        if not path.is_file():
            return [], []
        import torch

        try:
            state = torch.load(path, map_location=self.trainer.device, weights_only=True)
            steps = int(state["step"])
            self.trainer.restore(state)
        except (OSError, EOFError, LookupError, ValueError, RuntimeError, UnpicklingError) as error:
            raise InvalidInput(
                f"{path} is damaged, or of another version: {error}; remove it to train from the "
                "beginning"
            ) from None
        validated = read_rows(self.out / VALIDATION, Validated)
        return (
            list(read_rows(self.out / HISTORY, StepLoss)[:steps]),
            [each for each in validated if each.step <= steps],
        )

    def _stopped(self, error: BaseException, total: int) -> None:
        """Save what was done, and say why it ended."""
        if isinstance(error, NotFinite):  # the network may hold such numbers already
            raise JobFailed(f"{error}; the last checkpoint in {self.out} is kept") from None
        if self.trainer.steps == len(self.history):  # a second Ctrl-C may break into a step
            self._save()
        where = f"{len(self.history)} of {total} steps are saved in {self.out}"
        if isinstance(error, KeyboardInterrupt):
            raise JobFailed(
                f"training stopped; {where}; run the same command again to go on"
            ) from None
        if isinstance(error, BadImage):
            raise JobFailed(
                f"{error}; {where}; replace the image, or go on without it by the same command "
                "with --skip-bad"
            ) from error
        raise JobFailed(f"{error}; {where}") from error

    def _finish(self) -> None:
        write_rows(self.out / HISTORY, self.history, StepLoss)
        write_rows(self.out / VALIDATION, self.validated, Validated)
        last = self._weights()
        best = self.out / BEST
        if best.is_file() and self.validated:
            save_weights(self.out / LAST, last)
            save_weights(self.out / WEIGHTS, load_weights(best))
            best.unlink()
        else:
            save_weights(self.out / WEIGHTS, last)
        (self.out / CHECKPOINT).unlink(missing_ok=True)

    def _log(self, log: Any, loss: StepLoss) -> None:
        if log is not None:
            for name in ("classes", "boxes", "l2", "total"):
                log.add_scalar(f"loss/{name}", getattr(loss, name), loss.step)
            log.add_scalar("rate", self.recipe.rate(loss.step - 1, len(self.data)), loss.step)


def _writer(folder: Path | None) -> Any:
    """TensorBoard's writer of event files, or nothing."""
    if folder is None:
        return nullcontext()
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(folder)
