"""COCO-layout datasets, real and damaged; the real one is BCCD (blood cells)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnasfpn.errors import InvalidInput
from mnasfpn.models.data.coco import read_coco
from mnasfpn.models.data.images import load_image
from mnasfpn.models.detection.box_coding import areas

BCCD = Path(__file__).parents[4] / "shared" / "data" / "detection" / "bccd"
needs_bccd = pytest.mark.skipif(not BCCD.is_dir(), reason=f"no BCCD dataset at {BCCD}")


def write_dataset(folder, **changes):
    """One image of 40 x 20 with one object, and whatever is changed."""
    (folder / "images").mkdir(parents=True)
    Image.new("RGB", (40, 20)).save(folder / "images" / "a.png")
    instances = {
        "images": [{"id": 7, "file_name": "a.png", "width": 40, "height": 20}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 5, "bbox": [10, 5, 20, 10]}],
        "categories": [{"id": 9, "name": "late"}, {"id": 5, "name": "early"}],
        **changes,
    }
    (folder / "train.json").write_text(json.dumps(instances))
    return folder


def test_boxes_are_normalised_corners_and_labels_follow_category_ids(tmp_path):
    data = read_coco(write_dataset(tmp_path / "set"), "train")
    (example,) = data.examples
    np.testing.assert_allclose(example.boxes, [[0.25, 0.25, 0.75, 0.75]])
    assert example.labels.tolist() == [1]
    assert (data.classes, data.category_ids) == (("early", "late"), (5, 9))
    assert (example.size, example.image_id, data.skipped) == ((20, 40), 7, 0)


@pytest.mark.parametrize(
    "bbox",
    [[10, 5, 0, 10], [10, 5, 10, 0], [50, 5, 10, 10], [-20, 5, 20, 10], [10, 5, -3, 4]],
    ids=["no width", "no height", "right of the image", "left of it", "negative"],
)
def test_boxes_without_area_in_the_image_are_skipped_and_counted(tmp_path, bbox):
    annotation = {"id": 1, "image_id": 7, "category_id": 5, "bbox": bbox}
    data = read_coco(write_dataset(tmp_path / "set", annotations=[annotation]), "train")
    assert data.examples[0].boxes.shape == (0, 4)
    assert data.skipped == 1


def test_boxes_are_cut_to_the_image(tmp_path):
    annotation = {"id": 1, "image_id": 7, "category_id": 5, "bbox": [-10, -10, 30, 50]}
    data = read_coco(write_dataset(tmp_path / "set", annotations=[annotation]), "train")
    np.testing.assert_allclose(data.examples[0].boxes, [[0, 0, 1, 0.5]])


def test_crowds_are_skipped(tmp_path):
    annotation = {"id": 1, "image_id": 7, "category_id": 5, "bbox": [1, 1, 5, 5], "iscrowd": 1}
    data = read_coco(write_dataset(tmp_path / "set", annotations=[annotation]), "train")
    assert (len(data.examples[0].boxes), data.skipped) == (0, 1)


def test_an_image_without_annotations_is_kept(tmp_path):
    data = read_coco(write_dataset(tmp_path / "set", annotations=[]), "train")
    assert len(data) == 1


def test_cocos_own_layout(tmp_path):
    folder = write_dataset(tmp_path / "set")
    (folder / "annotations").mkdir()
    (folder / "train.json").rename(folder / "annotations" / "instances_train.json")
    (folder / "images").rename(folder / "train")
    assert len(read_coco(folder, "train")) == 1


class TestDamage:
    def test_no_such_split(self, tmp_path):
        with pytest.raises(InvalidInput, match=r"no split 'val'.*instances_val\.json.*val\.json"):
            read_coco(write_dataset(tmp_path / "set"), "val")

    def test_no_json(self, tmp_path):
        folder = write_dataset(tmp_path / "set")
        (folder / "train.json").write_text('{"images": [')
        with pytest.raises(InvalidInput, match="not a COCO instances file"):
            read_coco(folder, "train")

    def test_wrong_field(self, tmp_path):
        annotation = {"id": 1, "image_id": 7, "category_id": 5, "bbox": [1, 2, 3]}
        folder = write_dataset(tmp_path / "set", annotations=[annotation])
        with pytest.raises(InvalidInput, match=r"length 4.*annotations\[0\]\.bbox"):
            read_coco(folder, "train")

    @pytest.mark.parametrize(
        "ids", [{"image_id": 8, "category_id": 5}, {"image_id": 7, "category_id": 6}]
    )
    def test_annotation_of_nothing(self, tmp_path, ids):
        annotation = {"id": 1, "bbox": [1, 2, 3, 4], **ids}
        folder = write_dataset(tmp_path / "set", annotations=[annotation])
        with pytest.raises(InvalidInput, match="annotation 0 refers to"):
            read_coco(folder, "train")

    def test_missing_images(self, tmp_path):
        folder = write_dataset(tmp_path / "set")
        (folder / "images" / "a.png").unlink()
        with pytest.raises(InvalidInput, match=r"1 of 1 images are missing.*'a\.png'"):
            read_coco(folder, "train")

    @pytest.mark.parametrize("field", ["images", "categories"])
    def test_nothing_in_it(self, tmp_path, field):
        folder = write_dataset(tmp_path / "set", annotations=[], **{field: []})
        with pytest.raises(InvalidInput, match="at least one category and one image"):
            read_coco(folder, "train")


@needs_bccd
def test_bccd_has_its_known_counts():
    splits = {split: read_coco(BCCD, split) for split in ("train", "val", "test")}
    assert {split: len(data) for split, data in splits.items()} == {
        "train": 205,
        "val": 87,
        "test": 72,
    }
    kept = sum(len(e.boxes) for data in splits.values() for e in data.examples)
    skipped = sum(data.skipped for data in splits.values())
    assert (kept + skipped, skipped) == (4888, 2)  # the two boxes without area
    assert splits["train"].classes == ("RBC", "WBC", "Platelets")
    assert all((areas(e.boxes) > 0).all() for e in splits["train"].examples)


def test_an_image_of_another_size_than_its_annotations_say_is_refused(tmp_path):
    image = {"id": 7, "file_name": "a.png", "width": 20, "height": 40}
    data = read_coco(write_dataset(tmp_path / "set", images=[image]), "train")
    with pytest.raises(InvalidInput, match=r"a\.png has 40 x 20 pixels.*say 20 x 40"):
        load_image(data.examples[0], 32)
