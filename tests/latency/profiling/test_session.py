"""Visits to one device: what is in the store is found, whoever put it there, and decoded once."""

from __future__ import annotations

import gzip
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnasfpn.android_harness.measurement import Run, Status
from mnasfpn.android_harness.protocol import SIMULATED_PROTOCOL, MeasuringProtocol
from mnasfpn.errors import InvalidInput, JobFailed
from mnasfpn.latency.kernels.kernel import Kernel, kernel_graph
from mnasfpn.latency.kernels.runtimes import BUILTIN
from mnasfpn.latency.profiling.plan import DISPATCH, REPEAT, ProfilingPlan
from mnasfpn.latency.profiling.profile_device import profile_device
from mnasfpn.latency.profiling.session import SENTINEL, SENTINEL_NAME, Session
from mnasfpn.latency.profiling.store import MeasurementStore, name_of
from mnasfpn.models.space import Space
from mnasfpn.models.tflite.writer import write_tflite
from mnasfpn.tests.latency.conftest import PROTOCOL
from mnasfpn.tests.latency.profiling.test_profile_device_packed import Profiled
from mnasfpn.tests.latency.synthetic_device import SyntheticDevice

SMALL = Space("small", channels=(16,), kernels=(3,), expansions=(16,), internal_blocks=1)
PLAN = ProfilingPlan(SMALL, seed=1, calibration_heads=5, validation_heads=5, input_size=64)
ADD = kernel_graph(Kernel.parse("add 1x4x4x8, 1x4x4x8 -> 1x4x4x8"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MeasurementStore]:
    with MeasurementStore(tmp_path / "m.db") as store:
        yield store


@pytest.fixture
def device(synthetic):
    return synthetic()


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """Every run that is read from its text, as it is."""
    found: list[Run] = []
    decode = msgspec.json.decode

    def counted(text: str, **kind: type) -> object:
        value = decode(text, **kind)
        if isinstance(value, Run):
            found.append(value)
        return value

    monkeypatch.setattr(msgspec.json, "decode", counted)
    return found


@pytest.mark.parametrize("way", [{}, {"packed": True}], ids=str)
def test_a_profile_decodes_every_run_once(
    way: dict[str, bool], synthetic, protocol, tmp_path: Path, decoded: list[Run]
) -> None:
    """Whether they are made meanwhile, or were there before."""
    plan = replace(PLAN, **way)
    for first in (True, False):
        device = Profiled(synthetic())
        with MeasurementStore(tmp_path / "m.db") as store:
            profile_device(Session(device, store, protocol, seed=1), plan)
            rows = store._one("SELECT count(*) FROM run")
        assert len(device.inner.visited) == (rows if first else 0)
        assert len(decoded) == rows
        decoded.clear()


def test_nothing_of_a_store_written_by_0_1_0_is_used_and_it_is_said(
    synthetic, tmp_path: Path
) -> None:
    """It has all kernels of the small plan, alone and packed, and heads under the same numbers.

    Their files cannot be told, so all is measured; the runs themselves are kept.
    """
    archive = Path(__file__).with_name("written_by_0.1.0.db.gz")
    (tmp_path / "m.db").write_bytes(gzip.decompress(archive.read_bytes()))
    protocol = MeasuringProtocol(
        "synthetic", statistics=("median",), rounds=1, extra_rounds=0, runs=2, cooldown_timeout_s=0
    )
    device = synthetic(dispatch_us=3.0)
    with MeasurementStore(tmp_path / "m.db") as store:
        old = store._one("SELECT count(*) FROM run")
        session = Session(device, store, protocol, seed=1)
        assert session.runs_without_digest == old > 80
        profile = profile_device(session, PLAN)
        assert session.runs_without_digest == old
    assert set(device.visited) == {*PLAN.graphs, SENTINEL_NAME}
    assert profile.dispatch_us == pytest.approx(device.latency_us(kernel_graph(DISPATCH)))
    for row in profile.table:
        kernel = Kernel.parse(row.kernel)
        assert row.latency_us == pytest.approx(3.0 + device.kernel_us(kernel))


@pytest.mark.parametrize(
    "change",
    [{"input_size": 128}, {"channels": (40, 104, 336)}],
    ids=str,
)
def test_the_same_heads_on_other_features_are_other_models(
    change: dict[str, object], synthetic, store: MeasurementStore, protocol
) -> None:
    """Their names say how they are drawn, which is the same."""
    first, other = (replace(PLAN, **each) for each in ({}, change))
    assert set(first.whole_models) == set(other.whole_models)
    profiles = []
    for plan in (first, other):
        device = synthetic()
        profiles.append(profile_device(Session(device, store, protocol, seed=1), plan))
        assert set(plan.whole_models) <= set(device.visited)
    for plan, profile in zip((first, other), profiles, strict=True):
        for head in profile.heads:
            true_us = synthetic().latency_us(plan.whole_models[head.name])
            assert head.latency_ms == pytest.approx(true_us / 1e3)
    # All of both is there now: whichever is asked for again, nothing is visited.
    device = synthetic()
    for plan, profile in zip((first, other), profiles, strict=True):
        again = profile_device(Session(device, store, protocol, seed=1), plan)
        assert [head.name for head in again.heads] == [head.name for head in profile.heads]
        for one, two in zip(again.heads, profile.heads, strict=True):
            assert one.latency_ms == pytest.approx(two.latency_ms)
    assert device.visited == []


shapes = st.tuples(*[st.integers(1, 9)] * 2, st.integers(1, 32))


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(shapes, st.integers(0, 3)), min_size=1, max_size=6))
def test_whatever_is_measured_under_one_name_each_file_has_its_own_latency(asked) -> None:
    """Graphs and files, of any size and any weights; what was measured is never visited again."""
    device = SyntheticDevice()
    seen: set[bytes] = set()
    with tempfile.TemporaryDirectory() as folder, MeasurementStore(f"{folder}/m.db") as store:
        for (height, width, channels), seed in asked:
            kernel = Kernel.parse(
                f"conv 1x{height}x{width}x{channels} -> 1x{height}x{width}x8 k1x1 s1x1"
            )
            content = write_tflite(kernel_graph(kernel), seed=seed)
            path = Path(folder, "model.tflite")
            path.write_bytes(content)
            device.visited.clear()
            session = Session(device, store, PROTOCOL)
            session.measure({"model": path})
            assert ("model" in device.visited) == (content not in seen)
            seen.add(content)
            (found,) = session.measurements().values()
            assert found.centre_us == pytest.approx(device.latency_us(kernel_graph(kernel)))


def test_a_file_that_changes_while_it_is_measured_is_measured_as_it_was(
    device, store: MeasurementStore, protocol, tmp_path: Path
) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(write_tflite(ADD))

    def overwrite(done: int, total: int, name: str) -> None:
        path.write_bytes(write_tflite(kernel_graph(SENTINEL)))

    session = Session(device, store, protocol, progress=overwrite)
    session.measure({"model": path})
    (found,) = session.measurements().values()
    assert found.centre_us == pytest.approx(device.latency_us(ADD))
    assert found.spread == 0


def test_what_another_process_measured_meanwhile_is_not_measured_again(
    device, store: MeasurementStore, protocol
) -> None:
    mine = Session(device, store, protocol)
    mine.measure({"first": ADD})
    with MeasurementStore(store.path) as beside:
        Session(device, beside, protocol).measure({"first": ADD, "second": ADD})
    visits = len(device.visited)
    mine.measure({"second": ADD})
    assert len(device.visited) == visits
    found = mine.measurements()
    assert {key: len(each.runs) for key, each in found.items()} == {"first": 3, "second": 3}
    assert all(each.verdict.status is Status.VALID for each in found.values())


def test_through_another_runtime_a_device_is_another(
    device, store: MeasurementStore, protocol
) -> None:
    delegated, builtin = (
        Session(device, store, protocol),
        Session(device, store, protocol, runtime=BUILTIN),
    )
    delegated.measure({"first": ADD})
    assert set(delegated.runs()) == {"first", SENTINEL_NAME}
    assert store.runs(builtin.info) == {}
    assert store.devices() == (delegated.info,)


def test_the_protocol_is_by_default_the_devices(device, store: MeasurementStore) -> None:
    assert Session(device, store).protocol is SIMULATED_PROTOCOL


class SeesFiles:
    """Remembers what lay where when it was visited."""

    def __init__(self, device) -> None:
        self.device, self.files = device, {}
        self.describe, self.telemetry = device.describe, device.telemetry

    def run_round(self, jobs, settings, round_number) -> Iterator:
        for job, run in self.device.run_round(jobs, settings, round_number):
            self.files[name_of(job.key)] = (job.model, job.model.read_bytes())
            yield job, run


def test_files_are_written_for_what_is_due_and_a_graph_is_one_file(
    device, store: MeasurementStore, protocol
) -> None:
    head = PLAN.heads["validation"][0].name
    watched = SeesFiles(device)
    Session(watched, store, protocol).measure({"first": ADD})
    Session(watched, store, protocol).measure(
        {"first": ADD, head: PLAN.whole_models[head], head + REPEAT: PLAN.whole_models[head]}
    )
    (folder,) = {file.parent for key, (file, _) in watched.files.items() if key.startswith(head)}
    assert watched.files[head] == watched.files[head + REPEAT]
    assert watched.files["first"][0].parent != folder  # it was done, and not written again
    assert not folder.exists()


def test_a_folder_that_cannot_be_written_is_an_error_that_says_what_helps(
    device, store: MeasurementStore, protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(JobFailed, match="No space left on device; free some space there or set"):
        Session(device, store, protocol).measure({"first": ADD})
    assert device.visited == []


def test_a_session_of_another_seed_or_runtime_than_the_plans_is_refused(
    device, store: MeasurementStore, protocol
) -> None:
    with pytest.raises(InvalidInput, match="seed 0 and runtime xnnpack, the plan seed 1"):
        profile_device(Session(device, store, protocol), PLAN)
    with pytest.raises(InvalidInput, match="runtime builtin, the plan seed 1 and xnnpack"):
        profile_device(Session(device, store, protocol, seed=1, runtime=BUILTIN), PLAN)
    assert device.visited == []
