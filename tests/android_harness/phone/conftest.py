"""Phones for tests, on an adb server that no other phone knows."""

from __future__ import annotations

import importlib.util
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
#: Modules beside this file, importable by the tests.
for name in ("adbd_phone", "cable", "shell_here"):
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
        assert spec
        assert spec.loader
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])

from adbd_phone import Phone, why_no_phone  # noqa: E402

from mnasfpn.tests.android_harness.phone.trouble import Row, table  # noqa: E402

TOOL = HERE / "recorded_benchmark_model"


@pytest.fixture(scope="session")
def adb_server(own_adb_server: int) -> int:
    """The port of an adb server that knows only the phones of these tests."""
    if reason := why_no_phone():
        pytest.skip(reason)
    return own_adb_server


@pytest.fixture
def new_phone(adb_server: int, tmp_path: Path) -> Iterator[Callable[..., Phone]]:
    """Starts phones; all are gone, and forgotten by adb, when the test ends."""
    import adbutils

    phones: list[Phone] = []

    def start(kind: type[Phone] = Phone, **options: object) -> Phone:
        phones.append(kind(tmp_path / f"phone{len(phones)}", **options))  # type: ignore[arg-type]
        phone = phones[-1].start()
        adbutils.AdbClient().connect(phone.serial, timeout=10)
        return phone

    yield start
    for phone in phones:
        adbutils.AdbClient().disconnect(phone.serial)
        phone.stop()


@pytest.fixture
def row(request: pytest.FixtureRequest) -> Iterator[Row]:
    """The row of the document's table of troubles that the test stands for.

    Where the row quotes nothing, nothing is said: no warning of ours either.
    """
    found = table()[request.node.originalname]
    with warnings.catch_warnings():
        if not found.messages:
            warnings.simplefilter("error", RuntimeWarning)
        yield found
    assert found.checked, f"nothing that was seen was compared with the row {found.trouble!r}"


@pytest.fixture
def phone(new_phone: Callable[..., Phone]) -> Phone:
    return new_phone()
