"""A file of ours that is an SQLite database: recognised, versioned, and with errors for people."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import ClassVar, TypeVar

from ..errors import InvalidInput, JobFailed

BUSY_TIMEOUT_S = 30.0
Self = TypeVar("Self", bound="DatabaseFile")


class DatabaseFile:
    """Base of the files that outlive ``kill -9``: write-ahead logging, whole transactions.

    Use it as a context manager. A subclass says what it is in the class variables.

    Args:
        path: of the file; made if it is not there.

    Raises:
        InvalidInput: the file is damaged, something else, or of another schema.
        JobFailed: it cannot be written (full disk, no permission).
    """

    WHAT: ClassVar[str]  # as in "is not a ..."
    APPLICATION_ID: ClassVar[int]  # in the header of every such file
    SCHEMA: ClassVar[int]
    TABLES: ClassVar[Sequence[str]]  # statements for a new file
    SYNCHRONOUS: ClassVar[str] = "NORMAL"  # FULL also survives the loss of power

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        with self._clear_errors():
            self._database = sqlite3.connect(
                self.path, timeout=BUSY_TIMEOUT_S, isolation_level=None
            )
        try:
            with self._clear_errors():
                self._prepare()
        except BaseException:
            self._database.close()
            raise

    def _prepare(self) -> None:
        application, schema = self._pragma("application_id"), self._pragma("user_version")
        tables = self._one("SELECT count(*) FROM sqlite_master")
        if tables and application != self.APPLICATION_ID:
            raise InvalidInput(
                f"{self.path} is an SQLite file of something else, not a {self.WHAT}; give the "
                "path of one, or of a new file"
            )
        if tables and schema != self.SCHEMA:
            raise InvalidInput(
                f"{self.path} has {self.WHAT} schema {schema}, this version reads {self.SCHEMA}; "
                "use the version of mnasfpn that wrote it, or start a new file"
            )
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute(f"PRAGMA synchronous = {self.SYNCHRONOUS}")
        if not tables:
            with self._transaction():
                # Another process may have been first while this one waited for the lock.
                if not self._one("SELECT count(*) FROM sqlite_master"):
                    for statement in self.TABLES:
                        self._database.execute(statement)
                    self._database.execute(f"PRAGMA application_id = {self.APPLICATION_ID}")
                    self._database.execute(f"PRAGMA user_version = {self.SCHEMA}")
                    self._begin()

    def _begin(self) -> None:
        """First rows of a new file, in the transaction that makes its tables."""

    def _pragma(self, name: str) -> int:
        return int(self._one(f"PRAGMA {name}"))

    def _one(self, query: str) -> int:
        """The number in the first column of the first row."""
        return int(self._database.execute(query).fetchone()[0])

    def __enter__(self: Self) -> Self:
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

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing, also when interrupted in the middle."""
        with self._clear_errors():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                if self._database.in_transaction:  # a full disk has already rolled it back
                    self._database.execute("ROLLBACK")
                raise
            self._database.execute("COMMIT")

    @contextmanager
    def _clear_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise JobFailed(
                f"cannot use the {self.WHAT} {self.path}: {error}; check the folder, its "
                "permissions and the free space; what was stored before is kept"
            ) from None
        except sqlite3.ProgrammingError:
            raise  # ours
        except sqlite3.DatabaseError as error:
            raise InvalidInput(
                f"{self.path} is not a {self.WHAT}, or is damaged: {error}; give the path of one, "
                "or of a new file"
            ) from None
