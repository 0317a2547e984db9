"""Where things that can be made or fetched again are kept between runs."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import JobFailed


def cache_folder(*parts: str) -> Path:
    """A folder under the user's cache, created if need be.

    ``$MNASFPN_CACHE`` if set, else ``mnasfpn`` in ``$XDG_CACHE_HOME`` or ``~/.cache``.

    Raises:
        JobFailed: it cannot be created.
    """
    own = os.environ.get("MNASFPN_CACHE")
    shared = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(own) if own else Path(shared) / "mnasfpn"
    folder = folder.joinpath(*parts).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise JobFailed(
            f"could not create the cache folder {folder}: {error.strerror}; "
            "set MNASFPN_CACHE to a folder that can be written"
        ) from error
    return folder
