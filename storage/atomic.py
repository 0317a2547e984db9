"""Files that are either whole or not there: written under a temporary name, then renamed."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from ..errors import JobFailed


def write_atomically(path: str | os.PathLike[str], data: bytes | str) -> Path:
    """Write a file so that a reader, or a killed process, never sees half of it.

    Args:
        path: of the file; its folder must exist. A file that is there is replaced.
        data: text is written as UTF-8.

    Returns:
        The path written.

    Raises:
        JobFailed: the system refused (disk full, no permission, no such folder). The file that
            was there before, if any, is untouched and nothing partial is left behind.
    """
    path = Path(path)
    content = data.encode() if isinstance(data, str) else data
    temporary: str | None = None
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, _permissions(path))
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise JobFailed(
            f"could not write {path} ({len(content):,} bytes): {error.strerror}; "
            "free some space or choose a folder that exists and can be written, then try again"
        ) from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
    return path


def _permissions(path: Path) -> int:
    """Mode of the file being replaced, or what an ordinary ``open`` would give a new one."""
    with contextlib.suppress(OSError):
        return path.stat().st_mode & 0o777
    umask = os.umask(0)
    os.umask(umask)
    return 0o666 & ~umask
