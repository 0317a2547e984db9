"""measurements.db: every raw run of every device, appended as it happens and never changed.

SQLite in write-ahead mode: a run that :meth:`MeasurementStore.append` has returned from survives
``kill -9``, two processes may write at once, and devices live side by side.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import msgspec

from ..android_harness.measurement import DeviceInfo, Run
from ..errors import InvalidInput, JobFailed

T = TypeVar("T")
SCHEMA = 1
APPLICATION_ID = 0x4D46504E  # "MFPN", in the header of every file this class made
BUSY_TIMEOUT_S = 30.0

_TABLES = f"""
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS device (
    id INTEGER PRIMARY KEY,
    info TEXT NOT NULL UNIQUE           -- DeviceInfo as JSON
);
CREATE TABLE IF NOT EXISTS run (
    id INTEGER PRIMARY KEY,
    device INTEGER NOT NULL REFERENCES device(id),
    key TEXT NOT NULL,                  -- a kernel's signature or a model's name
    run TEXT NOT NULL,                  -- Run as JSON: all samples, telemetry, error
    recorded TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
CREATE INDEX IF NOT EXISTS run_of_device ON run (device, key);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA};
COMMIT;
"""


class MeasurementStore:
    """Raw runs in one file. Use it as a context manager.

    Raises:
        InvalidInput: the file is damaged, not a measurement store, or of another schema.
        JobFailed: the file cannot be written (full disk, no permission).
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        with self._clear_errors():
            self._database = sqlite3.connect(
                self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None
            )
        try:
            self._prepare()
        except BaseException:
            self._database.close()
            raise

    def _prepare(self) -> None:
        with self._clear_errors():
            application = self._pragma("application_id")
            schema = self._pragma("user_version")
            tables = self._database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if tables and application != APPLICATION_ID:
                raise InvalidInput(
                    f"{self.path} is an SQLite file of something else, not a measurement store; "
                    "give the path of one, or of a new file"
                )
            if tables and schema != SCHEMA:
                raise InvalidInput(
                    f"{self.path} has measurement schema {schema}, this version reads {SCHEMA}; "
                    "use the version of mnasfpn that wrote it, or start a new file"
                )
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            if not tables:
                self._database.executescript(_TABLES)

    def _pragma(self, name: str) -> int:
        return int(self._database.execute(f"PRAGMA {name}").fetchone()[0])

    def __enter__(self) -> MeasurementStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._database.close()

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
        """Key -> its runs in the order in which they were made."""
        found: dict[str, list[Run]] = {}
        with self._clear_errors():
            rows = self._database.execute(
                "SELECT key, run FROM run JOIN device ON device.id = run.device "
                "WHERE info = ? ORDER BY run.id",
                (_device_json(device),),
            ).fetchall()
        for key, run in rows:
            found.setdefault(key, []).append(self._decode(run, Run))
        return {key: tuple(runs) for key, runs in found.items()}

    def _decode(self, text: str, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(text, type=kind)
        except msgspec.MsgspecError as error:
            raise InvalidInput(
                f"{self.path} holds a damaged {kind.__name__}: {error}; restore the file from a "
                "copy, or start a new one"
            ) from None

    @contextmanager
    def _clear_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise JobFailed(
                f"cannot use the measurement store {self.path}: {error}; check the folder, its "
                "permissions and the free space; what was stored before is kept"
            ) from None
        except sqlite3.DatabaseError as error:
            raise InvalidInput(
                f"{self.path} is not a measurement store, or is damaged: {error}; give the path "
                "of one, or of a new file"
            ) from None


def _device_json(device: DeviceInfo) -> str:
    return msgspec.json.encode(device).decode()
