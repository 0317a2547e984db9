"""Whether the C runner can be made here; tests that need it are skipped with the reason."""

from __future__ import annotations

import platform

from mnasfpn.android_harness.host.native_build import find_compiler, litert_library
from mnasfpn.errors import StableDeviceError


def obstacle() -> str | None:
    """Why this PC can make no operator profile; None if it can."""
    try:
        find_compiler(platform.machine())
        litert_library()
    except StableDeviceError as error:
        return str(error)
    return None
