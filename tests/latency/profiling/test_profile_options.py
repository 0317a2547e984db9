"""What a person asks for, and the plan that follows from it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mnasfpn.benchmarks.simulated import simulated_profile
from mnasfpn.errors import InvalidInput
from mnasfpn.latency.kernels.runtimes import BUILTIN, XNNPACK
from mnasfpn.latency.profile.device_profile import MeasuredHead
from mnasfpn.latency.profiling.plan import ProfilingPlan
from mnasfpn.latency.profiling.profile_options import ProfileOptions, new_phone_plan
from mnasfpn.latency.profiling.sampled_heads import random_heads
from mnasfpn.models.published import published
from mnasfpn.models.space import CONN_SEARCH, MNASFPN


def test_this_pc_measures_kernels_alone() -> None:
    plan = ProfileOptions().plan()
    assert plan == ProfilingPlan(detectors=(published("mobilenetv2-mnasfpn").graph(),))
    assert (plan.space, plan.runtime, plan.packed) == (MNASFPN, XNNPACK, False)


@pytest.mark.parametrize("serial", ["phone", "A1B2C3"])
def test_phones_measure_packed_kernels(serial: str) -> None:
    assert ProfileOptions(device=serial).plan().packed


@pytest.mark.parametrize("device", ["host", "phone"])
def test_what_is_said_goes_before_what_suits_the_device(device: str) -> None:
    assert ProfileOptions(device=device, kernels="packed").plan().packed
    assert not ProfileOptions(device=device, kernels="alone").plan().packed


@pytest.mark.parametrize(("general", "networks"), [(0, 0), (11, 0), (12, 1), (256, 21)])
def test_random_networks_come_with_general_kernels(general: int, networks: int) -> None:
    plan = ProfileOptions(general=general).plan()
    assert (plan.general, plan.networks) == (general, networks)


def test_everything_else_is_what_was_asked_for() -> None:
    plan = ProfileOptions(
        space="conn-search",
        input_size=128,
        calibration_heads=6,
        validation_heads=7,
        arithmetic="hybrid, float32",
        runtime="builtin",
        seed=3,
    ).plan()
    assert (plan.space, plan.runtime, plan.seed) == (CONN_SEARCH, BUILTIN, 3)
    assert plan.arithmetics == ("float32", "hybrid")
    assert (plan.calibration_heads, plan.validation_heads, plan.input_size) == (6, 7, 128)
    (detector,) = plan.detectors
    assert detector.inputs[0].shape == (1, 128, 128, 3)


def test_spaces_and_arithmetics_that_are_none_are_refused() -> None:
    with pytest.raises(InvalidInput, match="'nas-fpnlite-s'; known: mnasfpn, no-expand"):
        ProfileOptions(space="nas-fpnlite-s")
    with pytest.raises(InvalidInput, match="--arithmetic takes float32"):
        ProfileOptions(arithmetic="int8").plan()


def test_a_new_phones_models_are_of_the_old_profiles_runtime_and_size() -> None:
    old = simulated_profile("builtin")
    plan = new_phone_plan(old, "A1B2", {})
    assert (plan.runtime, plan.input_size) == (BUILTIN, ProfilingPlan.input_size)
    genotype = random_heads(MNASFPN, 1, 0)[0].genotype
    head = MeasuredHead("h", "calibration", genotype, (32, 96, 320), 128, 1.0, 0.0)
    assert new_phone_plan(replace(old, heads=(head,)), "A1B2", {}).input_size == 128
    asked = {"input_size": 64, "space": "no-expand", "seed": 3}
    plan = new_phone_plan(replace(old, heads=(head,)), "A1B2", asked)
    assert (plan.input_size, plan.space.name, plan.seed) == (64, "no-expand", 3)
    with pytest.raises(InvalidInput, match="leave --calibration-heads out"):
        new_phone_plan(old, "A1B2", {"calibration_heads": 7})
