"""The whole way on a small space: a virtual phone over adb, profiled, fitted and validated.

These are proofs; `make test` has the same way on a smaller image among the tests of the phone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mnasfpn.android_harness.phone.android import AndroidDevice
from mnasfpn.android_harness.protocol import SIMULATED_PROTOCOL
from mnasfpn.benchmarks.packed_kernels import MARKDOWN_HEADER, Way, measure, write_results
from mnasfpn.benchmarks.virtual_phone import check, started
from mnasfpn.errors import JobFailed
from mnasfpn.latency.fitting.accuracy import validate
from mnasfpn.latency.profile.validation import HeldOutModel
from mnasfpn.latency.profiling.plan import ProfilingPlan
from mnasfpn.latency.profiling.session import Session
from mnasfpn.latency.profiling.store import MeasurementStore
from mnasfpn.models.space import MNASFPN
from mnasfpn.tests.android_harness.phone.virtual_phone import why_no_virtual_phone

SMALL = replace(
    MNASFPN, name="small", channels=(32,), expansions=(64,), kernels=(3,), merges=("add",)
)
PLAN = ProfilingPlan(space=SMALL, calibration_heads=5, validation_heads=6, input_size=128)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    if reason := why_no_virtual_phone():
        pytest.skip(reason)
    with (
        pytest.MonkeyPatch.context() as patch,
        MeasurementStore(tmp_path_factory.mktemp("store") / "measurements.db") as store,
    ):
        patch.setenv("ANDROID_ADB_SERVER_PORT", "0")  # restores what `started` sets
        with started("cortex-a53") as (phone, program), AndroidDevice(phone.serial, program) as it:
            session = Session(it, store)
            assert session.protocol is SIMULATED_PROTOCOL
            yield session


@pytest.fixture(scope="module")
def packed(session: Session) -> Way:
    return measure(session, replace(PLAN, packed=True))


@pytest.mark.phone
@pytest.mark.proof
def test_packs_recover_a_deterministic_clock(packed: Way) -> None:
    check(packed)
    assert packed.name == "packed"
    assert packed.files == 1


@pytest.mark.phone
@pytest.mark.proof
def test_measured_again_the_heads_take_the_same_time(packed: Way) -> None:
    # The runtime's own clock has whole microseconds, and another file's name moves its ticks.
    for point in packed.validation.points:
        assert point.repeat_ms == pytest.approx(point.measured_ms, abs=0.0011)


@pytest.mark.phone
@pytest.mark.proof
def test_one_file_each_recovers_it_too_and_takes_longer(session: Session, packed: Way) -> None:
    alone = measure(session, PLAN)
    check(alone)
    assert alone.name == "one file each"
    assert alone.files > 40
    assert packed.device_s < alone.device_s


@pytest.fixture
def made_up() -> Way:
    """Every prediction as it was measured."""
    times_ms = range(1, 7)
    points = [HeldOutModel(f"head{ms}", ms, ms, 0.9 * ms, 1.1 * ms, ms) for ms in times_ms]
    return Way("packed", files=1, device_s=2.5, validation=validate(points))


def test_results_are_for_people_and_for_programs(made_up: Way, tmp_path: Path) -> None:
    out = tmp_path / "not/there/yet"
    text = write_results(out, "virtual", "A title", ["Provenance: simulated."], [made_up])
    assert MARKDOWN_HEADER in text
    assert (out / "virtual.md").read_text() == text
    result = json.loads((out / "virtual.json").read_text())
    assert [way["name"] for way in result["ways"]] == ["packed"]
    assert len(result["ways"][0]["validation"]["points"]) == 6


def test_a_head_that_is_too_far_off_fails_the_benchmark(made_up: Way) -> None:
    check(made_up)
    point, *others = made_up.validation.points
    off = replace(point, predicted_ms=1.06 * point.measured_ms)
    spoilt = replace(made_up, validation=replace(made_up.validation, points=(off, *others)))
    with pytest.raises(JobFailed, match=rf"{point.name} \+6\.0%"):
        check(spoilt)
