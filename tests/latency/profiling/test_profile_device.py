from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mnasfpn.android_harness.measurement import UNREADABLE, Run
from mnasfpn.errors import InvalidInput, JobFailed, StableDeviceError
from mnasfpn.latency.estimate.estimate import Estimator
from mnasfpn.latency.fitting.fit import fit
from mnasfpn.latency.kernels.execution import ExecutionPlan, execution_plan
from mnasfpn.latency.kernels.kernel import Kernel
from mnasfpn.latency.profile.device_profile import DeviceProfile
from mnasfpn.latency.profiling.head_graph import head_graph
from mnasfpn.latency.profiling.plan import DISPATCH, REPEAT, ProfilingPlan
from mnasfpn.latency.profiling.profile_device import profile_device
from mnasfpn.latency.profiling.session import SENTINEL_NAME, Session
from mnasfpn.latency.profiling.store import MeasurementStore
from mnasfpn.models.published import published
from mnasfpn.tests.latency.synthetic_device import SyntheticDevice, executed


@pytest.mark.slow
def test_without_noise_the_whole_law_is_recovered(tiny_plan, synthetic, protocol, tmp_path) -> None:
    plan = replace(tiny_plan, calibration_heads=60)  # with 30 it depends on which are drawn
    with MeasurementStore(tmp_path / "m.db") as store:
        fitted = fit(profile_device(Session(synthetic(), store, protocol), plan))
    assert fitted.validation is not None
    assert fitted.validation.accuracy.r2.value > 0.995
    assert fitted.validation.accuracy.within_5.value == 1
    assert fitted.calibration is not None
    for kind in ("depthwise_conv", "conv_1x1"):
        assert _cold(fitted, kind) == pytest.approx(_true_cold(fitted, kind), abs=0.05)
    assert 15 < fitted.calibration.partition_us < 45


def _kernels(profile: DeviceProfile, kind: str) -> list[tuple[Kernel, float]]:
    """Those of a kind in the validation heads, with how much of their cold is paid there."""
    estimator, found = Estimator(profile), []
    for head in profile.heads_for("validation"):
        plan = execution_plan(head_graph(head.genotype, head.channels, head.input_size))
        share = estimator.cold_share(plan)
        found += [(kernel, share) for kernel in plan.kernels if kernel.kind == kind]
    return found


def _cold(profile: DeviceProfile, kind: str) -> float:
    """What kernels of a kind cost in whole models more than alone, as a ratio."""
    estimator = Estimator(profile)
    found = [(estimator.kernel(kernel), share) for kernel, share in _kernels(profile, kind)]
    inside_us = sum(each.warm_us + share * each.cold_us for each, share in found)
    return inside_us / sum(each.net_us for each, _ in found) - 1


def _true_cold(profile: DeviceProfile, kind: str) -> float:
    device, kernels = SyntheticDevice(), [kernel for kernel, _ in _kernels(profile, kind)]
    return sum(map(device.cold_us, kernels)) / sum(map(device.kernel_us, kernels))


def test_with_noise_the_error_stays_near_the_noise_floor(fitted: DeviceProfile) -> None:
    validation = fitted.validation
    assert validation is not None
    assert validation.noise_floor is not None
    assert validation.accuracy.r2.value > 0.98  # from 12 heads of much the same latency
    assert validation.accuracy.within_10.value == 1
    assert validation.interval_coverage >= 0.75  # 0.9 claimed; 12 heads
    assert {point.name for point in validation.points} == {
        head.name for head in fitted.heads_for("validation")
    }


@pytest.mark.slow
def test_intervals_hold_about_as_often_as_they_say(measured, synthetic, tiny_plan) -> None:
    """Many validation heads, against the law itself with the same noise."""
    fitted = fit(measured)
    device = synthetic(noise=0.01)
    from mnasfpn.latency.estimate.estimate import Estimator
    from mnasfpn.latency.profiling.head_graph import head_graph
    from mnasfpn.latency.profiling.sampled_heads import random_heads

    estimator = Estimator(fitted)
    inside = []
    for head in random_heads(tiny_plan.space, 150, seed=99):
        graph = head_graph(head.genotype, tiny_plan.channels, tiny_plan.input_size)
        found = estimator.estimate(graph)
        inside.append(found.low_ms <= device.latency_us(graph) / 1e3 <= found.high_ms)
    assert np.mean(inside) >= 0.75


def test_calibration_and_validation_share_no_head(tiny_plan: ProfilingPlan) -> None:
    heads = tiny_plan.heads
    assert not {head.genotype for head in heads["calibration"]} & {
        head.genotype for head in heads["validation"]
    }


def test_validation_heads_decide_nothing(measured: DeviceProfile, fitted: DeviceProfile) -> None:
    """Had they been other heads with other latencies, the fit would be the same."""
    other = tuple(
        replace(head, latency_ms=7 * head.latency_ms) if head.role == "validation" else head
        for head in measured.heads
    )
    again = fit(replace(measured, heads=other))
    assert again.calibration == fitted.calibration
    assert again.regressors == fitted.regressors
    assert again.validation != fitted.validation


class StopsAfter:
    """A device that is unplugged for good after some visits."""

    def __init__(self, device, visits: int) -> None:
        self.device, self.visits = device, visits

    def describe(self):
        return self.device.describe()

    def telemetry(self):
        return self.device.telemetry()

    def run_round(self, jobs, settings, round_number) -> Iterator:
        for found in self.device.run_round(jobs, settings, round_number):
            if self.visits == 0:
                raise StableDeviceError("unplugged")
            self.visits -= 1
            yield found


@pytest.mark.slow
def test_interrupted_it_goes_on_and_measures_nothing_twice(
    tiny_plan, synthetic, protocol, tmp_path: Path
) -> None:
    first, second, third = (synthetic() for _ in range(3))
    with (
        MeasurementStore(tmp_path / "m.db") as store,
        pytest.raises(StableDeviceError, match="unplugged"),
    ):
        profile_device(Session(StopsAfter(first, 250), store, protocol), tiny_plan)
    seen = []
    with MeasurementStore(tmp_path / "m.db") as store:
        session = Session(second, store, protocol, progress=lambda *call: seen.append(call[:2]))
        profile = profile_device(session, tiny_plan)
        assert profile_device(Session(third, store, protocol), tiny_plan) == profile
    keys = set(tiny_plan.graphs)
    stored = Counter(key for key in first.visited[:250] + second.visited if key in keys)
    assert set(stored) == keys
    assert set(stored.values()) == {protocol.rounds}
    assert third.visited == []
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1] == (protocol.rounds * len(keys),) * 2


class NoisyOn:
    """The synthetic device with its noise on some files alone."""

    def __init__(self, device, noisy: Callable[[ExecutionPlan], bool]) -> None:
        self.device, self.noisy = device, noisy
        self.describe, self.telemetry = device.describe, device.telemetry

    def run_round(self, jobs, settings, round_number) -> Iterator:
        for job, run in self.device.run_round(jobs, settings, round_number):
            factor = 1 + 0.5 * (round_number % 7) if self.noisy(executed(job.model)) else 1.0
            yield job, replace(run, samples_us=tuple(factor * us for us in run.samples_us))


@pytest.mark.slow
def test_rows_and_heads_say_why_they_are_unstable(
    tiny_plan, synthetic, protocol, tmp_path: Path
) -> None:
    device = NoisyOn(synthetic(), lambda plan: plan.kernels[0].op == "max_pool")
    with MeasurementStore(tmp_path / "m.db") as store:
        profile = profile_device(Session(device, store, protocol), tiny_plan)
    pools = [row for row in profile.table if Kernel.parse(row.kernel).op == "max_pool"]
    assert pools
    assert all("the centre of" in " ".join(row.reasons) for row in pools)
    assert all(row.reasons == () for row in profile.table if row not in pools)
    assert profile.unstable_shares["kernels"] == len(pools) / len(profile.table)
    estimator = Estimator(fit(profile))
    for head in profile.heads[:4]:
        graph = head_graph(head.genotype, head.channels, head.input_size)
        kernels = set(execution_plan(graph).kernels)
        found = estimator.estimate(graph)
        assert found.rows == len(kernels)
        assert found.unstable_rows == sum(kernel.op == "max_pool" for kernel in kernels)
        assert found.stands_on == (
            f"{found.rows} rows of the table, {found.unstable_rows} of them UNSTABLE"
        )
        assert "UNSTABLE: " in found.accuracy


class Rejects:
    """A device whose runtime cannot run some files."""

    def __init__(self, device, rejects: Callable[[ExecutionPlan], bool], why: str) -> None:
        self.device, self.rejects, self.why = device, rejects, why
        self.describe, self.telemetry = device.describe, device.telemetry

    def run_round(self, jobs, settings, round_number) -> Iterator:
        for job, run in self.device.run_round(jobs, settings, round_number):
            if self.rejects(executed(job.model)):
                run = Run(run.round, run.position, error=self.why)
            yield job, run


@pytest.mark.slow
def test_a_kernel_that_fails_leaves_no_row_and_the_rest_stands(
    tiny_plan, synthetic, protocol, tmp_path: Path
) -> None:
    with MeasurementStore(tmp_path / "m.db") as store:
        device = Rejects(synthetic(), lambda plan: plan.kernels[0].op == "sigmoid", "unsupported")
        profile = profile_device(Session(device, store, protocol), tiny_plan)
    kinds = {Kernel.parse(row.kernel).kind for row in profile.table}
    assert "sigmoid" not in kinds
    assert "depthwise_conv" in kinds


def test_a_device_that_runs_nothing_is_an_error(
    tiny_plan, synthetic, protocol, tmp_path: Path
) -> None:
    device = Rejects(synthetic(), lambda plan: True, "unsupported")
    with (
        MeasurementStore(tmp_path / "m.db") as store,
        pytest.raises(JobFailed, match="runs no model at all"),
    ):
        profile_device(Session(device, store, protocol), tiny_plan)


@pytest.mark.slow
def test_two_devices_share_a_store(tiny_plan, synthetic, protocol, tmp_path: Path) -> None:
    with MeasurementStore(tmp_path / "m.db") as store:
        slow = synthetic(dispatch_us=50.0, serial="slow")
        profiles = [
            profile_device(Session(device, store, protocol), tiny_plan)
            for device in (synthetic(), slow)
        ]
    assert [profile.dispatch_us for profile in profiles] == pytest.approx([2.2, 50.2], rel=0.01)


def test_a_plan_names_what_it_measures(tiny_plan: ProfilingPlan) -> None:
    plan = replace(tiny_plan, detectors=(published("mobilenetv2-mnasfpn").graph(),))
    keys = set(plan.graphs)
    assert SENTINEL_NAME not in keys
    assert DISPATCH.signature in keys
    assert "conv 1x320x320x3 -> 1x160x160x32 k3x3 s2x2 relu6" in keys
    repeats = [key for key in keys if key.endswith(REPEAT)]
    assert len(repeats) == plan.validation_heads


@pytest.mark.slow
def test_too_few_heads_are_refused(measured: DeviceProfile) -> None:
    with pytest.raises(InvalidInput, match="at least 5 measured models"):
        fit(replace(measured, heads=measured.heads_for("validation")))
    with pytest.raises(InvalidInput, match="at least 5 held-out"):
        fit(replace(measured, heads=measured.heads_for("calibration")))


@pytest.mark.slow
def test_what_could_not_be_measured_is_in_the_profile_with_the_reason(
    tiny_plan, synthetic, protocol, tmp_path: Path
) -> None:
    kernel = tiny_plan.kernels[0]
    with MeasurementStore(tmp_path / "m.db") as store:
        device = Rejects(synthetic(), lambda plan: plan.kernels == (kernel,), "no memory")
        profile = profile_device(Session(device, store, protocol), tiny_plan)
    assert profile.campaign.failed == {kernel.signature: "no memory"}
    assert kernel.signature not in {row.kernel for row in profile.table}


@pytest.mark.slow
def test_a_device_without_a_name_goes_by_its_processor(
    tiny_plan, synthetic, protocol, tmp_path: Path
) -> None:
    device = synthetic()
    known = replace(device.describe(), model=UNREADABLE, soc="Some CPU @ 2 GHz")
    device.describe = lambda: known
    with MeasurementStore(tmp_path / "m.db") as store:
        profile = profile_device(Session(device, store, protocol), tiny_plan)
    assert profile.name == f"Some CPU @ 2 GHz ({known.serial})"
    assert profile.campaign.failed == {}
    assert profile.campaign.statistic.startswith(f"{protocol.quantile:g} quantile of")
