"""Letting a device cool down between visits: how warm it is by a rise in degrees, zone by zone.

Zones are never compared with each other: a battery at 40 °C hides no core that went from 30 to 62,
and a sensor that always says 85 makes nobody wait.
"""

from __future__ import annotations

import warnings
from collections import defaultdict, deque
from collections.abc import Callable

from ..errors import TransientDeviceError
from .device import Device
from .measurement import Run, Telemetry
from .protocol import MeasuringProtocol

#: A resting device is asked this soon, and then ever later: asking it costs it a little work. Cores
#: cool within seconds, the case within minutes.
FIRST_POLL_S, POLL_GROWTH, LONGEST_POLL_S = 1.0, 1.5, 30.0
#: A zone that was cooler so often in a row was warm when the campaign began; once is noise.
COOLER_TIMES = 3


class Cooling:
    """How far each zone of one device is above what it reads at rest, through one campaign.

    At rest is what it reads when the campaign begins. What it still reads when the time is up is
    what it rests at under this work: waiting for less again after every visit would never end.
    """

    def __init__(
        self, device: Device, protocol: MeasuringProtocol, sleep: Callable[[float], None]
    ) -> None:
        self._device, self._protocol, self._sleep = device, protocol, sleep
        self._rest_c: dict[str, float] = {}
        self._recent_c: defaultdict[str, deque[float]] = defaultdict(
            lambda: deque(maxlen=COOLER_TIMES)
        )
        if protocol.cooldown_timeout_s > 0:
            self._begin()

    def _begin(self) -> None:
        try:
            begin = self._device.telemetry()
        except TransientDeviceError:
            return  # the first visit reconnects, and tells what was before it
        if not self._rises_c(begin):
            warnings.warn(
                "the device tells no temperature: whether it is hot is unknown, and it does not "
                "rest until it is cool; keep it in a cool place",
                RuntimeWarning,
                stacklevel=4,
            )

    def after(self, run: Run) -> None:
        """Wait while a zone is more than ``cooldown_c`` warmer than at rest, but not for ever."""
        if not self._rest_c:
            self._rises_c(run.before)
        limit_c, left_s = self._protocol.cooldown_c, self._protocol.cooldown_timeout_s
        poll_s, rises_c = FIRST_POLL_S, self._rises_c(run.after)
        while max(rises_c.values(), default=0.0) > limit_c and left_s > 0:
            pause_s = min(poll_s, left_s)
            self._sleep(pause_s)
            left_s, poll_s = left_s - pause_s, min(poll_s * POLL_GROWTH, LONGEST_POLL_S)
            try:
                # A zone that does not answer this time is as warm as it was.
                rises_c |= self._rises_c(self._device.telemetry())
            except TransientDeviceError:
                return  # the next visit reconnects, and counts its attempts
        for zone, rise_c in rises_c.items():
            if rise_c > limit_c:
                self._rest_c[zone] += rise_c

    def _rises_c(self, now: Telemetry) -> dict[str, float]:
        """Degrees above rest of every readable zone."""
        rises_c = {}
        for zone, value in now.temperature_c.items():
            if isinstance(value, str):
                continue
            recent = self._recent_c[zone]
            recent.append(value)
            rest_c = self._rest_c.setdefault(zone, value)
            if len(recent) == COOLER_TIMES:
                self._rest_c[zone] = min(rest_c, max(recent))
            rises_c[zone] = value - self._rest_c[zone]
        return rises_c
