"""A device whose shell is this machine's own ``sh``: for what is said to a shell."""

from __future__ import annotations

import subprocess
from pathlib import Path

from hypothesis import strategies as st

from mnasfpn.android_harness.phone.adb import ShellResult

#: Names of files: what a shell takes for something else, spaces, and letters of other scripts.
ODD_NAMES = st.text(
    "ab .-'\"$`\\*?[](){}<>|&;#!~%=,äßжñ中\u00a0\t", min_size=1, max_size=24
).filter(lambda name: name not in (".", ".."))


class ShellHere:
    """Stands for an ``AdbDevice``; its files are this machine's.

    Args:
        path: the only folder that programs are found in.
    """

    serial = "here"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.pulled: list[str] = []

    def shell(self, command: str, timeout_s: float = 30.0) -> ShellResult:
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            text=True,
            timeout=timeout_s,
            env={"PATH": str(self.path), "LC_ALL": "C.UTF-8"},
            cwd="/",
        )
        return ShellResult(done.returncode, done.stdout, done.stderr)

    def push(self, content: bytes, path: str, mode: int = 0o644) -> None:
        Path(path).write_bytes(content)
        Path(path).chmod(mode)

    def pull(self, path: str) -> bytes | None:
        self.pulled.append(path)
        return Path(path).read_bytes() if Path(path).is_file() else None

    def wait(self, timeout_s: float = 60.0) -> None:
        pass


def put_programs(folder: Path, *names: str) -> Path:
    """A folder for ``ShellHere.path`` with this machine's programs of these names."""
    folder.mkdir()
    for name in names:
        place = next(at for at in map(Path, ("/usr/bin", "/bin")) if (at / name).exists())
        (folder / name).symlink_to(place / name)
    return folder


def put_script(folder: Path, name: str, *lines: str) -> None:
    """A program of our own."""
    (folder / name).write_text("\n".join(("#!/bin/sh", *lines, "")))
    (folder / name).chmod(0o755)
