"""``mnasfpn data``: every reported fault is listed with its fix."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mnasfpn.tests.cli.processes import invoke, refused

REPORTS = Path(__file__).parents[3] / "shared" / "fixtures" / "reports"
needs_reports = pytest.mark.skipif(not REPORTS.is_dir(), reason=f"no folder {REPORTS}")

#: Folder of a reported fault -> exit code of the check, and what it says.
REPORTED = {
    "00-control": (0, "nothing odd"),
    "16-iscrowd-bool": (0, "iscrowd is no 0 or 1"),
    "17b-exif-180": (0, "1 images, 1 boxes"),
    "18-png16": (0, "16 bits: scaled"),
    "19-truncated-jpeg": (2, "3.jpg: image file is truncated"),
    "19b-html-as-jpeg": (2, "3.jpg: no image: it begins with b'<!DOCTYPE"),
    "19c-empty-jpeg": (2, "3.jpg: an empty file"),
    "20-huge-image": (2, "more pixels than"),
    "21-duplicate-image-ids": (2, "image ids that more than one image has: 2"),
    "22-root-category": (0, "only stand above others: 1 ('cutlery')"),
    "23-other-category-order": (0, "nothing odd"),
    "24-area-null": (0, "without a usable area"),
    "25a-no-size": (0, "without a size: read from their files: 1"),
    "25b-size-minus-one": (0, "without a size: read from their files: 1"),
    "25c-size-null": (0, "without a size: read from their files: 1"),
    "26a-string-ids": (0, "texts or fractions"),
    "26b-float-ids": (0, "texts or fractions"),
    "27a-prefix-in-file-name": (0, "2 images, 2 boxes"),
    "27b-cvat-layout": (0, "2 images, 2 boxes"),
    "28-roboflow-layout": (0, "2 images, 2 boxes"),
    "30-nan-area": (0, "without a usable area"),
    "31a-normalised-boxes": (2, "all boxes lie within a single pixel"),
    "31b-all-boxes-negative": (2, "4 of 4 boxes are left out"),
    "33-odd-modes": (0, "6 images, 6 boxes"),
    "35a-no-bbox": (0, "taken from their outline: 1"),
    "35b-empty-bbox": (0, "without an outline to take it from: 1"),
    "36-duplicate-annotation-ids": (0, "nothing odd"),
    "36b-no-annotation-ids": (0, "nothing odd"),
    "37-category-0-and-holes": (0, "4 images, 4 boxes"),
    "38-numeric-names": (0, "whose name is no text"),
}


@needs_reports
@pytest.mark.parametrize("name", REPORTED)
def test_reported_faults_are_listed(name: str) -> None:
    code, words = REPORTED[name]
    result = invoke("data", "check", REPORTS / name)
    assert result.exit_code == code, result.output
    assert words in result.stdout
    listed = json.loads(invoke("data", "check", REPORTS / name, "--json").stdout)
    fixes = [finding["fix"] for part in listed.values() for finding in part["findings"]]
    assert all(fix in result.stdout for fix in fixes)


@needs_reports
def test_files_by_name_and_what_is_not_there(tmp_path: Path) -> None:
    control = REPORTS / "00-control"
    words = ["--train-json", control / "train.json", "--images", control / "images"]
    assert "4 images, 4 boxes" in invoke("data", "check", *words).stdout
    assert "no file of annotations" in refused("data", "check", "--train-json", tmp_path / "x.json")
    assert "no dataset was given" in refused("data", "check")
    assert "holds no split 'train'" in refused("data", "check", tmp_path)
    assert "there is no folder" in refused("data", "check", tmp_path / "nowhere")


@needs_reports
def test_bad_images_are_left_out_when_asked() -> None:
    result = invoke("data", "check", REPORTS / "19-truncated-jpeg", "--skip-bad")
    assert result.exit_code == 0
    assert "as --skip-bad asks: 1" in result.stdout


def test_converted_data_are_read(tmp_path: Path) -> None:
    from mnasfpn.tests.models.data.test_conversion import yolo

    folder = yolo(tmp_path / "yolo")
    result = invoke("data", "convert", folder, tmp_path / "out", "--json")
    assert json.loads(result.stdout)["parts"] == {"train": [1, 2], "val": [1, 2]}
    assert "1 images, 2 boxes, 2 classes" in invoke("data", "check", tmp_path / "out").stdout
    assert "exists" in refused("data", "convert", folder, tmp_path / "out")
