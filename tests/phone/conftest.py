"""Phones for tests, and an adb server of our own so that no other is touched."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
for name in ("adbd_phone", "cable"):  # modules beside this file, importable by the tests
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
        assert spec
        assert spec.loader
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])

from adbd_phone import Phone, free_port, why_no_phone  # noqa: E402

TOOL = HERE / "recorded_benchmark_model"


@pytest.fixture(scope="session")
def adb_server() -> Iterator[int]:
    """The port of an adb server that knows only the phones of these tests."""
    import adbutils

    if reason := why_no_phone():
        pytest.skip(reason)
    port = free_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANDROID_ADB_SERVER_PORT", str(port))
        patch.setenv("ADB_MDNS", "0")  # looks for no phones but those it is told of,
        patch.setenv("ADB_LIBUSB", "0")  # and starts in no time
        yield port
        adbutils.AdbClient().server_kill()


@pytest.fixture
def new_phone(adb_server: int, tmp_path: Path) -> Iterator[Callable[..., Phone]]:
    """Starts phones; all are gone, and forgotten by adb, when the test ends."""
    import adbutils

    phones: list[Phone] = []

    def start(**options: object) -> Phone:
        phones.append(Phone(tmp_path / f"phone{len(phones)}", **options))  # type: ignore[arg-type]
        phone = phones[-1].start()
        adbutils.AdbClient().connect(phone.serial, timeout=10)
        return phone

    yield start
    for phone in phones:
        adbutils.AdbClient().disconnect(phone.serial)
        phone.stop()


@pytest.fixture
def phone(new_phone: Callable[..., Phone]) -> Phone:
    return new_phone()
