"""Whole campaigns by the protocol of real phones, on phones that give trouble."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path

import pytest

from mnasfpn.android_harness.devices import opened
from mnasfpn.android_harness.measurement import Measurement, Status, effective_mhz
from mnasfpn.android_harness.protocol import PHONE_PROTOCOL
from mnasfpn.errors import StableDeviceError, TransientDeviceError
from mnasfpn.latency.profiling.session import Session
from mnasfpn.latency.profiling.store import MeasurementStore
from mnasfpn.models.graph.graph import Graph
from mnasfpn.tests.android_harness.phone.simulated_phone import (
    CLUSTERS,
    ZONES,
    Physics,
    SimulatedPhone,
    Zone,
    convolution,
    cycles,
    simulated_tool,
)
from mnasfpn.tests.android_harness.phone.trouble import Row

pytestmark = [pytest.mark.phone, pytest.mark.slow, pytest.mark.xdist_group("phone")]
NewPhone = Callable[..., SimulatedPhone]
BIG = CLUSTERS[-1].cores
TOP_KHZ = CLUSTERS[-1].khz[-1]


#: 0.2, 0.7 and 100 ms on a phone without trouble.
SMALL, MIDDLE, LARGE = convolution(32), convolution(64), convolution(256, size=58)
MODELS = {"small": SMALL, "middle": MIDDLE}
#: Of some 100 ms each.
LONG = {f"long {size}": convolution(256, size) for size in (54, 55, 56, 57)}
GRAPHS = {**MODELS, **LONG, "large": LARGE}
USUAL = Physics()
#: In the sun, and so slow that each of the long models heats it by eight degrees.
WARM = Physics(ambient_c=52, slowness=3)


def true_us(graph: Graph, physics: Physics) -> float:
    """What the phone takes at its highest clock; see physics/model_work.c."""
    return cycles(graph) * physics.slowness / TOP_KHZ * 1e3


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
    with opened(phone.serial, simulated_tool()) as device:
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


def right(found: Mapping[str, Measurement], physics: Physics = USUAL) -> None:
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
    """Twenty times as slow, two seconds an inference: fewer repeats, and right."""
    physics = Physics(slowness=20)
    phone = new_phone(kind=SimulatedPhone, physics=physics)
    found = measured(phone, store, {**MODELS, "large": LARGE})
    right(found, physics)
    row.seen_in(verdicts(found))


def test_a_model_is_too_slow_for_its_time(
    new_phone: NewPhone, store: MeasurementStore, row: Row
) -> None:
    """Ten seconds an inference: a number with its reason, beside others that are VALID."""
    physics = Physics(slowness=100)
    phone = new_phone(kind=SimulatedPhone, physics=physics)
    found = measured(phone, store, {"small": SMALL, "large": LARGE})
    row.seen_in(verdicts(found))
    assert found["large"].verdict.status is Status.UNSTABLE
    assert found["large"].centre_us == pytest.approx(true_us(LARGE, physics), rel=0.05)
    right({"small": found["small"]}, physics)


def test_the_phone_warms_up(new_phone: NewPhone, store: MeasurementStore, row: Row) -> None:
    """Without pauses these models would heat it to 75 degrees, where the clock goes down."""
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


def test_other_apps_are_at_work(new_phone: NewPhone, store: MeasurementStore, row: Row) -> None:
    """Processes that differ by 20 %: never VALID, however often they are measured."""
    phone = new_phone(kind=SimulatedPhone, physics=Physics(restlessness=0.2))
    for _ in range(2):
        found = measured(phone, store, {"small": SMALL})
        assert found["small"].verdict.status is Status.UNSTABLE
    row.seen_in(verdicts(found))


def test_the_phone_changes_meanwhile(
    new_phone: NewPhone, store: MeasurementStore, row: Row
) -> None:
    """Slower by a tenth from round to round, and so is the sentinel: nothing is VALID."""
    phone = new_phone(kind=SimulatedPhone)
    visits = count(1)

    def change(_done: int, _key: str) -> None:
        phone.set_physics(Physics(slowness=1.1 ** (next(visits) // len(MODELS))))

    found = measured(phone, store, MODELS, change)
    assert {one.verdict.status for one in found.values()} == {Status.UNSTABLE}
    row.seen_in(verdicts(found))


def test_the_phone_hides_how_hot_it_is(
    new_phone: NewPhone, store: MeasurementStore, row: Row
) -> None:
    """Nothing tells when to rest: it gets as hot as it can, and the clock alone shows it."""
    phone = new_phone(kind=SimulatedPhone, physics=WARM, zones={})
    phone.set_state("thermal_hal", "false")
    found = measured(phone, store, LONG)
    assert Status.UNSTABLE in {one.verdict.status for one in found.values()}
    row.seen_in(verdicts(found))


def test_a_big_core_goes_off(new_phone: NewPhone, store: MeasurementStore, row: Row) -> None:
    """The others are as big: what runs on them is right."""
    phone = new_phone(kind=SimulatedPhone)
    found = measured(phone, store, MODELS, lambda done, _: phone.switch_core(7, on=done > 3))
    right(found)
    row.seen_in(verdicts(found))


def test_all_big_cores_go_off(new_phone: NewPhone, store: MeasurementStore, row: Row) -> None:
    """For good, it stops; what was measured is kept, and with the cores back it goes on."""
    phone = new_phone(kind=SimulatedPhone)

    def lose(done: int, _key: str) -> None:
        if done == 2:
            phone.switch_cores(BIG, False)

    with pytest.raises(TransientDeviceError) as caught:
        measured(phone, store, MODELS, lose)
    row.seen_in(str(caught.value))
    kept = rows_in(store)
    phone.switch_cores(BIG, True)
    right(measured(phone, store))
    assert rows_in(store) > kept


def test_the_big_cores_are_off(new_phone: NewPhone, store: MeasurementStore, row: Row) -> None:
    """What the small ones take is said to be theirs; with the big ones on it is measured anew."""
    phone = new_phone(kind=SimulatedPhone)
    phone.switch_cores(BIG, False)
    with pytest.warns(RuntimeWarning) as caught:
        small = measured(phone, store)
    row.seen_in("\n".join(str(each.message) for each in caught))
    phone.switch_cores(BIG, True)
    big = measured(phone, store)
    right(big)
    for key, one in big.items():
        assert small[key].device.cores == (0, 1, 2, 3)
        assert small[key].centre_us == pytest.approx((one.centre_us or 0) * 3.48, rel=0.03)


def test_the_kernel_is_old(new_phone: NewPhone, store: MeasurementStore, row: Row) -> None:
    """Linux 3.18 of the paper's Pixel 1 has cpuN/cpufreq alone: clocks are read all the same."""
    phone = new_phone(kind=SimulatedPhone, policies=False)
    found = measured(phone, store)
    right(found)
    row.seen_in(verdicts(found))
    for one in found.values():
        for run in one.runs:
            assert effective_mhz(run) == pytest.approx(TOP_KHZ / 1e3, rel=0.01)


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


def test_a_model_restarts_the_phone(new_phone: NewPhone, store: MeasurementStore, row: Row) -> None:
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


def test_another_campaign_is_on_the_phone(new_phone: NewPhone, tmp_path: Path, row: Row) -> None:
    """The second waits, and then finds everything done in the store that they share."""
    phone = new_phone(kind=SimulatedPhone)
    path = tmp_path / "shared.db"
    begun = threading.Event()
    made: list[int] = []

    def first() -> None:
        with MeasurementStore(path) as store:
            measured(phone, store, MODELS, lambda _done, _key: begun.set())
            made.append(rows_in(store))

    campaign = threading.Thread(target=first)
    campaign.start()
    assert begun.wait(120)
    with MeasurementStore(path) as store:
        with pytest.warns(RuntimeWarning) as caught:
            found = measured(phone, store)
        campaign.join()
        right(found)
        assert made == [rows_in(store)]
    row.seen_in("\n".join(str(each.message) for each in caught))


def test_stopped_and_started_again(new_phone: NewPhone, store: MeasurementStore, row: Row) -> None:
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
    after = rows_in(store)
    assert before < after
    row.seen_in(verdicts(measured(phone, store)))
    assert rows_in(store) == after
