"""Single images: opened as viewers show them, resized as TensorFlow does it, or refused by name."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from mnasfpn.models.data.image_files import BadImage, read_header, read_pixels
from mnasfpn.models.data.images import normalise, resized


def drawn(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_pixels_become_minus_one_to_one():
    np.testing.assert_array_equal(normalise(np.array([0, 255], np.uint8)), [-1, 1])


@pytest.mark.slow
@pytest.mark.parametrize("size", [7, 16, 40])
def test_resized_as_tensorflow_does_it(size):
    import tensorflow as tf

    pixels = drawn(23, 31)
    wanted = tf.image.resize(pixels.astype(np.float32), (size, size)).numpy()
    assert np.abs(resized(pixels, (0, 0, 31, 23), size) - wanted).max() <= 0.501
    part = pixels[4:20, 3:30]
    wanted = tf.image.resize(part.astype(np.float32), (size, size)).numpy()
    assert np.abs(resized(pixels, (3, 4, 30, 20), size) - wanted).max() <= 0.501


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_as_a_viewer_does(tmp_path, orientation):
    """By hand, from EXIF's table: where a viewer shows the corner that the file begins with."""
    pixels = np.zeros((16, 24, 3), np.uint8)
    pixels[:8, :8] = 255  # the stored picture's corner
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "turned.jpg"
    Image.fromarray(pixels).save(path, exif=exif, quality=95)
    corner = {
        1: ("top", "left"), 2: ("top", "right"), 3: ("bottom", "right"), 4: ("bottom", "left"),
        5: ("top", "left"), 6: ("top", "right"), 7: ("bottom", "right"), 8: ("bottom", "left"),
    }[orientation]  # fmt: skip
    seen = read_pixels(path)
    assert seen.shape[:2] == read_header(path).seen == ((24, 16) if orientation > 4 else (16, 24))
    rows = slice(0, 8) if corner[0] == "top" else slice(-8, None)
    columns = slice(0, 8) if corner[1] == "left" else slice(-8, None)
    assert seen[rows, columns].mean() > 240
    assert seen.sum() / 255 / 3 == pytest.approx(64, rel=0.1)
    assert read_pixels(path, as_seen=False).shape == (16, 24, 3)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    values = np.array([[0, 256, 30000, 65535]], np.uint16)
    path = tmp_path / "deep.png"
    Image.fromarray(values).save(path)
    np.testing.assert_array_equal(read_pixels(path)[0, :, 0], [0, 1, 117, 255])


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pixels_of_unknown_range_are_refused(tmp_path, mode):
    path = tmp_path / "odd.tiff"
    Image.new(mode, (4, 4)).save(path)
    with pytest.raises(BadImage, match=rf"odd\.tiff.*mode {mode}"):
        read_header(path)


def jpeg() -> bytes:
    content = io.BytesIO()
    Image.fromarray(drawn(64, 64)).save(content, "JPEG")
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (jpeg()[:-200], "truncated"),
        (b"<!DOCTYPE html>", "no image: it begins with b'<!DOCTYPE"),
        (b"", "an empty file"),
        (jpeg()[:30], "shot"),
    ],
    ids=["cut short", "a web page", "empty", "header cut"],
)
def test_damaged_files_are_named_with_what_they_are(tmp_path, content, message):
    path = tmp_path / "shot.jpg"
    path.write_bytes(content)
    with pytest.raises(BadImage, match=r"shot\.jpg.*") as caught:
        read_header(path)
    assert message in str(caught.value)


def test_what_follows_the_end_of_an_image_does_no_harm(tmp_path):
    path = tmp_path / "trailer.jpg"
    path.write_bytes(jpeg() + b"maker's notes")
    assert read_header(path).seen == (64, 64)


def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path):
    path = tmp_path / "huge.png"
    Image.new("1", (15000, 15000)).save(path)
    with pytest.raises(BadImage, match=r"huge\.png.*pixels"):
        read_header(path)
