"""measurements.db: every raw run of every device, appended as it happens and never changed.

SQLite in write-ahead mode: a run that :meth:`MeasurementStore.append` has returned from survives
``kill -9``, two processes may write at once, and devices live side by side.

A run's key says which file was measured: a name for people, and a digest of the file's bytes
(:func:`run_key`). The same name for another file - other pixels, other weights, another version of
the writer - is another key.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Container
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import TypeVar

import msgspec

from ...android_harness.measurement import DeviceInfo, Run
from ...errors import InvalidInput
from ...storage.sqlite_file import DatabaseFile

T = TypeVar("T")
_KEY = re.compile(r"(?P<name>.*) sha256:[0-9a-f]{12}", re.DOTALL)


def digest(content: bytes) -> str:
    """What tells one model file from another."""
    return f"sha256:{hashlib.sha256(content).hexdigest()[:12]}"


def run_key(name: str, digest: str) -> str:
    """Under which runs of a file are kept.

    Args:
        name: a kernel's signature, or what a model is called.
        digest: of the file that is measured.
    """
    return f"{name} {digest}"


def name_of(key: str) -> str | None:
    """The name in a key; None of a key without a digest, as 0.1.0 made them."""
    found = _KEY.fullmatch(key)
    return found["name"] if found else None


@dataclass
class _Known:
    """Runs of a device that have been decoded, up to a row."""

    last: int = 0
    runs: dict[str, list[Run]] = field(default_factory=dict)


class MeasurementStore(DatabaseFile):
    """Raw runs in one file."""

    WHAT = "measurement store"
    APPLICATION_ID = 0x4D46504E  # "MFPN"
    SCHEMA = 1
    TABLES = (
        """CREATE TABLE device (
            id INTEGER PRIMARY KEY,
            info TEXT NOT NULL UNIQUE           -- DeviceInfo as JSON
        )""",
        """CREATE TABLE run (
            id INTEGER PRIMARY KEY,
            device INTEGER NOT NULL REFERENCES device(id),
            key TEXT NOT NULL,                  -- see run_key
            run TEXT NOT NULL,                  -- Run as JSON: all samples, telemetry, error
            recorded TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
        )""",
        "CREATE INDEX run_of_device ON run (device, key)",
    )

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path)
        self._known: dict[str, _Known] = {}

    def append(self, device: DeviceInfo, key: str, run: Run) -> None:
        """Keep one run for good."""
        info = _device_json(device)
        with self._clear_errors():
            self._database.execute("INSERT OR IGNORE INTO device (info) VALUES (?)", (info,))
            self._database.execute(
                "INSERT INTO run (device, key, run) SELECT id, ?, ? FROM device WHERE info = ?",
                (key, msgspec.json.encode(run).decode(), info),
            )

    def devices(self) -> tuple[DeviceInfo, ...]:
        """In the order in which they were first seen."""
        with self._clear_errors():
            rows = self._database.execute("SELECT info FROM device ORDER BY id").fetchall()
        return tuple(self._decode(info, DeviceInfo) for (info,) in rows)

    def runs(self, device: DeviceInfo) -> dict[str, tuple[Run, ...]]:
        """Key -> its runs in the order in which they were made, whoever made them.

        A row never changes, so it is decoded once: later calls look at what was added since.
        """
        info = _device_json(device)
        known = self._known.setdefault(info, _Known())
        with self._clear_errors():
            rows = self._database.execute(
                "SELECT run.id, key, run FROM run JOIN device ON device.id = run.device "
                "WHERE info = ? AND run.id > ? ORDER BY run.id",
                (info, known.last),
            ).fetchall()
        for number, key, run in rows:
            known.runs.setdefault(key, []).append(self._decode(run, Run))
            known.last = number
        return {key: tuple(runs) for key, runs in known.runs.items()}

    def device_s(self, device: DeviceInfo, names: Container[str]) -> float:
        """Seconds that the visits to models of some names took, of all campaigns together.

        A visit lasts from the end of the one before to its own. The first of a campaign has none
        before it; that is always the sentinel, so give no sentinel's name.
        """
        with self._clear_errors():
            rows = self._database.execute(
                "SELECT key, recorded FROM run JOIN device ON device.id = run.device "
                "WHERE info = ? ORDER BY run.id",
                (_device_json(device),),
            ).fetchall()
        ends = [(key, datetime.fromisoformat(recorded.rstrip("Z"))) for key, recorded in rows]
        return sum(
            (end - begin).total_seconds()
            for (_, begin), (key, end) in pairwise(ends)
            if name_of(key) in names
        )

    def _decode(self, text: str, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(text, type=kind)
        except msgspec.MsgspecError as error:
            raise InvalidInput(
                f"{self.path} holds a damaged {kind.__name__}: {error}; restore the file from a "
                "copy, or start a new one"
            ) from None


def _device_json(device: DeviceInfo) -> str:
    return msgspec.json.encode(device).decode()
