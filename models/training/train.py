"""Training a detector with Keras: interruptible, resumable, and the same every time.

Trains on ``predictor/boxes`` and ``predictor/logits``. A batch is a function of seed and step, so a
training resumed from its checkpoint goes on exactly where it was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import InvalidInput, JobFailed
from ...storage.interruption import ctrl_c_held_back
from ..data.coco import CocoSplit
from ..data.loading import Batch, Pipeline
from ..detection.anchors import anchors_for
from ..detection.losses import detection_loss
from ..detector import Detector
from ..graph.graph import Graph
from ..graph.weights import Weights, random_weights
from ..networks.keras_network import build_keras, keras_weights
from .recipes import Recipe
from .run_folder import (
    CHECKPOINT,
    WEIGHTS,
    StepLoss,
    TrainingRun,
    TrainingSettings,
    load_history,
    load_run,
    load_weights,
    save_history,
    save_weights,
    start_run,
)

if TYPE_CHECKING:
    import keras

MOMENTUM = 0.9
TRAINED_OUTPUTS = ("predictor/boxes", "predictor/logits")
CHECKPOINT_STEPS = 200
OPTIMIZER, STEP = "optimizer/", "step"


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


def warm_start(graph: Graph, seed: int, initial: Weights | None) -> tuple[Weights, int]:
    """Drawn weights, replaced by the given ones wherever name and shape agree.

    So a backbone's weights alone will do, or those of a detector with other classes.

    Returns:
        Weights, and how many arrays were given.

    Raises:
        InvalidInput: none of the given arrays fits.
    """
    weights = random_weights(graph, seed)
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
    progress: Callable[[StepLoss, int], None] | None = None,
    checkpoint_steps: int = CHECKPOINT_STEPS,
) -> TrainingRun:
    """Train, or go on with a training that was stopped, or return one that has finished.

    Args:
        data: as many classes as the detector has.
        out: the run's folder, made if needed.
        initial: weights to start from where they fit (see :func:`warm_start`).
        progress: called with (losses of the step just done, steps in all).
        checkpoint_steps: how often to save; an interrupt saves as well.

    Raises:
        InvalidInput: the classes differ, or the folder holds another training.
        JobFailed: interrupted (what was done is saved), or the loss is no longer a number.
    """
    out = Path(out)
    if len(data.classes) != detector.classes:
        raise InvalidInput(
            f"the detector has {detector.classes} classes and the data {len(data.classes)}; "
            f"build the detector with classes={len(data.classes)}"
        )
    graph = training_graph(detector, recipe.norm_momentum)
    weights, given = warm_start(graph, seed, initial)
    settings = TrainingSettings(recipe, seed, data.classes, len(data), (given, len(weights)))
    start_run(out, detector, settings)
    if (out / WEIGHTS).is_file():
        return load_run(out)
    trainer = _Trainer(graph, recipe, weights)
    history = _resume(out, trainer)
    pipeline = Pipeline(
        split=data,
        size=detector.input_size,
        anchors=anchors_for(detector.input_size, graph["predictor/boxes"].shape[1]),
        batch_size=recipe.batch_size,
        seed=seed,
        augmentation=recipe.augmentation,
    )
    total = recipe.steps(len(data))
    try:
        # Between steps only, so that a checkpoint never holds half of one.
        with ctrl_c_held_back(presses=1) as interrupted:
            for step, batch in enumerate(pipeline.batches(len(history), total), start=len(history)):
                loss = trainer.step(step, batch, recipe.rate(step, len(data)))
                history.append(loss)
                if progress is not None:
                    progress(loss, total)
                if interrupted.is_set():
                    raise KeyboardInterrupt
                if (step + 1) % checkpoint_steps == 0:
                    _save(out, trainer, history)
    except KeyboardInterrupt:
        if trainer.steps_done == len(history):  # a second Ctrl-C may have broken into a step
            _save(out, trainer, history)
        raise JobFailed(
            f"training stopped after {len(history)} of {total} steps, saved in {out}; "
            "run the same command again to go on"
        ) from None
    save_history(out, history)
    save_weights(out / WEIGHTS, trainer.weights())
    (out / CHECKPOINT).unlink(missing_ok=True)
    return load_run(out)


class _Trainer:
    """A Keras model with its optimizer; everything that a checkpoint must hold."""

    def __init__(self, graph: Graph, recipe: Recipe, weights: Weights) -> None:
        import keras

        self.graph = graph
        self.model: keras.Model = build_keras(graph, weights)
        clip = recipe.clip_norm
        if recipe.optimizer == "sgd":
            self.optimizer = keras.optimizers.SGD(
                recipe.learning_rate, momentum=MOMENTUM, global_clipnorm=clip
            )
        else:
            self.optimizer = keras.optimizers.Adam(recipe.learning_rate, global_clipnorm=clip)
        self.optimizer.build(self.model.trainable_variables)
        self._function = _step_function(self.model, self.optimizer)

    def step(self, step: int, batch: Batch, rate: float) -> StepLoss:
        self.optimizer.learning_rate = rate
        losses = self._function(batch.images, batch.targets.codes, batch.targets.labels)
        loss = StepLoss(step + 1, *(float(value) for value in losses))
        if not np.isfinite(loss.total):
            raise JobFailed(
                f"the loss is {loss.total} at step {step + 1}; train with a lower learning rate "
                f"(now {rate:g}) or a longer warm-up"
            )
        return loss

    @property
    def steps_done(self) -> int:
        """Over all sessions: the optimizer counts, and its count is part of a checkpoint."""
        return int(self.optimizer.iterations)

    def weights(self) -> Weights:
        return keras_weights(self.model, self.graph)

    def state(self) -> Weights:
        slots = {
            f"{OPTIMIZER}{index}": np.asarray(variable)
            for index, variable in enumerate(self.optimizer.variables)
        }
        return {**self.weights(), **slots}

    def restore(self, state: Weights) -> None:
        from ..networks.keras_network import set_keras_weights

        set_keras_weights(self.model, self.graph, state)
        for index, variable in enumerate(self.optimizer.variables):
            variable.assign(state[f"{OPTIMIZER}{index}"])


def _step_function(model: keras.Model, optimizer: Any) -> Callable[..., tuple[Any, Any, Any]]:
    """One compiled gradient step; returns class loss, box loss and half the L2 sum."""
    import keras
    import tensorflow as tf

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def step(images: Any, codes: Any, labels: Any) -> tuple[Any, Any, Any]:
        with tf.GradientTape() as tape:
            predicted_codes, logits = model(images, training=True)
            loss = detection_loss(keras.ops, predicted_codes, logits, codes, labels)
            l2 = tf.add_n(model.losses) / 2 if model.losses else tf.zeros(())
            total = loss.total + l2
        gradients = tape.gradient(total, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return loss.classes, loss.boxes, l2

    return step  # type: ignore[no-any-return]


def _save(out: Path, trainer: _Trainer, history: list[StepLoss]) -> None:
    """The checkpoint says itself how many steps of the history belong to it."""
    save_history(out, history)
    save_weights(out / CHECKPOINT, {**trainer.state(), STEP: np.array(len(history))})


def _resume(out: Path, trainer: _Trainer) -> list[StepLoss]:
    if not (out / CHECKPOINT).is_file():
        return []
    state = load_weights(out / CHECKPOINT)
    steps = int(state.pop(STEP))
    trainer.restore(state)
    return list(load_history(out)[:steps])
