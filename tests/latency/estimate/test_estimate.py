from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mnasfpn.errors import NotCovered
from mnasfpn.latency.estimate.estimate import Estimator, estimate
from mnasfpn.latency.kernels.cache_traffic import cold_megabytes
from mnasfpn.latency.kernels.execution import execution_plan
from mnasfpn.latency.profile.calibration import (
    HEADS,
    Calibration,
    FamilyCalibration,
    Interval,
)
from mnasfpn.latency.profile.device_profile import DeviceProfile, save_profile
from mnasfpn.latency.profiling.head_graph import head_graph
from mnasfpn.latency.profiling.sampled_heads import random_heads
from mnasfpn.models.genotype import Block, Genotype
from mnasfpn.models.graph.builder import GraphBuilder
from mnasfpn.models.space import MNASFPN

INPUT_SIZE = 128


def head(genotype: Genotype):
    return head_graph(genotype, input_size=INPUT_SIZE)


OUTPUTS = (
    Block((0, 1), 3, 40),
    Block((1, 2), 4, 40, kernel=5),
    Block((2, 3), 5, 16),
    Block((0, 3), 6, 64),
)


def with_unused() -> tuple[Genotype, Genotype]:
    """A cell, and the same cell with two blocks that no output depends on."""
    unused = (Block((0, 2), 3, 64, kernel=5), Block((4, 1), 4, 16))
    return Genotype(16, 3, OUTPUTS), Genotype(16, 3, (*unused, *OUTPUTS))


def test_blocks_that_reach_no_output_cost_nothing(fitted: DeviceProfile) -> None:
    without, unused = (estimate(head(genotype), fitted) for genotype in with_unused())
    assert unused.latency_ms == without.latency_ms
    assert [c.kernel for c in unused.contributions] == [c.kernel for c in without.contributions]


def test_the_naive_sum_of_all_blocks_is_wrong_by_exactly_the_unused_ones(
    fitted: DeviceProfile,
) -> None:
    without, unused = with_unused()
    estimator = Estimator(fitted)
    everything = head_graph_unpruned(unused)
    names = {layer.name for layer in head(unused)}
    naive, of_unused = np.zeros(2), np.zeros(2)  # microseconds warm and cold
    for step in execution_plan(everything).steps:
        found = estimator.kernel(step.kernel)
        naive += (found.warm_us, found.cold_us)
        if step.layers[-1] not in names:
            of_unused += (found.warm_us, found.cold_us)
    assert (of_unused > 0).any()
    honest = estimator.estimate(head(without))
    warm_us, cold_us = naive - of_unused
    cold_us *= estimator.cold_share(execution_plan(head(without)))
    kernels_ms = honest.latency_ms - honest.overhead_ms
    assert (warm_us + cold_us) / 1e3 == pytest.approx(kernels_ms, rel=1e-12)
    assert len(execution_plan(everything).kernels) > len(honest.contributions)


def head_graph_unpruned(genotype: Genotype):
    """As a naive table reads it: every layer that was written."""
    from mnasfpn.latency.profiling.head_graph import unpruned_head

    return unpruned_head(genotype, (32, 96, 320), INPUT_SIZE)


def test_an_estimate_is_the_sum_it_says_it_is(fitted: DeviceProfile) -> None:
    genotype = fitted.heads_for("validation")[0].genotype
    found = estimate(head(genotype), fitted)
    calibration, table = fitted.calibration, {row.kernel: row for row in fitted.table}
    assert calibration is not None
    plan = execution_plan(head(genotype))
    warm_us, cold_us = calibration.intercept_us, 0.0
    for partition in plan.delegate_partitions:
        crossing = partition.bytes_in + partition.bytes_out
        warm_us += calibration.partition_us + calibration.crossing_us_per_mb * crossing / 1e6
    for kernel in plan.kernels:
        alone_us = table[kernel.signature].latency_us
        net_us = max(alone_us - fitted.dispatch_us, 0.05 * alone_us)
        known = calibration.families[kernel.dtype]
        prices = (known.tensors_us_per_mb, known.weights_us_per_mb, known.windows_us_per_mb)
        warm_us += known.factor * net_us
        cold_us += float(np.dot(prices, cold_megabytes(kernel)))
    latency_us = 1e3 * found.latency_ms
    share = latency_us / (latency_us + 1e3 * calibration.settling_ms)
    assert latency_us == pytest.approx(warm_us + share * cold_us, rel=1e-9)
    assert sum(found.by_part_ms.values()) == pytest.approx(found.latency_ms, rel=1e-12)
    assert set(found.by_source_ms) == {"table"}
    assert found.low_ms < found.latency_ms < found.high_ms
    assert found.provenance == "simulated"


def test_every_layer_is_in_exactly_one_contribution(fitted: DeviceProfile) -> None:
    graph = head(fitted.heads[0].genotype)
    found = estimate(graph, fitted)
    named = [name for contribution in found.contributions for name in contribution.layers]
    assert sorted(named) == sorted(layer.name for layer in graph if layer.op != "input")


def test_without_a_row_the_regression_answers_and_the_interval_widens(
    fitted: DeviceProfile,
) -> None:
    graph = head(fitted.heads[0].genotype)
    by_table = estimate(graph, fitted)
    by_regression = estimate(graph, replace(fitted, table=()))
    assert set(by_regression.by_source_ms) == {"regression"}
    assert by_regression.latency_ms == pytest.approx(by_table.latency_ms, rel=0.15)
    assert by_regression.high_ms / by_regression.latency_ms > by_table.high_ms / by_table.latency_ms


def test_an_estimate_says_what_its_interval_stands_on(fitted: DeviceProfile) -> None:
    """Heads have residuals; no file was measured whole, so that a file's interval is wider."""
    graph = head(fitted.heads[0].genotype)
    assert fitted.calibration is not None
    of_heads = fitted.calibration.intervals[HEADS]
    by_table = estimate(graph, fitted)
    assert by_table.interval_from == f"{of_heads.count} heads left out of the fit"
    assert by_table.coverage == of_heads.coverage
    ratios = by_table.low_ms / by_table.latency_ms, by_table.high_ms / by_table.latency_ms
    assert ratios == pytest.approx((of_heads.low, of_heads.high))
    assert ratios[0] * ratios[1] != pytest.approx(1, rel=1e-4)  # a side of its own each
    by_regression = estimate(graph, replace(fitted, table=()))
    assert by_regression.interval_from == (
        "no float32 files were measured whole: twice as wide as of heads"
    )
    assert by_regression.low_ms / by_regression.latency_ms < of_heads.low**2
    assert by_regression.high_ms / by_regression.latency_ms > of_heads.high**2
    of_files = Interval(0.7, 1.2, 0.8, 9, regression_error=10.0)
    calibration = replace(fitted.calibration, intervals={"float32 files": of_files})
    from_files = estimate(graph, replace(fitted, table=(), calibration=calibration))
    assert from_files.interval_from == "9 float32 files left out of the fit"
    assert from_files.coverage == 0.8
    assert from_files.high_ms / from_files.latency_ms == pytest.approx(1.2)


def test_outside_the_measured_range_it_says_so(fitted: DeviceProfile) -> None:
    (genotype,) = (h.genotype for h in random_heads(MNASFPN, 1, 0))
    sources = {c.kernel: c.source for c in estimate(head_graph(genotype), fitted).contributions}
    big = [source for kernel, source in sources.items() if "1x40x40x" in kernel]
    assert big
    assert set(big) == {"extrapolation"}


def test_what_is_not_covered_is_an_error_or_named_and_never_zero(fitted: DeviceProfile) -> None:
    builder = GraphBuilder()
    x = builder.input("x", (1, 16, 16, 16))
    conv = builder.conv("conv", x, 16)
    graph = builder.graph((builder.unary("odd", "softmax", conv),))
    signature = "softmax 1x16x16x16 -> 1x16x16x16"
    with pytest.raises(NotCovered, match=signature):
        estimate(graph, fitted)
    found = estimate(graph, fitted, allow_gaps=True)
    assert found.uncovered == (signature,)
    assert [(c.layers, c.source) for c in found.contributions] == [
        (("conv",), "table"),
        (("odd",), "bound"),
    ]
    odd = found.contributions[1]
    assert 0 < odd.low_ms < odd.latency_ms < odd.high_ms


def test_a_profile_that_is_not_fitted_says_what_to_do(measured: DeviceProfile) -> None:
    with pytest.raises(NotCovered, match="mnasfpn fit"):
        Estimator(measured)


def test_an_unseen_kind_of_kernel_is_not_calibrated() -> None:
    calibration = Calibration({"add": FamilyCalibration(2.0)}, 5, 0.1, 0.1, 0.9)
    from mnasfpn.latency.kernels.kernel import Kernel

    assert calibration.kernel_us(Kernel.parse("add 1x4, 1x4 -> 1x4"), 3.0) == (6.0, 0.0)
    assert calibration.kernel_us(Kernel.parse("relu 1x4 -> 1x4"), 3.0) == (3.0, 0.0)


SCRIPT = """
import json, sys, time
import numpy
start = time.process_time()
from mnasfpn.latency.estimate.estimate import estimate
from mnasfpn.latency.profile.device_profile import load_profile
from mnasfpn.models.published import published
found = estimate(published("mobilenetv2-mnasfpn").graph(), load_profile(sys.argv[1]), True)
seconds = time.process_time() - start
heavy = ("sklearn", "scipy", "tensorflow", "keras", "torch", "ai_edge_litert", "matplotlib")
print(json.dumps([found.latency_ms, seconds, sorted(set(heavy) & set(sys.modules))]))
"""


def test_an_estimate_loads_nothing_heavy_and_is_quick(
    fitted: DeviceProfile, tmp_path: Path, record_property
) -> None:
    save_profile(fitted, tmp_path / "p.json")
    answer = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "p.json")],
        capture_output=True,
        text=True,
        check=True,
    )
    latency_ms, seconds, heavy = json.loads(answer.stdout)
    assert latency_ms > 0
    assert heavy == []
    record_property("cpu_s_beside_numpy", seconds)  # target 0.4; no test depends on a clock
