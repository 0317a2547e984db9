"""Whole campaigns by the protocol of real phones, on phones that give trouble."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from mnasfpn.android_harness.measurement import Measurement, Run, Status
from mnasfpn.android_harness.phone.android import AndroidDevice
from mnasfpn.android_harness.protocol import PHONE_PROTOCOL
from mnasfpn.errors import DeviceError, StableDeviceError
from mnasfpn.latency.profiling.session import SENTINEL_KEY, Session
from mnasfpn.latency.profiling.store import MeasurementStore
from mnasfpn.models.graph.builder import GraphBuilder
from mnasfpn.models.graph.costs import cost
from mnasfpn.models.graph.graph import Graph
from mnasfpn.tests.android_harness.phone.simulated_phone import (
    CLUSTERS,
    ZONES,
    Physics,
    SimulatedPhone,
    Zone,
    simulated_tool,
)
from mnasfpn.tests.android_harness.phone.trouble import Row

pytestmark = [pytest.mark.phone, pytest.mark.slow, pytest.mark.xdist_group("phone")]
NewPhone = Callable[..., SimulatedPhone]
TOP_KHZ = CLUSTERS[-1].khz[-1]


def convolution(channels: int, size: int = 20) -> Graph:
    builder = GraphBuilder()
    name = builder.input("in", (1, size, size, channels))
    return builder.graph([builder.conv("conv", name, channels, kernel=3)])


#: 0.2, 0.7 and 100 ms on a phone without trouble.
SMALL, MIDDLE, LARGE = convolution(32), convolution(64), convolution(256, size=58)
MODELS = {"small": SMALL, "middle": MIDDLE}
#: Of some 100 ms each.
LONG = {f"long {size}": convolution(256, size) for size in (54, 55, 56, 57)}
GRAPHS = {**MODELS, **LONG, "large": LARGE}
#: In the sun, and so slow that each of the long models heats it by eight degrees.
WARM = Physics(ambient_c=52, slowness=3)


def true_us(graph: Graph, physics: Physics) -> float:
    """What the phone takes at its highest clock; see physics/model_work.c."""
    return (cost(graph).madds / 8 + 4000) * physics.slowness / TOP_KHZ * 1e3


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MeasurementStore]:
    with MeasurementStore(tmp_path / "measurements.db") as opened:
        yield opened


def measured(
    phone: SimulatedPhone,
    store: MeasurementStore,
    models: Mapping[str, Graph] = MODELS,
    after: Callable[[int, str], None] = lambda _done, _key: None,
) -> dict[str, Measurement]:
    """One campaign, by the protocol of real phones, in the phone's own time.

    Args:
        after: called with what the session tells of its progress.
    """
    with AndroidDevice(phone.serial, simulated_tool()) as device:
        session = Session(
            device,
            store,
            PHONE_PROTOCOL,
            progress=lambda done, _needed, key: after(done, key),
            sleep=phone.rest,
        )
        session.measure(models)
        return session.measurements()


def verdicts(found: Mapping[str, Measurement]) -> str:
    return "\n".join(
        f"{key}: {one.verdict.status.value} {'; '.join(one.verdict.reasons)}"
        for key, one in found.items()
    )


def right(found: Mapping[str, Measurement], physics: Physics = Physics()) -> None:
    """Everything is VALID, and within 2 % of what the phone takes at its highest clock."""
    for key, one in found.items():
        assert one.verdict.status is Status.VALID, verdicts(found)
        assert one.centre_us == pytest.approx(true_us(GRAPHS[key], physics), rel=0.02, abs=1)


def rows_in(store: MeasurementStore) -> int:
    (device,) = store.devices()
    return sum(map(len, store.runs(device).values()))


def test_a_phone_without_trouble(new_phone: NewPhone, store: MeasurementStore) -> None:
    right(measured(new_phone(kind=SimulatedPhone), store))


def test_the_phone_is_slow(new_phone: NewPhone, store: MeasurementStore, row: Row) -> None:
    """Two seconds an inference: a number with its reason, beside others that are VALID."""
    physics = Physics(slowness=20)
    phone = new_phone(kind=SimulatedPhone, physics=physics)
    found = measured(phone, store, {**MODELS, "large": LARGE})
    row.seen_in(verdicts(found))
    assert found["large"].verdict.status is Status.UNSTABLE
    assert found["large"].centre_us == pytest.approx(true_us(LARGE, physics), rel=0.05)
    right({key: found[key] for key in MODELS}, physics)


def test_the_phone_warms_up(new_phone: NewPhone, store: MeasurementStore, row: Row) -> None:
    """Without pauses between these models it would come to 75 degrees, where the clock goes down."""
    phone = new_phone(kind=SimulatedPhone, physics=WARM)
    begin_s = phone.now_s
    found = measured(phone, store, LONG)
    right(found, WARM)
    assert phone.now_s - begin_s > 3 * WARM.time_constant_s
    row.seen_in(verdicts(found))


def test_the_phone_stays_hot(new_phone: NewPhone, store: MeasurementStore, row: Row) -> None:
    """In the sun it throttles even at rest: its numbers are not those of a cool phone."""
    phone = new_phone(kind=SimulatedPhone, physics=Physics(ambient_c=73))
    phone.rest(60)
    found = measured(phone, store)
    assert {one.verdict.status for one in found.values()} == {Status.UNSTABLE}
    row.seen_in(verdicts(found))


def test_a_sensor_is_stuck(new_phone: NewPhone, store: MeasurementStore, row: Row) -> None:
    """One that says 85 degrees for ever must not hide how the others rise."""
    zones = {**ZONES, "modem-therm": Zone(stuck=85_000)}
    phone = new_phone(kind=SimulatedPhone, physics=WARM, zones=zones)
    found = measured(phone, store, LONG)
    right(found, WARM)
    row.seen_in(verdicts(found))


def test_a_big_core_goes_off(new_phone: NewPhone, store: MeasurementStore, row: Row) -> None:
    """Hotplug in the middle: what ran on fewer cores says so, and all is right once it is back."""
    phone = new_phone(kind=SimulatedPhone)

    def hotplug(done: int, _key: str) -> None:
        phone.switch_core(7, on=done not in (2, 3))

    found = measured(phone, store, MODELS, hotplug)
    (device,) = store.devices()
    row.seen_in("\n".join(run.error for runs in store.runs(device).values() for run in runs))
    right(found)


def test_the_big_cores_are_off(new_phone: NewPhone, store: MeasurementStore, row: Row) -> None:
    phone = new_phone(kind=SimulatedPhone)
    for core in (4, 5, 6, 7):
        phone.switch_core(core, False)
    with pytest.raises(StableDeviceError) as caught:
        measured(phone, store)
    row.seen_in(str(caught.value))
    for core in (4, 5, 6, 7):
        phone.switch_core(core, True)
    right(measured(phone, store))


def test_an_old_kernel(new_phone: NewPhone, store: MeasurementStore, row: Row) -> None:
    """Linux 3.18 of the paper's Pixel 1 has cpuN/cpufreq alone: clocks are read all the same."""
    phone = new_phone(kind=SimulatedPhone, policies=False)
    found = measured(phone, store)
    right(found)
    assert all(run.after.time_in_state for one in found.values() for run in one.runs)
    phone.set_physics(replace(phone.physics, ambient_c=80))
    phone.rest(600)
    hot = measured(phone, store, {"other": convolution(48)})
    row.seen_in(verdicts(hot))


def test_no_sha256sum(new_phone: NewPhone, store: MeasurementStore, row: Row) -> None:
    phone = new_phone(kind=SimulatedPhone, without=("sha256sum",))
    found = measured(phone, store)
    right(found)
    row.seen_in(verdicts(found))


def test_no_taskset(new_phone: NewPhone, store: MeasurementStore, row: Row) -> None:
    """The scheduler puts the program on big and on small cores, as it likes."""
    phone = new_phone(kind=SimulatedPhone, without=("taskset",))
    with pytest.warns(RuntimeWarning) as caught:
        found = measured(phone, store)
    assert {one.verdict.status for one in found.values()} == {Status.UNSTABLE}
    row.seen_in("\n".join([verdicts(found), *(str(each.message) for each in caught)]))


def test_the_storage_is_full(new_phone: NewPhone, store: MeasurementStore, row: Row) -> None:
    """What was measured is kept; with space again the same command goes on."""
    phone = new_phone(kind=SimulatedPhone, disk="1m")
    with pytest.raises(StableDeviceError) as caught:
        measured(phone, store, {**MODELS, "large": LARGE})
    row.seen_in(str(caught.value))
    right(measured(phone, store))


def test_a_model_needs_more_memory_than_there_is(
    new_phone: NewPhone, store: MeasurementStore, row: Row
) -> None:
    """It is given up after two deaths; the others are measured."""
    phone = new_phone(kind=SimulatedPhone, physics=Physics(memory_mb=3))
    found = measured(phone, store, {**MODELS, "large": LARGE})
    row.seen_in(verdicts(found))
    assert found["large"].verdict.status is Status.FAILED
    assert len(found["large"].runs) == PHONE_PROTOCOL.error_runs
    right({key: found[key] for key in MODELS})


def test_a_model_restarts_the_phone(
    new_phone: NewPhone, store: MeasurementStore, row: Row
) -> None:
    physics = Physics(memory_mb=3, out_of_memory="restart")
    phone = new_phone(kind=SimulatedPhone, physics=physics)
    with phone.switched_on_again() as restarts:
        found = measured(phone, store, {**MODELS, "large": LARGE})
    row.seen_in(verdicts(found))
    assert found["large"].verdict.status is Status.FAILED
    assert len(restarts) == PHONE_PROTOCOL.error_runs
    right({key: found[key] for key in MODELS})


def test_settings_are_refused(new_phone: NewPhone, store: MeasurementStore, row: Row) -> None:
    phone = new_phone(kind=SimulatedPhone)
    phone.set_state("settings_refused", "true")
    with pytest.warns(RuntimeWarning) as caught:
        found = measured(phone, store)
    row.seen_in("\n".join(str(each.message) for each in caught))
    right(found)


def test_stopped_and_started_again(
    new_phone: NewPhone, store: MeasurementStore, row: Row
) -> None:
    """Ctrl-C in the middle of the second round: the same call goes on, and measures no more."""
    phone = new_phone(kind=SimulatedPhone)

    def stop(done: int, _key: str) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measured(phone, store, MODELS, stop)
    before = rows_in(store)
    found = measured(phone, store)
    right(found)
    assert {len(one.runs) for one in found.values()} == {PHONE_PROTOCOL.rounds}
    after = rows_in(store)
    assert before < after
    row.seen_in(verdicts(measured(phone, store)))
    assert rows_in(store) == after
