"""Atomic writes on a file system that really is full, and after failures of every other kind."""

import errno
import os
import stat

import pytest

from mnasfpn.errors import JobFailed
from mnasfpn.storage.atomic import write_atomically


def test_writes_bytes_and_text(tmp_path):
    assert write_atomically(tmp_path / "a.bin", b"\x00\xff").read_bytes() == b"\x00\xff"
    assert write_atomically(str(tmp_path / "b.txt"), "größer").read_bytes() == "größer".encode()


def test_replaces_a_file_and_keeps_its_permissions(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(b"old")
    path.chmod(0o640)
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["model.tflite"]


def test_a_new_file_is_as_readable_as_open_would_make_it(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    path = write_atomically(tmp_path / "atomic", b"")
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_full_disk_is_one_clear_error_and_leaves_the_old_file_alone(tmp_path, monkeypatch, step):
    """ENOSPC may come with the first byte, with the flush to disk, or with the new name."""

    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "model.tflite"
    path.write_bytes(b"old")
    if step == "write":
        if not os.path.exists("/dev/full"):
            pytest.skip("this system has no /dev/full")
        monkeypatch.setattr("tempfile.mkstemp", lambda **_: _full_device(tmp_path))
    else:
        monkeypatch.setattr(os, step, full)
    with pytest.raises(JobFailed, match=r"model\.tflite .*No space left.*free some space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["model.tflite"]


def _full_device(folder):
    """A temporary file every byte of which goes to a device that is always full."""
    link = folder / ".temporary"
    link.symlink_to("/dev/full")
    return os.open(link, os.O_WRONLY), str(link)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(JobFailed, match="No such file or directory"):
        write_atomically(tmp_path / "missing" / "a", b"x")


def test_an_interrupt_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupt(handle):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "a", b"x")
    assert os.listdir(tmp_path) == []
