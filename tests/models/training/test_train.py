"""Training: what a stop, a kill, a bad image or another process does to it, which is nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from mnasfpn.errors import InvalidInput, JobFailed
from mnasfpn.models.data.augmentation import NO_AUGMENTATION, Augmentation
from mnasfpn.models.data.coco import read_coco
from mnasfpn.models.data.digits import DigitsSettings, write_digits
from mnasfpn.models.data.loading import TrainingImages, batches
from mnasfpn.models.detection.anchors import multiscale_grid
from mnasfpn.models.detector import Backbone, Detector
from mnasfpn.models.genotype import Block, Genotype
from mnasfpn.models.graph.weights import random_weights
from mnasfpn.models.heads.predictor import SharedPredictor
from mnasfpn.models.networks.torch_network import TorchGraph
from mnasfpn.models.training.compute import Compute
from mnasfpn.models.training.recipes import Recipe
from mnasfpn.models.training.run_folder import load_run, load_weights
from mnasfpn.models.training.train import train, training_graph, warm_start
from mnasfpn.models.training.trainer import DetectionTask, Trainer
from mnasfpn.models.training.training_job import ValidationPlan

BLOCKS = (
    Block((1, 2), 3, expansion=16),
    Block((1, 4), 4, expansion=16),
    Block((2, 3), 5, expansion=16),
    Block((2, 3), 6, expansion=16),
)
DETECTOR = Detector(
    Backbone("mobilenet_v2", 0.35),
    Genotype(16, 1, BLOCKS),
    SharedPredictor(depth=16),
    classes=10,
    input_size=64,
)
RECIPE = Recipe(
    "test",
    source="this test",
    batch_size=2,
    unit="steps",
    length=4,
    learning_rate=1e-3,
    warmup=2,
    schedule="cosine",
    clip_norm=10.0,
    norm_momentum=0.9,
    optimizer="adam",
    augmentation=NO_AUGMENTATION,
)

#: Adam would make much of gradients that are next to nothing, and differ by rounding.
TOGETHER = replace(RECIPE, optimizer="sgd", batch_size=4, learning_rate=1e-2)
ONE_THREAD = Compute(device="cpu", threads=1)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "digits"
    settings = DigitsSettings(train=6, validation=2, size=64, most=2, smallest=0.3)
    return read_coco(write_digits(folder, settings), "train")


def stopping(step):
    """A progress that presses Ctrl-C after so many steps."""

    def report(done, total, what):
        if done == step and what.startswith("loss"):
            os.kill(os.getpid(), signal.SIGINT)

    return report


def assert_same_weights(run, other):
    assert run.history == other.history
    for key, value in other.weights.items():
        np.testing.assert_array_equal(run.weights[key], value)


def training(data, out, recipe=RECIPE, **changes):
    return train(DETECTOR, data, recipe, out, **{"seed": 4, "compute": ONE_THREAD, **changes})


@pytest.mark.slow
@pytest.mark.parametrize(
    "recipe",
    [
        RECIPE,
        replace(RECIPE, optimizer="sgd", ema=0.5, augmentation=Augmentation()),
        replace(RECIPE, optimizer="adamw", backbone_rate=0.0, copies=2, initial="balanced"),
    ],
    ids=["adam", "sgd, average", "stored features"],
)
def test_a_training_stopped_and_resumed_equals_one_in_one_go(data, tmp_path, recipe):
    plan = ValidationPlan(data, every=1)
    whole = training(data, tmp_path / "whole", recipe, validation=plan)
    stopped = tmp_path / "stopped"
    with pytest.raises(JobFailed, match="2 of 4 steps are saved"):
        training(data, stopped, recipe, validation=plan, progress=stopping(2))
    with pytest.raises(InvalidInput, match="not finished"):
        load_run(stopped)
    steps = []
    resumed = training(
        data,
        stopped,
        recipe,
        validation=plan,
        progress=lambda done, total, what: steps.append(done) if "loss" in what else None,
    )
    assert steps == [3, 4]
    assert [loss.step for loss in resumed.history] == [1, 2, 3, 4]
    assert_same_weights(resumed, whole)
    assert resumed.validated == whole.validated
    assert not (stopped / "checkpoint.pt").exists()
    # a finished training is returned as it is
    again = training(data, stopped, recipe, progress=pytest.fail)
    assert_same_weights(again, resumed)
    # and its folder is not given to another one
    with pytest.raises(InvalidInput, match="another seed"):
        training(data, stopped, recipe, seed=5)
    with pytest.raises(InvalidInput, match="another detector"):
        train(
            replace(DETECTOR, predictor=SharedPredictor(24)),
            data,
            recipe,
            stopped,
            seed=4,
            compute=ONE_THREAD,
        )


@pytest.mark.slow
def test_other_data_of_the_same_size_are_not_resumed_with(data, tmp_path):
    with pytest.raises(JobFailed):
        training(data, tmp_path / "run", progress=stopping(1))
    first = data.examples[0]
    moved = replace(first, boxes=first.boxes * np.float32(0.5))
    other = replace(data, examples=(moved, *data.examples[1:]))
    with pytest.raises(InvalidInput, match="another data"):
        training(other, tmp_path / "run")


PROGRAM = """
import sys
from pathlib import Path
from mnasfpn.models.data.coco import read_coco
from mnasfpn.tests.models.training.test_train import training
folder, out = map(Path, sys.argv[1:])
training(
    read_coco(folder, "train"), out, checkpoint_steps=1,
    progress=lambda done, total, what: print(done, flush=True),
)
"""


@pytest.mark.slow
def test_a_killed_training_loses_only_what_followed_the_checkpoint(data, tmp_path):
    whole = training(data, tmp_path / "whole")
    out = tmp_path / "killed"
    command = [sys.executable, "-c", PROGRAM, str(data.annotations.parent), str(out)]
    kills = 0
    while not (out / "weights.npz").exists():
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        first = process.stdout.readline()
        second = process.stdout.readline()  # so the first step's checkpoint is written
        process.kill()
        process.wait()
        assert first, "no step was done"
        kills += bool(second)
        assert kills < 8
    assert kills >= 2
    assert_same_weights(load_run(out), whole)


def test_classes_must_agree(data, tmp_path):
    with pytest.raises(InvalidInput, match="3 classes and the data 10"):
        train(replace(DETECTOR, classes=3), data, RECIPE, tmp_path / "run")


@pytest.mark.slow
def test_a_loss_that_is_no_number_stops_the_training_with_step_and_images(data, tmp_path):
    wild = replace(RECIPE, optimizer="sgd", learning_rate=1e30, warmup=0, clip_norm=None)
    with pytest.raises(JobFailed, match=r"at step 2, on the images .*png, .*png; train with a low"):
        training(data, tmp_path / "run", wild)


@pytest.mark.slow
def test_an_image_that_breaks_in_mid_training_is_named_and_what_was_done_is_kept(tmp_path):
    settings = DigitsSettings(train=6, validation=2, size=64, most=2, smallest=0.3)
    data = read_coco(write_digits(tmp_path / "digits", settings), "train")
    samples = TrainingImages(data, 64, multiscale_grid(64), seed=4)
    broken = Path(samples[4].name)  # shown at the third step
    content = broken.read_bytes()
    broken.write_bytes(content[:-20] + bytes(20))  # of the same length
    with pytest.raises(JobFailed, match=rf"{broken.name}.*2 of 4 steps are saved.*--skip-bad"):
        training(data, tmp_path / "run")
    run = training(data, tmp_path / "run", skip_bad=True)
    assert len(run.history) == 4


@pytest.mark.slow
def test_the_recipe_reaches_the_optimizer(data, tmp_path, monkeypatch):
    """Seen on the optimizer and the gradients, not on the settings."""
    import torch

    from mnasfpn.models.training import trainer as module

    made = []

    class Seen(module.Trainer):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            made.append(self)
            self.rates, self.norms = [], []
            self.optimizer.register_step_pre_hook(self.see)

        def see(self, optimizer, *_):
            self.rates.append([group["lr"] for group in optimizer.param_groups])
            gradients = [p.grad.flatten() for p in self.parameters if p.grad is not None]
            self.norms.append(float(torch.cat(gradients).norm()))

    monkeypatch.setattr(module, "Trainer", Seen)
    recipe = replace(RECIPE, optimizer="sgd", clip_norm=0.1, backbone_rate=0.1, frozen="Conv1$")
    training(data, tmp_path / "run", recipe)
    (seen,) = made
    expected = [recipe.rate(step, len(data)) for step in range(4)]
    np.testing.assert_allclose(seen.rates, [[rate, 0.1 * rate] for rate in expected])
    assert all(norm <= 0.1 + 1e-4 for norm in seen.norms)
    assert max(seen.norms) > 0.099
    assert {group["momentum"] for group in seen.optimizer.param_groups} == {0.9}
    weights = seen.task.network.weights()
    start, _ = warm_start(seen.task.network.graph, 4, None)
    for vector in ("kernel", "gamma", "mean"):  # the frozen layer's norm as well
        key = f"backbone/Conv1/{vector}"
        np.testing.assert_array_equal(weights[key], start[key])
    assert not np.array_equal(
        weights["backbone/expanded_conv_depthwise/mean"],
        start["backbone/expanded_conv_depthwise/mean"],
    )


def test_l2_is_half_the_sum_of_squares_of_the_kernels():
    from mnasfpn.models.networks.torch_network import TorchGraph

    graph = training_graph(DETECTOR)
    weights = random_weights(graph, 0)
    network = TorchGraph(graph, weights)
    expected = sum(
        layer.attributes.l2 / 2 * float(np.square(weights[f"{layer.name}/kernel"]).sum())
        for layer in graph
        if layer.weights and layer.attributes.l2 and not layer.attributes.shares
    )
    assert float(network.l2().detach()) == pytest.approx(expected, rel=1e-4)
    assert expected > 0


@pytest.mark.slow
def test_a_batch_in_pieces_gives_the_gradients_of_the_whole(data, tmp_path):
    """But for batch norm, which is fixed here; summed in another order, hence not to the bit."""
    recipe = replace(RECIPE, optimizer="sgd", learning_rate=1e-2)
    graph = training_graph(DETECTOR)
    runs = []
    for at_once in (None, 1):
        network = TorchGraph(
            graph,
            random_weights(graph, 0, random_norm=True),
            [layer.name for layer in graph if layer.attributes.norm],
        )
        trainer = Trainer(DetectionTask(network), recipe, torch.device("cpu"))
        samples = TrainingImages(data, 64, multiscale_grid(64))
        positions = [range(2)] if at_once is None else [range(1), range(1, 2)]
        losses = trainer.step(list(batches(samples, positions)), 1e-2)
        runs.append((losses, network.weights()))
    (whole, weights), (pieces, other) = runs
    assert pieces == pytest.approx(whole, rel=1e-4)
    for key, value in weights.items():
        np.testing.assert_allclose(other[key], value, rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_two_processes_train_what_one_would(data, tmp_path):
    """Through torchrun, on two CPUs: batch norm and the losses' divisor are of the whole batch."""
    alone = training(data, tmp_path / "alone", TOGETHER)
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port"),
        *("0", "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "-m"),
        "mnasfpn.tests.models.training.train_together",
        *(str(data.annotations.parent), str(tmp_path / "together")),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    together = load_run(tmp_path / "together")
    np.testing.assert_allclose(
        [loss.total for loss in together.history],
        [loss.total for loss in alone.history],
        rtol=2e-3,
    )
    for key, value in alone.weights.items():
        np.testing.assert_allclose(together.weights[key], value, rtol=0.02, atol=3e-3)


@pytest.mark.slow
def test_the_best_by_validation_is_kept_and_a_training_in_vain_is_given_up(data, tmp_path):
    hopeless = replace(RECIPE, length=30, learning_rate=1e-9)  # never better than at first
    run = training(data, tmp_path / "run", hopeless, validation=ValidationPlan(data, 1, patience=2))
    assert len(run.validated) == 3
    assert len(run.history) == 9
    assert load_weights(tmp_path / "run" / "last.npz").keys() == run.weights.keys()


@pytest.mark.slow
def test_tensorboard_reads_what_a_training_wrote(data, tmp_path):
    """By its own reader: every step's losses, and what the validation found."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    plan = ValidationPlan(data, every=1)
    run = training(data, tmp_path / "run", tensorboard=True, validation=plan)
    events = EventAccumulator(str(tmp_path / "run")).Reload()
    written = [(event.step, event.value) for event in events.Scalars("loss/total")]
    assert written == [(loss.step, pytest.approx(loss.total)) for loss in run.history]
    found = [(event.step, event.value) for event in events.Scalars("validation/AP")]
    assert found == [(each.step, pytest.approx(each.map)) for each in run.validated]


def test_longer_and_larger_recipes_keep_their_shape():
    recipe = replace(RECIPE, schedule="drops", drops=(2.0, 3.0), unit="epochs")
    longer = recipe.with_length(8)
    assert (longer.length, longer.warmup, longer.drops) == (8, 4, (4, 6))
    assert recipe.with_batch(8).learning_rate == 4 * recipe.learning_rate


def test_warm_start_takes_what_fits():
    graph = training_graph(DETECTOR)
    other = random_weights(training_graph(replace(DETECTOR, classes=3)), seed=9)
    weights, given = warm_start(graph, 0, other)
    drawn = random_weights(graph, 0)
    assert given == len(weights) - 2  # all but the class convolution's kernel and bias
    conv = "backbone/Conv1/kernel"
    np.testing.assert_array_equal(weights[conv], other[conv])
    last = "predictor/class/level3/pointwise/kernel"
    np.testing.assert_array_equal(weights[last], drawn[last])
    with pytest.raises(InvalidInput, match="none of the 1 initial"):
        warm_start(graph, 0, {"nonsense/kernel": np.zeros(3, np.float32)})


def test_norm_momentum_changes_only_that():
    graph, other = training_graph(DETECTOR), training_graph(DETECTOR, 0.5)
    norms = [layer.attributes.norm for layer in other if layer.attributes.norm]
    assert {norm.momentum for norm in norms} == {0.5}
    assert {norm.epsilon for norm in norms} == {1e-2, 1e-3}
    assert [layer.name for layer in graph] == [layer.name for layer in other]


@pytest.mark.parametrize("damage", [b"", b"not a zip file", None])
def test_damaged_weights_are_refused(tmp_path, damage):
    path = tmp_path / "weights.npz"
    if damage is not None:
        path.write_bytes(damage)
    with pytest.raises(InvalidInput, match=r"no weights file|not a readable \.npz"):
        load_weights(path)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match="not a training run"):
        load_run(tmp_path)
    (tmp_path / "run.json").write_bytes(msgspec.json.encode({"schema": "other"}))
    with pytest.raises(InvalidInput, match="not a training run"):
        load_run(tmp_path)
