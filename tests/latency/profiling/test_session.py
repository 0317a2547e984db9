"""Visits to one device: what is in the store is found, whoever put it there, and decoded once."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from mnasfpn.android_harness.measurement import Run, Status
from mnasfpn.android_harness.protocol import SIMULATED_PROTOCOL, MeasuringProtocol
from mnasfpn.errors import InvalidInput, JobFailed
from mnasfpn.latency.kernels.kernel import Kernel, kernel_graph
from mnasfpn.latency.kernels.runtimes import BUILTIN
from mnasfpn.latency.profiling.plan import REPEAT, ProfilingPlan
from mnasfpn.latency.profiling.profile_device import profile_device
from mnasfpn.latency.profiling.session import PACK_SENTINEL_KEY, SENTINEL_KEY, Session
from mnasfpn.latency.profiling.store import MeasurementStore
from mnasfpn.models.space import Space
from mnasfpn.tests.latency.profiling.test_profile_device_packed import Profiled

SMALL = Space("small", channels=(16,), kernels=(3,), expansions=(16,), internal_blocks=1)
PLAN = ProfilingPlan(SMALL, seed=1, calibration_heads=5, validation_heads=5, input_size=64)
ADD = kernel_graph(Kernel.parse("add 1x4x4x8, 1x4x4x8 -> 1x4x4x8"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MeasurementStore]:
    with MeasurementStore(tmp_path / "m.db") as store:
        yield store


@pytest.fixture
def device(synthetic):
    made = synthetic(PLAN)
    made.graphs |= {"first": ADD, "second": ADD}
    return made


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


@pytest.mark.parametrize("way", [{}, {"packed": True}, {"by_operator": True}], ids=str)
def test_a_profile_decodes_every_run_once(
    way: dict[str, bool], synthetic, protocol, tmp_path: Path, decoded: list[Run]
) -> None:
    """Whether they are made meanwhile, or were there before."""
    plan = replace(PLAN, **way)
    for first in (True, False):
        device = Profiled(synthetic(plan), plan)
        with MeasurementStore(tmp_path / "m.db") as store:
            profile_device(Session(device, store, protocol, seed=1), plan)
            rows = store._one("SELECT count(*) FROM run")
        assert len(device.inner.visited) == (rows if first else 0)
        assert len(decoded) == rows
        decoded.clear()


def test_a_store_written_by_0_1_0_is_resumed_but_for_its_heads(synthetic, tmp_path: Path) -> None:
    """All three ways to measure the small plan; the figures are those that 0.1.0 made of them.

    0.1.0 drew other heads under the same numbers: what it measured of them is never taken for ours.
    """
    archive = Path(__file__).with_name("written_by_0.1.0.db.gz")
    (tmp_path / "m.db").write_bytes(gzip.decompress(archive.read_bytes()))
    protocol = MeasuringProtocol(
        "synthetic", statistics=("median",), rounds=1, extra_rounds=0, runs=2, cooldown_timeout_s=0
    )
    measured = {SENTINEL_KEY, PACK_SENTINEL_KEY}
    with MeasurementStore(tmp_path / "m.db") as store:
        for way, dispatch_us, table_us in (
            ({}, 2.2128305589456687, 150.25435299476626),
            ({"packed": True}, 0.0, 48.852599999999995),
            ({"by_operator": True}, 2.2128305589456687, 150.25435299476626),
        ):
            plan = replace(PLAN, **way)
            device = Profiled(synthetic(plan), plan)
            profile = profile_device(Session(device, store, protocol, seed=1), plan)
            heads = {*plan.whole_models, *plan.heads_by_operator}
            assert set(device.inner.visited) - measured == heads - measured
            measured |= heads
            assert profile.dispatch_us == dispatch_us
            assert sum(row.latency_us for row in profile.table) == pytest.approx(table_us)
            for head in profile.heads:
                true_us = device.inner.latency_us(plan.whole_models[head.name])
                assert head.latency_ms == pytest.approx(true_us / 1e3)
            assert (len(profile.table), len(profile.heads)) == (53, 10)


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
    assert set(delegated.runs()) == {"first", SENTINEL_KEY}
    assert builtin.runs() == {}
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
            self.files[job.key] = (job.model, job.model.read_bytes())
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
