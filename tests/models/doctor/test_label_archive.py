"""The archive behind a model, read as zipfile reads it where both can."""

from __future__ import annotations

import io
import zipfile

import pytest

from mnasfpn.models.doctor.label_archive import DamagedArchive, read_archive

FILES = {"labels.txt": b"red\ngreen\n", "dir/empty": b"", "cal.txt": bytes(range(256)) * 9}


def archive(before: bytes = b"", compression: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO(before)
    stream.seek(0, io.SEEK_END)
    with zipfile.ZipFile(stream, "a", compression) as written:
        for name, data in FILES.items():
            written.writestr(name, data)
    return stream.getvalue()


@pytest.mark.parametrize("before", [b"", b"x" * 1000])
@pytest.mark.parametrize("after", [b"", b"\0" * 100])
def test_all_files_are_found_whatever_stands_around_them(before: bytes, after: bytes) -> None:
    content = archive(before) + after
    assert read_archive(content) == FILES
    with zipfile.ZipFile(io.BytesIO(archive(before))) as witness:
        assert {name: witness.read(name) for name in witness.namelist()} == FILES


def test_offsets_may_count_from_the_archive_or_from_the_file() -> None:
    """``zip -A`` and MediaPipe's own writer do the one, concatenation the other."""
    assert read_archive(b"x" * 1000 + archive()) == FILES
    assert read_archive(archive(b"x" * 1000)) == FILES


def test_no_archive_is_no_file() -> None:
    assert read_archive(b"") == {}
    assert read_archive(b"model" * 100) == {}


def test_compressed_files_are_refused() -> None:
    with pytest.raises(DamagedArchive, match=r"'labels\.txt' is compressed"):
        read_archive(archive(compression=zipfile.ZIP_DEFLATED))


@pytest.mark.parametrize("what", [b"PK\x01\x02", b"PK\x03\x04"])
def test_entries_that_lead_nowhere_are_refused(what: bytes) -> None:
    with pytest.raises(DamagedArchive, match=r"labels\.txt|byte"):
        read_archive(archive().replace(what, b"PK\x09\x09", 1))
