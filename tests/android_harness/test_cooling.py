"""Resting between visits: by a rise in degrees, zone by zone, at a growing interval."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnasfpn.android_harness.cooling import FIRST_POLL_S, LONGEST_POLL_S, Cooling
from mnasfpn.android_harness.measurement import Run, Telemetry
from mnasfpn.android_harness.protocol import MeasuringProtocol
from mnasfpn.android_harness.telemetry import read_telemetry
from mnasfpn.errors import TransientDeviceError

PROTOCOL = MeasuringProtocol("test", statistics=("min",), rounds=3)
TIMEOUT_S = PROTOCOL.cooldown_timeout_s


class Room:
    """A device that is asked for its state, whose clock is the rests that were taken.

    Args:
        states: what it says in turn, the last for ever.
    """

    def __init__(self, states: Iterable[Telemetry]) -> None:
        self.states = list(states)
        self.waits: list[float] = []

    def telemetry(self) -> Telemetry:
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]

    def rests_after(self, cooling: Cooling, state: Telemetry) -> float:
        rested = sum(self.waits)
        cooling.after(Run(0, 0, samples_us=(1.0,), after=state))
        return sum(self.waits) - rested


def started(*states: Telemetry) -> tuple[Room, Cooling]:
    room = Room(states)
    return room, Cooling(room, PROTOCOL, room.waits.append)  # type: ignore[arg-type]


def zones(**temperatures: float | str) -> Telemetry:
    return Telemetry(temperature_c=dict(temperatures))


def hal(*lines: str) -> Telemetry:
    said = "\n".join(f"\tTemperature{{{line}, mStatus=0}}" for line in lines)
    return read_telemetry(f"@@thermalservice\nCurrent temperatures from HAL:\n{said}\n")


SOCD = "mValue=95.0, mType=8, mName=socd"


def test_a_hot_core_rests_beside_a_full_battery() -> None:
    """95 is percent, and hotter than any core."""
    room, cooling = started(hal("mValue=30.0, mType=0, mName=CPU0", SOCD))
    hot = hal("mValue=62.0, mType=0, mName=CPU0", SOCD)
    room.states = [hot]
    assert room.rests_after(cooling, hot) == TIMEOUT_S


def test_amperes_that_rise_are_no_reason_to_rest() -> None:
    room, cooling = started(
        hal("mValue=30.0, mType=0, mName=CPU0", "mValue=350.0, mType=7, mName=ibat")
    )
    busy = hal("mValue=31.0, mType=0, mName=CPU0", "mValue=900.0, mType=7, mName=ibat")
    assert room.rests_after(cooling, busy) == 0


def test_a_sensor_that_is_stuck_hides_no_other_and_makes_nobody_wait() -> None:
    room, cooling = started(zones(stuck=85.0, cpu=30.0))
    assert room.rests_after(cooling, zones(stuck=85.0, cpu=33.0)) == 0
    room.states = [zones(stuck=85.0, cpu=50.0), zones(stuck=85.0, cpu=31.0)]
    assert room.rests_after(cooling, zones(stuck=85.0, cpu=62.0)) > 0


def test_zones_are_not_compared_with_each_other() -> None:
    """The hottest zone stays as hot as it was; another is 20 degrees warmer."""
    room, cooling = started(zones(modem=55.0, cpu=30.0))
    room.states = [zones(modem=55.0, cpu=30.0)]
    assert room.rests_after(cooling, zones(modem=55.0, cpu=50.0)) == FIRST_POLL_S


def test_it_is_asked_ever_more_seldom_and_not_for_ever() -> None:
    room, cooling = started(zones(cpu=30.0))
    room.states = [zones(cpu=50.0)]
    assert room.rests_after(cooling, zones(cpu=50.0)) == TIMEOUT_S
    first, *_, last = room.waits
    assert first == FIRST_POLL_S
    assert room.waits[:-1] == sorted(room.waits[:-1])
    assert max(room.waits) == LONGEST_POLL_S
    assert last <= LONGEST_POLL_S
    assert len(room.waits) < 20


def test_what_it_still_has_when_the_time_is_up_is_its_rest() -> None:
    room, cooling = started(zones(cpu=30.0))
    room.states = [zones(cpu=50.0)]
    assert room.rests_after(cooling, zones(cpu=50.0)) == TIMEOUT_S
    for _ in range(5):
        assert room.rests_after(cooling, zones(cpu=50.0)) == 0


def test_a_phone_that_was_warm_when_it_began_rests_at_less_later() -> None:
    """It lay in the sun. One low reading is noise; several in a row are the phone's."""
    room, cooling = started(zones(skin=45.0))
    for _ in range(4):
        assert room.rests_after(cooling, zones(skin=30.0)) == 0
    room.states = [zones(skin=30.0)]
    assert room.rests_after(cooling, zones(skin=40.0)) > 0
    noisy_room, noisy = started(zones(skin=45.0))
    assert noisy_room.rests_after(noisy, zones(skin=30.0)) == 0
    assert noisy_room.rests_after(noisy, zones(skin=46.0)) == 0


def test_a_zone_that_does_not_answer_is_as_warm_as_it_was() -> None:
    room, cooling = started(zones(cpu=30.0))
    room.states = [zones(cpu="unreadable"), Telemetry(), zones(cpu=30.0)]
    assert room.rests_after(cooling, zones(cpu=50.0)) > FIRST_POLL_S
    assert len(room.waits) == 3


def test_a_zone_that_appears_later_has_its_own_rest() -> None:
    room, cooling = started(zones(cpu=30.0))
    assert room.rests_after(cooling, zones(cpu=30.0, gpu=70.0)) == 0
    room.states = [zones(cpu=30.0, gpu=70.0)]
    assert room.rests_after(cooling, zones(cpu=30.0, gpu=80.0)) > 0


def test_without_a_temperature_heat_is_unknown_not_none() -> None:
    with pytest.warns(RuntimeWarning, match="whether it is hot is unknown"):
        room, cooling = started(zones(cpu="unreadable"))
    assert room.rests_after(cooling, zones(cpu="unreadable")) == 0


def test_a_device_that_never_rests_is_not_asked() -> None:
    class Silent(Room):
        def telemetry(self) -> Telemetry:
            raise AssertionError("asked")

    room = Silent([])
    still = MeasuringProtocol("test", statistics=("min",), rounds=3, cooldown_timeout_s=0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        cooling = Cooling(room, still, room.waits.append)  # type: ignore[arg-type]
        assert room.rests_after(cooling, zones(cpu=90.0)) == 0
        assert room.rests_after(cooling, zones(cpu=30.0)) == 0


def test_a_device_that_is_lost_while_it_rests_is_left_to_the_next_visit() -> None:
    class Lost(Room):
        def telemetry(self) -> Telemetry:
            if self.waits:
                raise TransientDeviceError("unplugged")
            return super().telemetry()

    room = Lost([zones(cpu=30.0)])
    cooling = Cooling(room, PROTOCOL, room.waits.append)  # type: ignore[arg-type]
    assert room.rests_after(cooling, zones(cpu=60.0)) == FIRST_POLL_S


def test_a_device_that_is_away_when_it_begins_is_as_cool_as_before_its_first_visit() -> None:
    class Away(Room):
        def telemetry(self) -> Telemetry:
            if not self.waits:
                raise TransientDeviceError("restarting")
            return super().telemetry()

    room = Away([zones(cpu=30.0)])
    cooling = Cooling(room, PROTOCOL, room.waits.append)  # type: ignore[arg-type]
    cooling.after(Run(0, 0, samples_us=(1.0,), before=zones(cpu=30.0), after=zones(cpu=60.0)))
    assert room.waits == [FIRST_POLL_S]


@given(st.lists(st.floats(-40, 125), min_size=1, max_size=30), st.lists(st.floats(-40, 125)))
def test_a_rest_ends_whatever_the_zones_say(polled: list[float], visits: list[float]) -> None:
    room, cooling = started(*(zones(cpu=value) for value in polled))
    for value in visits:
        assert 0 <= room.rests_after(cooling, zones(cpu=value)) <= TIMEOUT_S
