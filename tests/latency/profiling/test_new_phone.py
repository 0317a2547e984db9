"""A few models, chosen by what another phone's profile says, make a profile of a new phone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from mnasfpn.android_harness.device import Job, RunSettings
from mnasfpn.android_harness.measurement import DeviceInfo, Run, Telemetry
from mnasfpn.benchmarks.simulated import simulated_profile
from mnasfpn.errors import InvalidInput, JobFailed
from mnasfpn.latency.estimate.estimate import Estimator
from mnasfpn.latency.kernels.execution import execution_plan
from mnasfpn.latency.kernels.runtimes import BUILTIN
from mnasfpn.latency.profile.device_profile import DeviceProfile, from_json, to_json
from mnasfpn.latency.profiling import new_phone
from mnasfpn.latency.profiling.head_graph import head_graph
from mnasfpn.latency.profiling.new_phone import Candidate, candidates, choose, profile_from
from mnasfpn.latency.profiling.sampled_heads import random_heads
from mnasfpn.latency.profiling.session import Session
from mnasfpn.latency.profiling.store import MeasurementStore
from mnasfpn.models.graph.graph import Graph
from mnasfpn.models.published import PAPER
from mnasfpn.models.space import MNASFPN
from mnasfpn.models.tflite.reader import read_tflite
from mnasfpn.tests.latency.conftest import PROTOCOL, TINY
from mnasfpn.tests.latency.fitting.test_transferred_profile import factored

SIZE = 128


@dataclass
class Formula:
    """A device whose latencies are what a profile says of the files that it is given. Simulated.

    Args:
        refuses: whether it fails on a file's graph.
    """

    truth: DeviceProfile
    noise: float = 0.0
    refuses: Callable[[Graph], bool] = lambda graph: False

    def describe(self) -> DeviceInfo:
        return DeviceInfo("A1", "New", "law", "1", "none", "formula", provenance="simulated")

    def telemetry(self) -> Telemetry:
        return Telemetry()

    def run_round(
        self, jobs: Sequence[Job], settings: RunSettings, round_number: int
    ) -> Iterator[tuple[Job, Run]]:
        rng, estimator = np.random.default_rng(round_number), Estimator(self.truth)
        for position, job in enumerate(jobs):
            graph = read_tflite(job.model)
            if self.refuses(graph):
                yield job, Run(round_number, position, error="the model is too large")
                continue
            us = 1e3 * estimator.estimate(graph).latency_ms
            samples = us * np.exp(self.noise * rng.standard_normal(settings.runs))
            yield job, Run(round_number, position, tuple(samples.tolist()))


@pytest.fixture(scope="module")
def old() -> DeviceProfile:
    return simulated_profile()


@pytest.fixture(scope="module")
def truth(old: DeviceProfile) -> DeviceProfile:
    """Another phone: 1.7 times as slow, depthwise convolutions 3 times."""
    return factored(old, 1.7, depthwise_conv=3 / 1.7)


@pytest.fixture(scope="module")
def few() -> Iterator[None]:
    """Few to choose from: all are built."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(new_phone, "HEADS", 16)
        yield


def measured(device: Formula, old: DeviceProfile, folder: Path, count: int = 8) -> DeviceProfile:
    with MeasurementStore(folder / "m.db") as store:
        return profile_from(Session(device, store, PROTOCOL), old, count, MNASFPN, SIZE)


@pytest.mark.slow
@pytest.mark.usefixtures("few")
def test_a_few_models_make_the_profile_of_a_new_phone(
    old: DeviceProfile, truth: DeviceProfile, tmp_path: Path
) -> None:
    """And what was measured is not measured again."""
    new = measured(Formula(truth, noise=0.005), old, tmp_path)
    assert measured(Formula(truth, refuses=lambda graph: True), old, tmp_path) == new
    assert new.device.model == "New"
    assert new.device.runtime == "formula xnnpack"
    assert new.campaign.protocol == PROTOCOL.name
    assert new.campaign.failed == {}
    assert new.require_calibration().models == 8
    assert new.validation is not None
    assert new.validation.accuracy.mape.value < 0.06
    assert from_json(to_json(new)) == new
    estimators = [Estimator(profile) for profile in (truth, new, old)]
    for drawn in random_heads(MNASFPN, 5, 77):
        graph = head_graph(drawn.genotype, input_size=SIZE)
        expected, found, before = (each.estimate(graph).latency_ms for each in estimators)
        assert found == pytest.approx(expected, rel=0.04)
        assert before != pytest.approx(expected, rel=0.3)


@pytest.mark.slow
@pytest.mark.usefixtures("few")
def test_models_without_a_number_are_named_and_done_without(
    old: DeviceProfile, truth: DeviceProfile, tmp_path: Path
) -> None:
    def with_an_image(graph: Graph) -> bool:
        return any(layer.op == "input" and layer.shape[-1] == 3 for layer in graph)

    device = Formula(truth, refuses=with_an_image)
    new = measured(device, old, tmp_path, 12)
    assert 0 < len(new.campaign.failed) == 12 - new.require_calibration().models
    assert all("too large" in reason for reason in new.campaign.failed.values())
    with pytest.raises(JobFailed, match=r"could be measured, and a transfer needs 5; .*too large"):
        measured(replace(device, refuses=lambda graph: len(graph) > 3), old, tmp_path / "..", 6)


def test_what_can_be_chosen(old: DeviceProfile, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the old profile covers; networks only where it has their kinds."""
    monkeypatch.setattr(new_phone, "HEADS", 3)
    monkeypatch.setattr(new_phone, "NETWORKS", 12)
    found = candidates(old, MNASFPN, SIZE)
    assert len({model.name for model in found}) == len(found)
    by_population = Counter(model.population for model in found)
    assert by_population["heads"] == 3
    assert by_population["detectors"] == len(PAPER)
    assert not by_population["int8 networks"]
    blind = candidates(simulated_profile(without="resize_nearest"), MNASFPN, SIZE)
    assert not any(model.population == "heads" for model in blind)
    with pytest.raises(InvalidInput, match="covers 4 models to choose from, fewer than 5"):
        choose(found[:4], 5)


def test_heads_that_the_old_phone_measured_come_with_their_latency(
    fitted: DeviceProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(new_phone, "HEADS", 2)
    heads = [m for m in candidates(fitted, TINY, SIZE, seed=9) if m.population == "heads"]
    known = {model.name: model.old_ms for model in heads if model.old_ms is not None}
    assert known == {f"{head.name} {SIZE}px": head.latency_ms for head in fitted.heads}
    assert len(heads) == len(known) + 2
    for model in heads:
        expected = sum(model.parts.values()) if model.old_ms is None else 1e3 * model.old_ms
        assert model.old_us == expected


def test_populations_are_asked_for_alike(old: DeviceProfile) -> None:
    """A hundred heads and one of another kind: the other one is measured."""
    graph = head_graph(random_heads(MNASFPN, 1, 0)[0].genotype, input_size=SIZE)
    plan = execution_plan(graph)

    def model(name: str, population: str, **parts: float) -> Candidate:
        return Candidate(name, population, graph, plan, parts, None)

    rng = np.random.default_rng(0)
    heads = [
        model(f"h{i}", "heads", conv_1x1=float(rng.uniform(4, 5)), add=float(rng.uniform(4, 5)))
        for i in range(100)
    ]
    other = model("other", "networks", conv_1x1=4.0, conv_kxk=5.0)
    assert "other" in {each.name for each in choose([*heads, other], 2)}


def test_the_runtime_is_the_old_ones(old: DeviceProfile, tmp_path: Path) -> None:
    with MeasurementStore(tmp_path / "m.db") as store:
        session = Session(Formula(old), store, PROTOCOL, runtime=BUILTIN)
        with pytest.raises(InvalidInput, match="runtime 'xnnpack', the session of 'builtin'"):
            profile_from(session, old)
