"""Atomic writes on a file system that really is full, and after failures of every other kind."""

import errno
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mnasfpn.errors import JobFailed
from mnasfpn.storage.atomic import whole_or_nothing, write_atomically


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
        monkeypatch.setattr(Path, "open", _on_a_full_device)
    else:
        monkeypatch.setattr(os, step, full)
    with pytest.raises(JobFailed, match=r"model\.tflite .*No space left.*free some space"):
        write_atomically(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["model.tflite"]


def _on_a_full_device(path, mode):
    """A file every byte of which goes to a device that is always full."""
    path.symlink_to("/dev/full")
    return open(path, mode)


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


def test_a_folder_appears_with_all_that_is_in_it(tmp_path):
    path = tmp_path / "set"
    with whole_or_nothing(path) as made:
        (made / "images").mkdir(parents=True)
        (made / "images" / "1.png").write_bytes(b"1")
        assert not path.exists()
    assert (path / "images" / "1.png").read_bytes() == b"1"
    assert os.listdir(tmp_path) == ["set"]
    (tmp_path / "plain").mkdir()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_file_that_a_program_writes_keeps_its_permissions(tmp_path):
    (tmp_path / "tool").write_bytes(b"old")
    with whole_or_nothing(tmp_path / "tool") as made:
        subprocess.run(["cp", "-p", "/bin/sh", made], check=True)
        assert (tmp_path / "tool").read_bytes() == b"old"
    assert os.access(tmp_path / "tool", os.X_OK)
    assert os.listdir(tmp_path) == ["tool"]


def _fill(folder):
    """Half a folder, and then the disk is full."""
    folder.mkdir()
    (folder / "half").write_bytes(b"1")
    with _on_a_full_device(folder / "rest", "wb") as file:
        file.write(b"2")


def _interrupted(folder):
    folder.mkdir()
    raise KeyboardInterrupt


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
@pytest.mark.parametrize(
    ("fill", "error"),
    [(_fill, OSError), (_interrupted, KeyboardInterrupt), (lambda folder: None, OSError)],
)
def test_a_folder_that_was_not_finished_leaves_nothing_behind(tmp_path, fill, error):
    """On a full disk, after Ctrl-C, or because nothing was made at all."""
    with pytest.raises(error), whole_or_nothing(tmp_path / "set") as made:
        fill(made)
    assert os.listdir(tmp_path) == []


MAKING = """
import sys, time
from pathlib import Path
from mnasfpn.storage.atomic import whole_or_nothing

path, mine = map(Path, sys.argv[1:])
with whole_or_nothing(path) as made:
    made.mkdir()
    (made / mine.name).touch()
    mine.touch()
    while not mine.with_name("go").exists():
        time.sleep(0.01)
"""


@pytest.fixture
def makers(tmp_path):
    """Two processes in the middle of making the same folder, and where they wait."""
    signals = tmp_path / "signals"
    signals.mkdir()
    (tmp_path / "data").mkdir()
    names = ("first", "second")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", MAKING, tmp_path / "data" / "set", signals / name],
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in names
    ]
    while not all((signals / name).exists() for name in names):
        assert all(process.poll() is None for process in processes)
        time.sleep(0.01)
    yield processes, signals / "go"
    for process in processes:
        process.kill()
        process.communicate()


def test_of_two_processes_at_once_one_makes_the_folder(tmp_path, makers):
    processes, go = makers
    go.touch()
    said = [process.communicate(timeout=30)[1] for process in processes]
    assert sorted(process.returncode for process in processes) == [0, 1]
    (failed,) = filter(None, said)
    assert "Directory not empty" in failed
    assert os.listdir(tmp_path / "data") == ["set"]
    winner = "first" if processes[0].returncode == 0 else "second"
    assert os.listdir(tmp_path / "data" / "set") == [winner]


def test_a_killed_process_leaves_no_folder_of_that_name(tmp_path, makers):
    (killed, other), go = makers
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert not (tmp_path / "data" / "set").exists()
    go.touch()
    assert other.wait(30) == 0
    assert os.listdir(tmp_path / "data" / "set") == ["second"]
    (left,) = (name for name in os.listdir(tmp_path / "data") if name != "set")
    assert left.startswith(".set.")
