"""How a measuring process ended: by the model's own doing, or by someone else's."""

from __future__ import annotations

import signal

from ...errors import TransientDeviceError

#: Signals by which someone else ends a process; every other signal is the model's own doing.
_FROM_OUTSIDE = {signal.SIGTERM, signal.SIGINT, getattr(signal, "SIGKILL", signal.SIGTERM)}


def raise_if_killed(returncode: int, what: str) -> None:
    """Nothing is known against a model whose process was killed by someone else, once.

    Args:
        returncode: as ``subprocess`` gives it.
        what: was measured.

    Raises:
        TransientDeviceError: it was; the model was under way.
    """
    if -returncode in _FROM_OUTSIDE:
        killed = TransientDeviceError(
            f"the measuring process was killed ({signal.Signals(-returncode).name}) during "
            f"{what}: by hand, or by the system for want of memory"
        )
        killed.under_way = True
        raise killed
