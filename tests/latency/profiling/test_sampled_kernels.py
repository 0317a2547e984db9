"""What is measured beside one search space: kernels of networks in general, random networks."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from ai_edge_litert.interpreter import Interpreter

from mnasfpn.latency.fitting.fit import fit
from mnasfpn.latency.kernels.execution import execution_plan
from mnasfpn.latency.kernels.kernel import Kernel, kernel_graph
from mnasfpn.latency.profile.device_profile import from_json, to_json
from mnasfpn.latency.profiling.plan import ProfilingPlan
from mnasfpn.latency.profiling.profile_device import profile_device
from mnasfpn.latency.profiling.sampled_kernels import (
    LEAST_OF_A_KIND,
    MOST_ELEMENTS,
    MOST_MADDS,
    MOST_WEIGHTS,
    general_kernels,
)
from mnasfpn.latency.profiling.sampled_networks import MOST_MADDS as MOST_NETWORK_MADDS
from mnasfpn.latency.profiling.sampled_networks import random_networks
from mnasfpn.latency.profiling.session import Session
from mnasfpn.latency.profiling.store import MeasurementStore
from mnasfpn.models.graph.arithmetic import ARITHMETICS, INTEGERS, Arithmetic
from mnasfpn.models.graph.costs import cost
from mnasfpn.models.space import Space
from mnasfpn.models.tflite.reader import read_tflite
from mnasfpn.models.tflite.writer import write_tflite

COUNT = 256


def test_general_kernels_are_about_as_many_as_asked_for_and_of_every_kind() -> None:
    kernels = general_kernels(COUNT, seed=0)
    assert len(set(kernels)) == len(kernels)
    # The rare kinds have more than their share.
    assert COUNT < len(kernels) < 1.7 * COUNT
    kinds = Counter(kernel.kind for kernel in kernels)
    assert min(kinds.values()) >= LEAST_OF_A_KIND
    assert {"conv_kxk", "conv_1x1", "depthwise_conv", "fully_connected", "softmax"} <= set(kinds)
    assert {"gelu", "mean", "transpose", "slice", "slice_strided", "detections"} <= set(kinds)
    assert kinds["conv_1x1"] > kinds["softmax"]
    strided = {kernel.kind for kernel in kernels if kernel.stride == (2, 2)}
    assert {"conv_kxk", "depthwise_conv", "max_pool"} <= strided


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_general_kernels_can_be_built_and_are_modest(arithmetic: Arithmetic) -> None:
    for kernel in general_kernels(COUNT, 1, arithmetic):
        assert Kernel.parse(kernel.signature) == kernel
        (built,) = execution_plan(kernel_graph(kernel)).kernels
        assert built == kernel
        assert kernel.madds <= MOST_MADDS
        assert kernel.weight_elements <= MOST_WEIGHTS
        assert (kernel.bytes_in + kernel.bytes_out) / 4 <= MOST_ELEMENTS


@pytest.mark.slow
@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_the_runtime_takes_kernels_as_foreseen_and_the_reader_too(arithmetic: Arithmetic) -> None:
    """One of each kind: delegated or not, what is written is one operator that runs."""
    kernels = general_kernels(32, 0, arithmetic)
    for kernel in {(kernel.kind, kernel.axes): kernel for kernel in kernels}.values():
        graph = kernel_graph(kernel)
        content = write_tflite(graph)
        interpreter = Interpreter(model_content=content)
        interpreter.allocate_tensors()
        interpreter.invoke()
        names = [operator["op_name"] for operator in interpreter._get_ops_details()]
        delegated = bool(execution_plan(graph).delegate_partitions)
        assert len(names) == 1 + delegated, kernel.signature
        assert ("DELEGATE" in names) == delegated, kernel.signature
        assert execution_plan(read_tflite(content)).kernels == (kernel,)


def test_each_arithmetic_has_kernels_of_its_own() -> None:
    kinds = {a: {kernel.kind for kernel in general_kernels(64, 0, a)} for a in ARITHMETICS}
    for integer in INTEGERS:
        shared = {f"{kind} {integer}" for kind in kinds["float32"]}
        own = {f"quantize {integer}", f"requantize {integer}", "dequantize"}
        assert kinds[integer] - shared == own
    assert kinds["hybrid"] - kinds["float32"] == {
        f"{op} hybrid"
        for op in ("conv_1x1", "conv_kxk", "conv_grouped", "depthwise_conv", "fully_connected")
    }


def test_networks_are_the_same_in_each_arithmetic() -> None:
    plain, quantised = random_networks(3, 0), random_networks(3, 0, "int8")
    assert [network.name for network in quantised] == [f"{n.name} int8" for n in plain]
    for one, other in zip(plain, quantised, strict=True):
        assert cost(one.graph) == cost(other.graph)


def test_general_kernels_span_decades() -> None:
    madds = sorted(kernel.madds for kernel in general_kernels(COUNT) if kernel.kind == "conv_kxk")
    assert madds[-1] > 300 * madds[0]


def test_the_seed_decides() -> None:
    assert general_kernels(64, seed=5) == general_kernels(64, seed=5)
    assert general_kernels(64, seed=5) != general_kernels(64, seed=6)
    assert general_kernels(0) == ()


def test_random_networks_are_of_a_usual_size_and_different() -> None:
    networks = random_networks(12, seed=0)
    assert [network.name for network in networks[:2]] == ["network/0/0", "network/0/1"]
    assert len({cost(network.graph).madds for network in networks}) == 12
    assert all(cost(network.graph).madds <= MOST_NETWORK_MADDS for network in networks)
    assert random_networks(3, seed=0) == networks[:3]
    kinds = {k.kind for network in networks for k in execution_plan(network.graph).kernels}
    assert {"conv_kxk", "mul_broadcast", "concat", "fully_connected", "average_pool"} <= kinds
    assert {"conv_grouped", "gelu", "transpose", "slice"} <= kinds


SPACE = Space("small", channels=(16,), kernels=(3,), expansions=(16, 40), internal_blocks=2)


@pytest.mark.slow
def test_a_profile_with_networks_is_calibrated_on_them_and_comes_back(
    synthetic, protocol, tmp_path: Path
) -> None:
    plan = ProfilingPlan(
        SPACE,
        general=60,
        networks=6,
        arithmetics=("float32", "int8"),
        calibration_heads=6,
        validation_heads=6,
        input_size=128,
    )
    for arithmetic in plan.arithmetics:
        assert set(general_kernels(60, 0, arithmetic)) <= set(plan.kernels)
    with MeasurementStore(tmp_path / "measurements.db") as store:
        measured = profile_device(Session(synthetic(), store, protocol), plan)
    assert [network.name for network in measured.networks] == [
        network.name for network in plan.random_networks
    ]
    for stored, network in zip(measured.networks, plan.random_networks, strict=True):
        drawn = execution_plan(network.graph)
        assert stored.plan.kernels == drawn.kernels
        delegated = drawn.delegate_partitions
        assert len(stored.plan.delegate_partitions) == len(delegated)
        assert stored.crossing_bytes == sum(p.bytes_in + p.bytes_out for p in delegated)
    fitted = fit(measured)
    assert fitted.calibration is not None
    assert fitted.calibration.models == 18
    assert {"float32", "int8"} <= set(fitted.calibration.families)
    assert from_json(to_json(fitted)) == fitted
    assert {"fully_connected", "fully_connected int8"} <= set(fitted.regressors)
