"""What splits a graph for XNNPACK, and what a profile says that it costs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mnasfpn.latency.estimate.estimate import Estimator
from mnasfpn.latency.estimate.partition_costs import partition_costs
from mnasfpn.latency.kernels.execution import execution_plan
from mnasfpn.latency.kernels.runtimes import XNNPACK
from mnasfpn.latency.profile.device_profile import DeviceProfile
from mnasfpn.latency.profiles import open_profile
from mnasfpn.models.graph.builder import GraphBuilder
from mnasfpn.models.graph.graph import Graph
from mnasfpn.models.published import published


def split(pieces: int) -> Graph:
    """Convolutions with an up-sampling between each two, and one behind the last."""
    build = GraphBuilder()
    at, size = build.input("image", (1, 8, 8, 3)), 8
    for piece in range(pieces):
        at = build.conv(f"conv{piece}", at, 16, bias=True)
        size *= 2
        at = build.resize_nearest(f"up{piece}", at, size, size)
    return build.graph([at])


def with_costs(profile: DeviceProfile, **costs: float) -> Estimator:
    assert profile.calibration is not None
    return Estimator(replace(profile, calibration=replace(profile.calibration, **costs)))


def test_only_what_lies_between_partitions_splits() -> None:
    estimator = Estimator(open_profile("pixel1-published"))
    whole, three = (partition_costs(split(pieces), estimator) for pieces in (1, 3))
    assert (whole.partitions, whole.splitters) == (1, ())
    assert three.partitions == 3
    assert [each.name for each in three.splitters] == ["resize_nearest"]
    assert three.splitters[0].layers == ("up0", "up1")


def test_a_graph_of_which_nothing_is_delegated_is_not_split() -> None:
    build = GraphBuilder()
    image = build.input("image", (1, 8, 8, 3))
    graph = build.graph([build.resize_nearest("up", image, 16, 16)])
    costs = partition_costs(graph, Estimator(open_profile("pixel1-published")))
    assert (costs.partitions, costs.splitters) == (0, ())


def test_operators_take_what_the_profile_says_of_their_kernels(fitted: DeviceProfile) -> None:
    estimator = Estimator(fitted)
    graph = published("mobilenetv2-mnasfpn").graph()
    costs = partition_costs(graph, estimator)
    plan = execution_plan(graph, XNNPACK)
    expected = {}
    for partition in plan.partitions:
        for step in () if partition.delegated else partition.steps:
            us = estimator.kernel(step.kernel).warm_us
            expected[step.kernel.op] = expected.get(step.kernel.op, 0) + us / 1e3
    assert {each.name: each.own_ms for each in costs.splitters} == pytest.approx(expected)
    ranked = [each.own_ms for each in costs.splitters]
    assert ranked == sorted(ranked, reverse=True)


def test_entering_is_counted_beyond_one_partition(fitted: DeviceProfile) -> None:
    """By the formula: two more partitions, and the tensors that cross between them."""
    estimator = with_costs(fitted, partition_us=100.0, crossing_us_per_mb=0.0, intercept_us=7.0)
    assert estimator.runtime == XNNPACK
    assert partition_costs(split(3), estimator).entering_ms == pytest.approx(0.2)
    assert partition_costs(split(1), estimator).entering_ms == pytest.approx(0.0)
    estimator = with_costs(fitted, partition_us=0.0, crossing_us_per_mb=1000.0)
    crossing = 4 * 16 * (8 * 8 + 16 * 16 + 16 * 16 + 32 * 32)  # out of one, into the next
    expected = crossing * 1000 / 1e6 / 1e3
    assert partition_costs(split(3), estimator).entering_ms == pytest.approx(expected)


def test_a_profile_without_xnnpack_does_not_tell_what_entering_costs() -> None:
    profile = open_profile("pixel1-published")
    costs = partition_costs(split(3), Estimator(profile))
    assert costs.entering_ms is None
    assert costs.profile == profile.name
    assert costs.splitters[0].known
    assert costs.splitters[0].own_ms > 0


def test_what_the_profile_does_not_know_is_bounded(fitted: DeviceProfile) -> None:
    unknowing = replace(
        fitted,
        table=(),
        regressors={
            kind: each for kind, each in fitted.regressors.items() if kind != "resize_nearest"
        },
    )
    (splitter,) = partition_costs(split(2), Estimator(unknowing)).splitters
    assert not splitter.known
    assert 0 < splitter.own_low_ms < splitter.own_ms < splitter.own_high_ms
