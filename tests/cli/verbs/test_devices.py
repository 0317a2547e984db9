"""``mnasfpn devices``: what is found, and what to do where nothing is."""

from __future__ import annotations

import json

import pytest

from mnasfpn.tests.cli.processes import invoke


def test_devices_without_adb_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from mnasfpn.android_harness.phone import adb_server
    from mnasfpn.errors import StableDeviceError

    def missing() -> list[object]:
        raise StableDeviceError("there is no adb; install the platform tools")

    monkeypatch.setattr(adb_server, "list_devices", missing)
    result = invoke("devices", "--json")
    assert result.exit_code == 0
    host, phones = json.loads(result.stdout)["devices"]
    assert (host["serial"], host["state"], host["fix"]) == ("host", "device", "")
    assert "install the platform tools" in phones["fix"]
    assert "this PC" in invoke("devices").stdout
