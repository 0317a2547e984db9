"""COCO-layout datasets, real and damaged; the real one is BCCD (blood cells)."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mnasfpn.errors import InvalidInput
from mnasfpn.models.data.coco import read_coco
from mnasfpn.models.data.findings import KINDS
from mnasfpn.models.data.layouts import named
from mnasfpn.models.detection.box_coding import areas
from mnasfpn.models.detection.suppression import Detections
from mnasfpn.models.evaluation.coco_metrics import mean_precision

NAMES = """id image_id category_id bbox area iscrowd segmentation name file_name width height
supercategory counts size"""
FIELDS = st.sampled_from(NAMES.split())
JSON = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6)

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
    assert data.classes == ("early", "late")
    assert (example.size, example.image_id, data.findings.count("left out")) == ((20, 40), 7, 0)


@pytest.mark.parametrize(
    "bbox",
    [[10, 5, 0, 10], [10, 5, 10, 0], [50, 5, 10, 10], [-20, 5, 20, 10], [10, 5, -3, 4]],
    ids=["no width", "no height", "right of the image", "left of it", "negative"],
)
def test_boxes_without_area_in_the_image_are_left_out_and_counted(tmp_path, bbox):
    odd = {"id": 1, "image_id": 7, "category_id": 5, "bbox": bbox}
    good = {**odd, "bbox": [1, 1, 5, 5]}
    data = read_coco(write_dataset(tmp_path / "set", annotations=[odd, good]), "train")
    assert len(data.examples[0].boxes) == 1
    assert len(data.examples[0].truth.boxes) == 2  # as COCO's own evaluation counts
    assert data.findings.count("left out") == 1
    with pytest.raises(InvalidInput, match=r"not a single usable box.*1 of 1 boxes"):
        read_coco(write_dataset(tmp_path / "other", annotations=[odd]), "train")


def test_boxes_are_cut_to_the_image(tmp_path):
    annotation = {"id": 1, "image_id": 7, "category_id": 5, "bbox": [-10, -10, 30, 50]}
    data = read_coco(write_dataset(tmp_path / "set", annotations=[annotation]), "train")
    np.testing.assert_allclose(data.examples[0].boxes, [[0, 0, 1, 0.5]])


def test_crowds_are_not_trained_on_but_evaluated(tmp_path):
    crowd = {"id": 1, "image_id": 7, "category_id": 5, "bbox": [1, 1, 5, 5], "iscrowd": 1}
    single = {**crowd, "iscrowd": 0}
    data = read_coco(write_dataset(tmp_path / "set", annotations=[crowd, single]), "train")
    (example,) = data.examples
    assert (len(example.boxes), example.truth.crowd.tolist()) == (1, [True, False])
    assert "crowd" in data.findings


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

    @pytest.mark.parametrize("text", ['{"images": [', "[]", "NaN", '{"images": 3}', ""])
    def test_no_json(self, tmp_path, text):
        folder = write_dataset(tmp_path / "set")
        (folder / "train.json").write_text(text)
        with pytest.raises(InvalidInput, match="not a COCO instances file"):
            read_coco(folder, "train")

    @pytest.mark.parametrize("field", ["images", "categories"])
    def test_nothing_in_it(self, tmp_path, field):
        folder = write_dataset(tmp_path / "set", annotations=[], **{field: []})
        with pytest.raises(InvalidInput, match="at least one category and one image"):
            read_coco(folder, "train")

    def test_missing_images_are_named_with_the_path_looked_for(self, tmp_path):
        folder = write_dataset(tmp_path / "set")
        (folder / "images" / "a.png").unlink()
        with pytest.raises(InvalidInput, match=r"whose file is in none.*: 1 \('a\.png'.*/images"):
            read_coco(folder, "train")

    def test_a_name_never_leads_out_of_the_folders(self, tmp_path):
        Image.new("RGB", (40, 20)).save(tmp_path / "secret.png")
        for name in ("../../secret.png", str(tmp_path / "secret.png")):
            image = {"id": 7, "file_name": name, "width": 40, "height": 20}
            folder = write_dataset(tmp_path / f"set{len(name)}", images=[image])
            with pytest.raises(InvalidInput, match="whose file is in none"):
                read_coco(folder, "train")


GOOD = {"id": 1, "image_id": 7, "category_id": 5, "bbox": [10, 5, 20, 10]}
IMAGE = {"id": 7, "file_name": "a.png", "width": 40, "height": 20}
CATEGORY = {"id": 5, "name": "early"}
#: Name -> (what of the file is changed, kind of finding).
ODD = {
    "text id": ({"images": [{**IMAGE, "id": "7"}]}, "ids mended"),
    "fractional id": ({"images": [{**IMAGE, "id": 7.0}]}, "ids mended"),
    "image id twice": ({"images": [IMAGE, IMAGE]}, "image id twice"),
    "no image id": ({"images": [{"file_name": "a.png"}]}, "entry without id"),
    "no file name": ({"images": [{"id": 7}]}, "no file name"),
    "zero byte": ({"images": [{**IMAGE, "file_name": "a\0.png"}]}, "no file name"),
    "no size": ({"images": [{"id": 7, "file_name": "a.png"}]}, "size filled in"),
    "size -1": ({"images": [{**IMAGE, "width": -1}]}, "size filled in"),
    "wrong size": ({"images": [{**IMAGE, "width": 41}]}, "size differs"),
    "crowd mark": ({"annotations": [{**GOOD, "iscrowd": False}]}, "crowd mark"),
    "area null": ({"annotations": [{**GOOD, "area": None}]}, "area filled in"),
    "area text": ({"annotations": [{**GOOD, "area": "200"}]}, "area filled in"),
    "area list": ({"annotations": [{**GOOD, "area": [200]}]}, "area filled in"),
    "area NaN": ({"annotations": [{**GOOD, "area": float("nan")}]}, "area filled in"),
    "no such image": ({"annotations": [GOOD, {**GOOD, "image_id": 8}]}, "unknown image"),
    "no such category": ({"annotations": [GOOD, {**GOOD, "category_id": 6}]}, "unknown category"),
    "three numbers": ({"annotations": [GOOD, {**GOOD, "bbox": [1, 2, 3]}]}, "no box"),
    "box of NaN": ({"annotations": [GOOD, {**GOOD, "bbox": [1, 2, 3, float("nan")]}]}, "no box"),
    "polygon": (
        {"annotations": [{**GOOD, "bbox": [], "segmentation": [[10, 5, 30, 5, 30, 15]]}]},
        "box from outline",
    ),
    "normalised": ({"annotations": [{**GOOD, "bbox": [0.2, 0.2, 0.5, 0.5]}]}, "normalised boxes"),
    "reaches out": ({"annotations": [{**GOOD, "bbox": [30, 5, 20, 10]}]}, "box cut"),
    "id twice": ({"categories": [CATEGORY, {**CATEGORY, "name": "b"}]}, "category id twice"),
    "name twice": ({"categories": [CATEGORY, {**CATEGORY, "id": 6}]}, "category twice"),
    "name is a number": ({"categories": [{"id": 5, "name": 1}]}, "category name"),
    "no box of it": ({"categories": [CATEGORY, {"id": 6, "name": "late"}]}, "category empty"),
    "root": (
        {
            "categories": [
                {"id": 0, "name": "all", "supercategory": "none"},
                {**CATEGORY, "supercategory": "all"},
            ]
        },
        "root category",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_what_is_odd_is_found_and_has_its_outcome(tmp_path, name):
    changes, kind = ODD[name]
    changes = {"annotations": [GOOD], "categories": [CATEGORY], **changes}
    folder = write_dataset(tmp_path / "set", **changes)
    if KINDS[kind].outcome == "refused":
        words = re.escape(KINDS[kind].says) + ".*" + re.escape(KINDS[kind].fix)
        with pytest.raises(InvalidInput, match=words):
            read_coco(folder, "train")
        return
    data = read_coco(folder, "train")
    assert kind in data.findings
    assert len(data.examples[0].boxes) == 1
    assert data.examples[0].truth.areas[0] > 0


THINGS = st.recursive(
    JSON,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(FIELDS, inner, max_size=5),
    max_leaves=12,
)


@pytest.mark.slow
@given(THINGS)
def test_no_annotations_whatever_make_it_fail_otherwise(tmp_path_factory, thing):
    folder = tmp_path_factory.mktemp("odd")
    Image.new("RGB", (40, 20)).save(folder / "a.png")
    rows = thing if isinstance(thing, list) else [thing]
    dicts = [row for row in rows if isinstance(row, dict)]
    instances = {
        "images": [IMAGE, *dicts],
        "categories": [CATEGORY, *dicts],
        "annotations": [GOOD, *({**GOOD, **row} for row in dicts)],
    }
    (folder / "train.json").write_text(json.dumps(instances))
    with contextlib.suppress(InvalidInput):
        data = read_coco(folder, "train", skip_bad=True)
        mean_precision(data, {7: Detections(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64))})


def test_the_same_classes_are_matched_by_name(tmp_path):
    swapped = [{"id": 5, "name": "late"}, {"id": 9, "name": "early"}]
    train = read_coco(write_dataset(tmp_path / "a"), "train")
    other = read_coco(write_dataset(tmp_path / "b", categories=swapped), "train", train.classes)
    assert (train.examples[0].labels[0], other.examples[0].labels[0]) == (1, 2)
    new = write_dataset(tmp_path / "c", categories=[*swapped, {"id": 10, "name": "new"}])
    with pytest.raises(InvalidInput, match="part trained on does not have: 1 \\('new'"):
        read_coco(new, "train", train.classes)


LAYOUTS = {
    "COCO": ("annotations/instances_train2017.json", "train2017/a.png"),
    "Roboflow": ("train/_annotations.coco.json", "train/a.png"),
    "Datumaro": ("annotations/instances_train.json", "images/train/a.png"),
    "CVAT": ("annotations/instances_Train.json", "images/Train/a.png"),
    "FiftyOne": ("train/labels.json", "train/data/a.png"),
    "plain": ("train.json", "images/a.png"),
    "beside": ("train.json", "a.png"),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts(tmp_path, name):
    written = write_dataset(tmp_path / "written")
    annotations, image = (tmp_path / "set" / part for part in LAYOUTS[name])
    for path, source in ((annotations, "train.json"), (image, "images/a.png")):
        path.parent.mkdir(parents=True, exist_ok=True)
        (written / source).rename(path)
    assert read_coco(tmp_path / "set", "train").examples[0].path == image


def test_valid_is_val_and_files_can_be_named(tmp_path):
    folder = write_dataset(tmp_path / "set")
    (folder / "train.json").rename(folder / "valid.json")
    assert len(read_coco(folder, "val")) == 1
    odd = tmp_path / "elsewhere.json"
    (folder / "valid.json").rename(odd)
    assert len(read_coco(named(odd, folder / "images"), "train")) == 1


def test_folders_in_front_of_names_that_are_not_here_are_left_out(tmp_path):
    image = {**IMAGE, "file_name": "C:\\export\\train\\a.png"}
    assert len(read_coco(write_dataset(tmp_path / "set", images=[image]), "train")) == 1


@needs_bccd
def test_bccd_has_its_known_counts():
    splits = {split: read_coco(BCCD, split) for split in ("train", "val", "test")}
    assert {split: len(data) for split, data in splits.items()} == {
        "train": 205,
        "val": 87,
        "test": 72,
    }
    kept = sum(len(e.boxes) for data in splits.values() for e in data.examples)
    skipped = sum(data.findings.count("left out") for data in splits.values())
    assert (kept + skipped, skipped) == (4888, 2)  # the two boxes without area
    assert splits["train"].classes == ("RBC", "WBC", "Platelets")
    assert all((areas(e.boxes) > 0).all() for e in splits["train"].examples)
