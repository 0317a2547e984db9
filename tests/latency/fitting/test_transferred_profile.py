"""A profile becomes another phone's: all that it knows moves, and it says what can be expected."""

from dataclasses import replace

import numpy as np
import pytest

from mnasfpn.android_harness.measurement import DeviceInfo
from mnasfpn.benchmarks.simulated import simulated_profile
from mnasfpn.errors import InvalidInput, NotCovered
from mnasfpn.latency.estimate.estimate import Estimator
from mnasfpn.latency.fitting.transferred_profile import (
    LEFT_OUT,
    TransferredModel,
    plan_parts,
    transferred_profile,
)
from mnasfpn.latency.kernels.execution import execution_plan
from mnasfpn.latency.kernels.kernel import Kernel
from mnasfpn.latency.profile.calibration import SHARED
from mnasfpn.latency.profile.device_profile import (
    CampaignRecord,
    MeasuredNetwork,
    from_json,
    to_json,
)
from mnasfpn.latency.profile.table import MeasuredKernel
from mnasfpn.latency.profiling.head_graph import head_graph
from mnasfpn.models.genotype_array import random_genotypes
from mnasfpn.models.space import MNASFPN, Space

SPACE = Space("tiny", channels=(16, 24), kernels=(3, 5), expansions=(16, 40), internal_blocks=2)
NEW = DeviceInfo("A1", "New", "soc", "14", "arm64-v8a", "tool", provenance="simulated")
CAMPAIGN = CampaignRecord("quick", "median", 3)
FOREIGN = Kernel.parse("foreign 1x64x64x32 -> 1x64x64x32 =NMS")
IN_TABLE = Kernel.parse("softmax 1x1000 -> 1x1000")


def heads(count, seed):
    genotypes = random_genotypes(SPACE, np.random.default_rng(seed), count, (1, 2))
    return [execution_plan(head_graph(genotype, input_size=128)) for genotype in genotypes]


def factored(old, common, **kinds):
    """The phone that the old one would be with other factors."""
    before = old.calibration
    families = {
        name: each.scaled(common * kinds.get(name, 1.0)) for name, each in before.families.items()
    }
    return replace(
        old,
        calibration=replace(
            before,
            families=families,
            settling_ms=common * before.settling_ms,
            **{name: common * getattr(before, name) for name in SHARED},
        ),
    )


def total_ms(profile, plan):
    return sum(plan_parts(Estimator(profile), plan).values()) / 1e3


def measured(truth, plans, noise=0.0):
    rng = np.random.default_rng(0)
    return [
        TransferredModel(f"m{i}", plan, float(total_ms(truth, plan) * np.exp(noise * rng.normal())))
        for i, plan in enumerate(plans)
    ]


def moved(old, truth, count=10, noise=0.0):
    return transferred_profile(old, NEW, CAMPAIGN, measured(truth, heads(count, 0), noise))


def test_a_profile_becomes_the_new_phones():
    """The new phone is the old one with other factors; ten heads find them."""
    old = simulated_profile()
    truth = factored(old, 1.4, depthwise_conv=2.5)
    new = moved(old, truth)
    assert new.name == "New (A1), transferred from simulated: random rates"
    assert (new.device, new.campaign) == (NEW, CAMPAIGN)
    expected = np.asarray([total_ms(truth, plan) for plan in heads(20, 1)])
    ratio = np.asarray([total_ms(new, plan) for plan in heads(20, 1)]) / expected
    before = np.asarray([total_ms(old, plan) for plan in heads(20, 1)]) / expected
    assert np.abs(ratio - 1).max() < 0.05
    assert np.abs(ratio - 1).mean() < 0.02
    assert np.abs(before - 1).min() > 0.2
    assert from_json(to_json(new)) == new


def test_it_says_what_can_be_expected_and_that_it_was_left_out():
    old = simulated_profile()
    new = moved(old, factored(old, 1.4, depthwise_conv=2.5), count=20, noise=0.02)
    validation = new.validation
    assert validation.models == LEFT_OUT
    assert str(validation).endswith("on 20 models, each predicted from the others")
    assert [point.name for point in validation.points] == [f"m{i}" for i in range(20)]
    assert 0.005 < validation.accuracy.mape.value < 0.06
    assert validation.accuracy.mape.low < validation.accuracy.mape.value
    assert new.calibration.models == 20
    assert new.calibration.coverage == pytest.approx(0.9)


def test_intervals_hold_models_that_were_not_measured():
    old = simulated_profile()
    truth = factored(old, 0.7, conv_1x1=1.3)
    new = moved(old, truth, count=20, noise=0.05)
    rng = np.random.default_rng(9)
    ratios = [
        total_ms(truth, plan) * np.exp(0.05 * rng.normal()) / total_ms(new, plan)
        for plan in heads(100, 2)
    ]
    inside = np.abs(np.log(ratios)) <= np.log1p(new.calibration.half_width)
    assert inside.mean() >= 0.8


def test_what_no_model_has_moves_with_the_phone():
    """Kinds of other networks, kinds with rows alone, and bounds of the unknown."""
    old = simulated_profile()
    old = replace(old, table=(MeasuredKernel(IN_TABLE.signature, 101.5, 0.0, 1),))
    new = moved(old, factored(old, 3.0))
    before, after = Estimator(old), Estimator(new)
    for text in (
        IN_TABLE.signature,
        "conv 1x8x8x32 -> 1x8x8x32 k3x3 s1x1",
        "hard_swish 1x8x8x32 -> 1x8x8x32",
        FOREIGN.signature,
    ):
        kernel = Kernel.parse(text)
        ratio = after.kernel(kernel).warm_us / before.kernel(kernel).warm_us
        assert ratio == pytest.approx(3.0, rel=0.02), text
    bound, before_bound = after.kernel(FOREIGN).bound, before.kernel(FOREIGN).bound
    assert bound.low_us == pytest.approx(3 * before_bound.low_us, rel=0.02)
    assert bound.high_us == pytest.approx(3 * before_bound.high_us, rel=0.02)


def test_a_family_that_was_not_measured_differs_as_its_kind_does():
    """Large windows are a family of their own in the old profile, and in no measured model."""
    old = simulated_profile()
    new = moved(old, factored(old, 1.0, depthwise_conv=2.0), count=20)
    large = Kernel.parse("depthwise_conv 1x16x16x32 -> 1x16x16x32 k7x7 s1x1")
    ratio = Estimator(new).kernel(large).warm_us / Estimator(old).kernel(large).warm_us
    assert ratio == pytest.approx(2.0, rel=0.1)


def test_what_the_old_phone_measured_is_better_than_its_estimates():
    """Estimates of the old phone are off, from model to model, by what both phones share."""
    old = simulated_profile()
    truth = factored(old, 1.4, depthwise_conv=2.5)
    luck = np.exp(0.1 * np.random.default_rng(1).standard_normal(12))
    lucky = [
        replace(model, new_ms=model.new_ms * each, old_ms=total_ms(old, model.plan) * each)
        for model, each in zip(measured(truth, heads(12, 0)), luck, strict=True)
    ]
    others = heads(20, 1)

    def off(models):
        new = transferred_profile(old, NEW, CAMPAIGN, models)
        return np.mean([abs(total_ms(new, plan) / total_ms(truth, plan) - 1) for plan in others])

    assert off(lucky) < 0.5 * off([replace(model, old_ms=None) for model in lucky])


def test_no_measurement_is_kept_and_no_better_label_than_its_parts():
    old = simulated_profile()
    network = MeasuredNetwork("network/0/0", (IN_TABLE.signature,), 0, 1.0, 0.0)
    old = replace(old, provenance="measured", networks=(network,))
    models = measured(old, heads(6, 0))
    device = replace(NEW, provenance="published")
    new = transferred_profile(old, device, CAMPAIGN, models)
    assert (new.heads, new.networks) == ((), ())
    assert new.provenance == "published"
    assert new.calibration.coverage == pytest.approx(6 / 7)


def test_parts_add_up_to_the_estimate():
    estimator = Estimator(simulated_profile())
    genotype = random_genotypes(MNASFPN, np.random.default_rng(2), 1, 2).genotype(0)
    graph = head_graph(genotype)
    parts = plan_parts(estimator, execution_plan(graph))
    assert sum(parts.values()) / 1e3 == pytest.approx(estimator.estimate(graph).latency_ms)
    assert {"conv_1x1", "conv_1x1 weights_us_per_mb", *SHARED} <= parts.keys()


def test_profiles_that_cannot_be_transferred():
    old = simulated_profile(without="resize_nearest")
    models = [TransferredModel(f"m{i}", plan, 1.0) for i, plan in enumerate(heads(8, 0))]
    with pytest.raises(NotCovered, match=r"nothing about 'resize_nearest .* nothing to transfer"):
        transferred_profile(old, NEW, CAMPAIGN, models)
    with pytest.raises(InvalidInput, match="needs 5 measured models or more, got 4"):
        transferred_profile(old, NEW, CAMPAIGN, models[:4])
