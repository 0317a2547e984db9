"""Files and folders that are either whole or not there: made under another name, then renamed."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..errors import JobFailed


@contextlib.contextmanager
def whole_or_nothing(path: Path) -> Iterator[Path]:
    """Make a file or a folder under another name; at the end of the block it gets its own.

    If the block ends with an exception nothing is left behind. A ``kill -9`` leaves a hidden folder
    ``.NAME.*`` beside the path, which nobody reads.

    Args:
        path: its folder must exist. A file that is there is replaced, a folder only if it is empty.

    Yields:
        The name to make the file or folder under; nothing is there yet.

    Raises:
        OSError: the system refused, or another process has made the folder meanwhile; what is there
            is untouched.
    """
    with tempfile.TemporaryDirectory(
        prefix=f".{path.name}.", dir=path.parent, ignore_cleanup_errors=True
    ) as scratch:
        made = Path(scratch) / path.name
        yield made
        os.replace(made, path)


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
    write_together({path: data})
    return Path(path)


def write_together(files: Mapping[str | os.PathLike[str], bytes | str]) -> None:
    """Write files that belong together: none gets its name before all have their content.

    Raises:
        JobFailed: as :func:`write_atomically`.
    """
    contents = {
        Path(path): data.encode() if isinstance(data, str) else data for path, data in files.items()
    }
    path = next(iter(contents))
    try:
        with contextlib.ExitStack() as named:
            for path, content in contents.items():
                made = named.enter_context(whole_or_nothing(path))
                with made.open("wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                with contextlib.suppress(FileNotFoundError):
                    made.chmod(path.stat().st_mode & 0o777)
    except OSError as error:
        raise JobFailed(
            f"could not write {path} ({len(contents[path]):,} bytes): {error.strerror}; "
            "free some space or choose a folder that exists and can be written, then try again"
        ) from error
