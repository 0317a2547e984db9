from __future__ import annotations

import numpy as np
import pytest

from mnasfpn.errors import InvalidInput
from mnasfpn.models.data.coco import read_coco
from mnasfpn.models.data.digits import DigitsSettings, write_digits
from mnasfpn.models.data.images import load_image
from mnasfpn.models.detection.box_coding import iou

SETTINGS = DigitsSettings(train=12, validation=5, size=64, most=3, seed=3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_digits(tmp_path_factory.mktemp("digits") / "set", SETTINGS)


def test_both_splits_are_coco_datasets_of_ten_classes(folder):
    train, validation = read_coco(folder, "train"), read_coco(folder, "val")
    assert (len(train), len(validation)) == (12, 5)
    assert train.classes == tuple("0123456789")
    assert train.findings.places == {}
    for example in train.examples:
        assert example.size == (64, 64)
        assert 1 <= len(example.boxes) <= 3


def test_digits_have_the_sizes_asked_for_and_do_not_overlap(folder):
    for example in read_coco(folder, "train").examples:
        heights = example.boxes[:, 2] - example.boxes[:, 0]
        assert (heights <= SETTINGS.largest + 1 / 64).all()
        assert (heights > SETTINGS.smallest / 2).all()  # ink is less than the whole 8x8 field
        overlap = iou(example.boxes, example.boxes)
        assert np.count_nonzero(overlap) == len(example.boxes)


def test_what_is_in_a_box_differs_from_its_surroundings_in_colour(folder):
    for example in read_coco(folder, "train").examples:
        pixels = load_image(example, 64).astype(float)
        for box in example.boxes:
            top, left, bottom, right = np.round(box * 64).astype(int)
            assert pixels[top:bottom, left:right].std() > 10


def test_the_same_settings_give_the_same_bytes_and_another_seed_others(folder, tmp_path):
    again = write_digits(tmp_path / "again", SETTINGS)
    names = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert len(names) == 12 + 5 + 3
    for name in names:
        assert (again / name).read_bytes() == (folder / name).read_bytes(), name
    other = write_digits(
        tmp_path / "other", DigitsSettings(train=12, validation=5, size=64, most=3, seed=4)
    )
    assert (other / "train.json").read_bytes() != (folder / "train.json").read_bytes()


def test_a_finished_dataset_is_left_alone_and_another_refused(folder):
    def fail(done, total):
        pytest.fail("nothing is to be written")

    assert write_digits(folder, SETTINGS, progress=fail) == folder
    with pytest.raises(InvalidInput, match="choose another folder"):
        write_digits(folder, DigitsSettings(train=13, validation=5, size=64))


def test_a_folder_of_something_else_is_not_touched(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InvalidInput, match="no digits dataset"):
        write_digits(tmp_path, SETTINGS)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_an_interrupt_leaves_nothing_behind(tmp_path):
    def stop(done, total, what):
        assert total == 17
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_digits(tmp_path / "set", SETTINGS, progress=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": 0}, "at least 1"),
        ({"size": 16}, "32 to 320"),
        ({"size": 640}, "32 to 320"),
        ({"smallest": 0.5, "largest": 0.4}, "must rise"),
        ({"smallest": 0.01}, "must rise"),
    ],
)
def test_impossible_settings_are_refused(changes, message):
    with pytest.raises(InvalidInput, match=message):
        DigitsSettings(**changes)
