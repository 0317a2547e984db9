"""Pascal VOC and YOLO folders become COCO's form: boxes by hand, and what is wrong is named."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from mnasfpn.errors import InvalidInput
from mnasfpn.models.data.coco import read_coco
from mnasfpn.models.data.conversion import convert

WIDTH, HEIGHT = 40, 20


def image(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (WIDTH, HEIGHT)).save(path)


def voc(folder, box=(11, 6, 30, 15), parts=("train", "val")):
    """One image a part; VOC counts from 1 and includes the last pixel."""
    (folder / "Annotations").mkdir(parents=True)
    (folder / "ImageSets" / "Main").mkdir(parents=True)
    for part in parts:
        image(folder / "JPEGImages" / f"{part}_1.jpg")
        sides = zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
        bounds = "".join(f"<{side}>{value}</{side}>" for side, value in sides)
        (folder / "Annotations" / f"{part}_1.xml").write_text(
            f"<annotation><filename>{part}_1.jpg</filename><object><name>dog</name>"
            f"<bndbox>{bounds}</bndbox></object></annotation>"
        )
        (folder / "ImageSets" / "Main" / f"{part}.txt").write_text(f"{part}_1\n")
    (folder / "ImageSets" / "Main" / "dog_train.txt").write_text("train_1 1\n")
    return folder


LABELS = "1 0.5 0.5 0.5 0.5\n0 0.25 0.25 0.75 0.25 0.75 0.75\n"
YOLO = {
    "Ultralytics": ("images/{part}", "labels/{part}", "train: images/train\nval: images/val\n"),
    "Roboflow": ("{part}/images", "{part}/labels", "train: ../train/images\nval: ../val/images\n"),
    "moved": ("images/{part}", "labels/{part}", "path: /nowhere/else\ntrain: images/train\n"),
}


def yolo(folder, layout="Ultralytics", labels=LABELS, names="[cat, dog]"):
    images, texts, places = YOLO[layout]
    for part in ("train", "val"):
        image(folder / images.format(part=part) / "a.jpg")
        path = folder / texts.format(part=part) / "a.txt"
        path.parent.mkdir(parents=True)
        path.write_text(labels)
    (folder / "data.yaml").write_text(f"{places}names: {names}\n")
    return folder


def test_voc(tmp_path):
    counts = convert(voc(tmp_path / "voc"), tmp_path / "out")
    assert counts == {"train": (1, 1), "val": (1, 1)}
    data = read_coco(tmp_path / "out", "val")
    assert data.classes == ("dog",)
    np.testing.assert_allclose(data.examples[0].truth.boxes, [[10, 5, 20, 10]])
    assert data.findings.places == {}


def test_voc_without_lists_is_one_part(tmp_path):
    folder = voc(tmp_path / "voc")
    for path in (folder / "ImageSets" / "Main").glob("*.txt"):
        path.unlink()
    assert convert(folder, tmp_path / "out") == {"train": (2, 2)}


@pytest.mark.parametrize("layout", YOLO)
def test_yolo(tmp_path, layout):
    counts = convert(yolo(tmp_path / "yolo", layout), tmp_path / "out")
    assert counts == {"train": (1, 2), "val": (1, 2)}
    data = read_coco(tmp_path / "out", "train")
    assert data.classes == ("cat", "dog")
    (example,) = data.examples
    np.testing.assert_allclose(example.truth.boxes, [[10, 5, 20, 10], [10, 5, 20, 10]])
    assert example.labels.tolist() == [2, 1]


def test_yolo_names_by_number_and_images_without_labels(tmp_path):
    folder = yolo(tmp_path / "yolo", names="{0: cat, 1: dog}")
    image(folder / "images" / "train" / "background.jpg")
    assert convert(folder, tmp_path / "out")["train"] == (2, 2)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("2 0.5 0.5 0.5 0.5", "from 0 to 1"),
        ("0 0.5 0.5 0.5", "neither"),
        ("0 0.5 0.5 nan 0.5", "neither"),
        ("cat 0.5 0.5 0.5 0.5", "neither"),
    ],
)
def test_labels_that_are_none_are_named_by_file_and_line(tmp_path, labels, message):
    with pytest.raises(InvalidInput, match=rf"a\.txt, line 1: .*{message}"):
        convert(yolo(tmp_path / "yolo", labels=labels), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_no_such_folder(tmp_path):
    with pytest.raises(InvalidInput, match="neither like Pascal VOC"):
        convert(tmp_path, tmp_path / "out")
    folder = voc(tmp_path / "voc")
    (folder / "Annotations" / "train_1.xml").write_text("<annotation>")
    with pytest.raises(InvalidInput, match=r"train_1\.xml: no annotation of Pascal VOC"):
        convert(folder, tmp_path / "out")
    (folder / "JPEGImages" / "val_1.jpg").unlink()
    (folder / "Annotations" / "train_1.xml").unlink()
    (tmp_path / "there").mkdir()
    with pytest.raises(InvalidInput, match="exists; choose a new folder"):
        convert(folder, tmp_path / "there")
    nameless = yolo(tmp_path / "yolo", names="[]")
    with pytest.raises(InvalidInput, match="class names are missing"):
        convert(nameless, tmp_path / "out")
