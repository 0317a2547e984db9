"""An image file: its size and orientation from its header, whether it is whole, and its pixels."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...errors import InvalidInput
from ..arrays import Pixels

if TYPE_CHECKING:
    from PIL import Image

MOST_PIXELS = 2**27  # of one image; beyond it decoding takes gigabytes
ORIENTATION = 0x0112  # EXIF's tag
TURNED = (5, 6, 7, 8)  # orientations in which viewers swap width and height
SIXTEEN_BITS = ("I;16", "I;16B", "I;16L", "I;16N")
UNKNOWN_RANGE = ("I", "F")
EXIF_FORMATS = ("JPEG", "MPO", "TIFF", "WEBP")  # others tell it only after their pixels
#: How a whole file of the commonest formats ends. One that ends otherwise is decoded to be sure.
ENDS = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}
TAIL = 64


class BadImage(InvalidInput):
    """An image file that cannot be used.

    Args:
        kind: of :data:`.findings.KINDS`.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(kind, message)  # both, so that it can be sent between processes
        self.kind, self.message = kind, message

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What an image file says of itself.

    Args:
        stored: (height, width) in pixels as the file has it.
        orientation: EXIF's, 1 to 8: how a viewer turns it.
        mode: PIL's name of its kind of pixels.
    """

    stored: tuple[int, int]
    orientation: int
    mode: str

    @property
    def seen(self) -> tuple[int, int]:
        """(height, width) as a viewer shows it."""
        height, width = self.stored
        return (width, height) if self.orientation in TURNED else (height, width)


def read_header(path: Path) -> ImageHeader:
    """Size, orientation and kind of pixels; the pixels are decoded only if the end looks wrong.

    Raises:
        BadImage: the file is missing, no image, cut short, too large, or of unknown range.
    """
    with _opened(path) as image:
        orientation = image.getexif().get(ORIENTATION, 1) if image.format in EXIF_FORMATS else 1
        header = ImageHeader(
            (image.height, image.width),
            orientation if orientation in range(1, 9) else 1,
            image.mode,
        )
        if image.mode in UNKNOWN_RANGE:
            raise BadImage("pixels of another kind", f"{path}: its pixels are of mode {image.mode}")
        end = ENDS.get(image.format or "")
        if end is None or not _tail(path).rstrip(b"\0").endswith(end):
            _decoded(path, image)
    return header


def read_pixels(path: Path, *, as_seen: bool = True) -> Pixels:
    """The image [H, W, 3], turned as a viewer turns it; 16 bits are scaled to 8.

    Args:
        as_seen: False: as it is stored.

    Raises:
        BadImage: as :func:`read_header`, or its pixels are damaged.
    """
    from PIL import Image, ImageOps

    with _opened(path) as opened:
        image = _decoded(path, opened)
        if image.mode in SIXTEEN_BITS:
            image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
        elif image.mode in UNKNOWN_RANGE:
            raise BadImage("pixels of another kind", f"{path}: its pixels are of mode {image.mode}")
        if as_seen and opened.format in EXIF_FORMATS:
            image = ImageOps.exif_transpose(image)
        return np.asarray(image.convert("RGB"))


def _opened(path: Path) -> Image.Image:
    from PIL import Image, UnidentifiedImageError

    # Our own limit comes with the file's name; PIL's warning does not.
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
    try:
        image = Image.open(path)
    except UnidentifiedImageError:
        raise BadImage("image damaged", f"{path}: {_what_it_is(path)}") from None
    except Image.DecompressionBombError:
        raise BadImage(
            "image too large", f"{path}: has more pixels than the {MOST_PIXELS:,} that are read"
        ) from None
    except (OSError, ValueError, SyntaxError) as error:  # as PIL's plugins say it
        raise BadImage("image damaged", f"{path}: {_reason(error)}") from None
    if image.width * image.height > MOST_PIXELS:
        image.close()
        raise BadImage(
            "image too large",
            f"{path}: {image.width} x {image.height} pixels, at most {MOST_PIXELS:,} are read",
        )
    return image


def _decoded(path: Path, image: Image.Image) -> Image.Image:
    try:
        image.load()
    except (OSError, ValueError, SyntaxError, IndexError, EOFError) as error:
        raise BadImage("image damaged", f"{path}: {_reason(error)}") from None
    return image


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _what_it_is(path: Path) -> str:
    with path.open("rb") as file:
        start = file.read(16)
    return f"no image: it begins with {start!r}" if start else "an empty file"


def _tail(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - TAIL))
        return file.read()
