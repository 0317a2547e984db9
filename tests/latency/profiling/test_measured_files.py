"""Whole files measured beside a profile: same store, same clock, nothing twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from mnasfpn.android_harness.device import Job, RunSettings
from mnasfpn.android_harness.measurement import Run, Status
from mnasfpn.android_harness.protocol import MeasuringProtocol
from mnasfpn.errors import InvalidInput, StableDeviceError
from mnasfpn.latency.kernels.runtimes import BUILTIN
from mnasfpn.latency.profiling.measured_files import measure_files
from mnasfpn.latency.profiling.session import SENTINEL_NAME, Session
from mnasfpn.latency.profiling.store import MeasurementStore
from mnasfpn.models.published import PUBLISHED
from mnasfpn.models.tflite.writer import write_tflite

GRAPHS = {name: PUBLISHED[name].graph() for name in ("mobilenetv2-mnasfpn", "mobilenetv3-mnasfpn")}


@pytest.fixture
def device(synthetic: Callable[..., object]) -> object:
    return synthetic()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("files")
    for name, graph in GRAPHS.items():
        (folder / f"{name}.tflite").write_bytes(write_tflite(graph))
    return {name: folder / f"{name}.tflite" for name in GRAPHS}


def test_every_file_has_its_own_latency_and_verdict(
    device, files: dict[str, Path], protocol: MeasuringProtocol, tmp_path: Path
) -> None:
    seen: list[tuple[int, int, str]] = []
    with MeasurementStore(tmp_path / "m.db") as store:
        session = Session(device, store, protocol, progress=lambda *call: seen.append(call))
        found = measure_files(session, files)
    assert list(found) == list(files)
    for name, measured in found.items():
        assert measured.centre_us == pytest.approx(device.latency_us(GRAPHS[name]))
        assert measured.verdict.status is Status.VALID
    needed = len(files) * protocol.rounds
    assert [call[:2] for call in seen] == [(done, needed) for done in range(1, needed + 1)]
    assert {call[2] for call in seen} == set(files)


def test_measured_once_they_are_not_measured_again(
    device, files: dict[str, Path], protocol: MeasuringProtocol, tmp_path: Path
) -> None:
    with MeasurementStore(tmp_path / "m.db") as store:
        first = measure_files(Session(device, store, protocol), files)
    device.visited.clear()
    with MeasurementStore(tmp_path / "m.db") as store:
        assert measure_files(Session(device, store, protocol), files) == first
        assert device.visited == []
        # Through another runtime they are other measurements.
        measure_files(Session(device, store, protocol, runtime=BUILTIN), files)
    assert set(device.visited) == {*files, SENTINEL_NAME}


class StopsAfter:
    """Unplugged after some visits."""

    def __init__(self, device, visits: int) -> None:
        self.device, self.visits = device, visits
        self.describe, self.telemetry = device.describe, device.telemetry

    def run_round(
        self, jobs: Sequence[Job], settings: RunSettings, round_number: int
    ) -> Iterator[tuple[Job, Run]]:
        for found in self.device.run_round(jobs, settings, round_number):
            if self.visits == 0:
                raise StableDeviceError("unplugged")
            self.visits -= 1
            yield found


def test_stopped_in_the_middle_it_goes_on(
    device, files: dict[str, Path], protocol: MeasuringProtocol, tmp_path: Path
) -> None:
    with (
        MeasurementStore(tmp_path / "m.db") as store,
        pytest.raises(StableDeviceError, match="unplugged"),
    ):
        measure_files(Session(StopsAfter(device, 5), store, protocol), files)
    with MeasurementStore(tmp_path / "m.db") as store:
        found = measure_files(Session(device, store, protocol), files)
        runs = store.runs(Session(device, store, runtime=BUILTIN).info)
        assert runs == {}
    assert all(len(measured.runs) == protocol.rounds for measured in found.values())


class RefusesOne:
    """A runtime that cannot load one of the files."""

    def __init__(self, device, file: Path) -> None:
        self.device, self.content = device, file.read_bytes()
        self.describe, self.telemetry = device.describe, device.telemetry

    def run_round(
        self, jobs: Sequence[Job], settings: RunSettings, round_number: int
    ) -> Iterator[tuple[Job, Run]]:
        for job, run in self.device.run_round(jobs, settings, round_number):
            failed = replace(run, samples_us=(), error="unsupported operator")
            yield job, failed if job.model.read_bytes() == self.content else run


def test_a_file_that_does_not_run_has_a_reason_and_the_others_a_latency(
    device, files: dict[str, Path], protocol: MeasuringProtocol, tmp_path: Path
) -> None:
    bad, good = files
    with MeasurementStore(tmp_path / "m.db") as store:
        found = measure_files(Session(RefusesOne(device, files[bad]), store, protocol), files)
    assert found[bad].verdict.status is Status.FAILED
    assert "unsupported operator" in " ".join(found[bad].verdict.reasons)
    assert found[bad].centre_us is None
    assert found[good].verdict.status is Status.VALID


def test_files_that_are_not_there_are_refused_before_anything_is_measured(
    device, files: dict[str, Path], tmp_path: Path
) -> None:
    missing = {**files, "lost": tmp_path / "lost.tflite"}
    with (
        MeasurementStore(tmp_path / "m.db") as store,
        pytest.raises(InvalidInput, match=r"lost: there is no file .*lost\.tflite"),
    ):
        measure_files(Session(device, store), missing)
    assert device.visited == []


def test_the_sentinels_key_is_taken(device, files: dict[str, Path], tmp_path: Path) -> None:
    path = next(iter(files.values()))
    with (
        MeasurementStore(tmp_path / "m.db") as store,
        pytest.raises(InvalidInput, match="'sentinel'"),
    ):
        measure_files(Session(device, store), {SENTINEL_NAME: path})


def test_nothing_to_measure(device, tmp_path: Path) -> None:
    with MeasurementStore(tmp_path / "m.db") as store:
        assert measure_files(Session(device, store), {}) == {}
    assert device.visited == []
