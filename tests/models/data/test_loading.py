"""What a training is shown: the same every time, every image once an epoch, by any processes."""

from __future__ import annotations

import numpy as np
import pytest

from mnasfpn.errors import JobFailed
from mnasfpn.models.data.augmentation import Augmentation
from mnasfpn.models.data.coco import read_coco
from mnasfpn.models.data.digits import DigitsSettings, write_digits
from mnasfpn.models.data.image_files import BadImage
from mnasfpn.models.data.loading import TrainingImages, batches
from mnasfpn.models.detection.anchors import multiscale_grid

ANCHORS = multiscale_grid(64)
SETTINGS = DigitsSettings(train=5, validation=1, size=64, most=2, smallest=0.3)


@pytest.fixture
def folder(tmp_path):
    return write_digits(tmp_path / "digits", SETTINGS)


@pytest.fixture
def data(folder):
    return read_coco(folder, "train")


def shown(samples, positions, workers=0):
    return [
        (batch.names, batch.inputs["image"].numpy(), batch.codes.numpy(), batch.labels.numpy())
        for batch in batches(samples, positions, workers)
    ]


def assert_same(first, second):
    for (names, *arrays), (other_names, *others) in zip(first, second, strict=True):
        assert names == other_names
        for array, other in zip(arrays, others, strict=True):
            np.testing.assert_array_equal(array, other)


def test_a_batch_is_a_function_of_seed_and_position(data):
    positions = [range(6, 8), range(2)]
    first, again = (
        shown(TrainingImages(data, 64, ANCHORS, 1, Augmentation()), positions) for _ in range(2)
    )
    assert_same(first, again)
    other = shown(TrainingImages(data, 64, ANCHORS, 2, Augmentation()), positions)
    assert any(one[0] != two[0] for one, two in zip(first, other, strict=True))
    assert first[0][1].shape == (2, 64, 64, 3)
    assert first[0][1].dtype == np.uint8


@pytest.mark.slow
def test_processes_prepare_what_one_would(data):
    samples = TrainingImages(data, 64, ANCHORS, 1, Augmentation())
    positions = [range(i, i + 2) for i in range(0, 12, 2)]
    assert_same(shown(samples, positions), shown(samples, positions, workers=2))


def test_every_epoch_shows_every_image_once_in_an_order_of_its_own(data):
    samples = TrainingImages(data, 64, ANCHORS)
    epochs = [shown(samples, [range(5 * e, 5 * e + 5)])[0][0] for e in range(4)]
    assert all(set(names) == {str(e.path) for e in data.examples} for names in epochs)
    assert len(set(epochs)) > 1


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_an_unreadable_image_is_named_or_skipped(data, workers):
    broken = data.examples[2].path
    broken.write_bytes(broken.read_bytes()[:60])
    samples = TrainingImages(data, 64, ANCHORS)
    with pytest.raises(BadImage, match=broken.name):
        shown(samples, [range(3), range(3, 5)], workers)
    skipping = TrainingImages(data, 64, ANCHORS, skip_bad=True)
    names = [name for batch in shown(skipping, [range(5)], workers) for name in batch[0]]
    assert len(names) == 5
    assert str(broken) not in names


def test_nothing_readable_is_said(data):
    for example in data.examples:
        example.path.write_bytes(b"")
    with pytest.raises(JobFailed, match="none of the 5 images"):
        TrainingImages(data, 64, ANCHORS, skip_bad=True)[0]


class Dying:
    """Ends the process that asks, as a kernel short of memory would."""

    def __getitem__(self, position):
        import os
        import signal

        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_a_killed_process_is_said():
    with pytest.raises(JobFailed, match=r"process that prepares images ended.*--workers"):
        list(batches(Dying(), [range(2)], workers=1))
