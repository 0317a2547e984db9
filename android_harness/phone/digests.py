"""What is in the phone's files, asked of the phone: by the best digest that its shell has.

``sha256sum`` came with Android 8; Android 6 and 7 have ``sha1sum`` and ``md5sum``, older ones
nothing or a ``busybox``. Where there is nothing the files are read back. (Source: the list of tools
by version in AOSP, ``system/core/shell_and_utilities/README.md``.)
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterator, Sequence

from .adb import AdbDevice

#: Best first. A digest is to find damage and stale files, for which each of them will do.
TOOLS = tuple(
    f"{prefix}{algorithm}sum"
    for algorithm in ("sha256", "sha1", "md5")
    for prefix in ("", "toybox ", "busybox ")
)
_PROBE = "mnasfpn\n"
_AT_ONCE = 200  # a command line has a limit


class RemoteDigests:
    """Digests of files on one phone, comparable with :meth:`of` of the content they should have.

    Args:
        device: asked once which tools it has; each must know the digest of a known text.
    """

    def __init__(self, device: AdbDevice) -> None:
        self._device = device
        names = " ".join(map(shlex.quote, TOOLS))
        probe = f'for t in {names}; do echo "$t=$(echo {_PROBE.strip()} | $t)"; done'
        lines = device.shell(f"{{ {probe}; }} 2>/dev/null").stdout.splitlines()
        right = {tool: f"{tool}={_digest(tool, _PROBE.encode())}" for tool in TOOLS}
        self._tool = next(
            (tool for tool in TOOLS if any(line.startswith(right[tool]) for line in lines)), ""
        )

    @property
    def algorithm(self) -> str:
        return _algorithm(self._tool)

    def of(self, content: bytes) -> str:
        """Of a file's content, as the phone would say it."""
        return _digest(self._tool, content)

    def there(self, paths: Sequence[str]) -> Iterator[str]:
        """Of each file on the phone, in order; empty where there is none.

        Raises:
            TransientDeviceError, StableDeviceError: the phone cannot be asked.
        """
        if not self._tool:
            for path in paths:
                content = self._device.pull(path)
                yield "" if content is None else self.of(content)
            return
        for start in range(0, len(paths), _AT_ONCE):
            some = paths[start : start + _AT_ONCE]
            names = " ".join(map(shlex.quote, some))
            # A line for each, also where the file is missing; its name is not in it.
            command = f'for f in {names}; do echo "$({self._tool} <"$f")"; done'
            lines = self._device.shell(f"{{ {command}; }} 2>/dev/null", timeout_s=120).stdout
            yield from (_first(line) for line in lines.split("\n")[: len(some)])


def _algorithm(tool: str) -> str:
    return tool.rpartition(" ")[2].removesuffix("sum") or "sha256"


def _digest(tool: str, content: bytes) -> str:
    return hashlib.new(_algorithm(tool), content, usedforsecurity=False).hexdigest()


def _first(line: str) -> str:
    return line.strip().partition(" ")[0]
