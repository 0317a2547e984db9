"""Many kernels in one file: what is in it, and how its operator profile is read back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mnasfpn.android_harness.host.native_build import find_compiler, litert_library
from mnasfpn.android_harness.host.operator_profile import XNNPACK_NAMES, op_profile
from mnasfpn.android_harness.measurement import OpTiming
from mnasfpn.errors import BenchmarkOutputError, InvalidInput, StableDeviceError
from mnasfpn.latency.kernels.execution import execution_plan
from mnasfpn.latency.kernels.kernel import Kernel, kernel_graph
from mnasfpn.latency.kernels.runtimes import BUILTIN, XNNPACK, Runtime
from mnasfpn.latency.profiling.head_graph import head_graph
from mnasfpn.latency.profiling.packing import MOST_BYTES, Pack, pack, step_latencies_us
from mnasfpn.latency.profiling.sampled_heads import random_heads
from mnasfpn.latency.profiling.sampled_kernels import general_kernels
from mnasfpn.latency.profiling.sampled_networks import random_networks
from mnasfpn.latency.profiling.space_kernels import space_kernels
from mnasfpn.models.graph.arithmetic import ARITHMETICS, Arithmetic
from mnasfpn.models.space import MNASFPN
from mnasfpn.models.tflite.writer import write_tflite

CONV = Kernel.parse("conv 1x8x8x16 -> 1x8x8x32 k1x1 s1x1")
RESIZE = Kernel.parse("resize_nearest 1x8x8x16 -> 1x16x16x16")
DEPTHWISE = Kernel.parse("depthwise_conv 1x8x8x16 -> 1x8x8x16 k3x3 s1x1 relu6")
ADD = Kernel.parse("add 1x8x8x16, 1x8x8x16 -> 1x8x8x16 relu6")
KERNELS = (CONV, RESIZE, DEPTHWISE, ADD)

PRODUCT = OpTiming("Fully Connected (NC, F32) GEMM", "Delegate/Fully Connected (NC, F32) GEMM:0", 9)
DWCONV = OpTiming("Convolution (NHWC, F32) DWConv", "Delegate/Convolution (NHWC, F32) DWConv:1", 5)
SUM = OpTiming("Add (ND)", "Delegate/Add (ND):2", 2)
CLAMP = OpTiming("Clamp (NC)", "Delegate/Clamp (NC):3", 1)
NEAREST = OpTiming("RESIZE_NEAREST_NEIGHBOR", "[1/kernel]:4", 7)
ROWS = (PRODUCT, DWCONV, SUM, CLAMP, NEAREST)


def only() -> Pack:
    (found,) = pack(KERNELS)
    return found


def profile(path: Path, data: bytes, xnnpack: bool = True) -> tuple[OpTiming, ...]:
    try:
        find_compiler("x86_64")
        litert_library()
    except StableDeviceError as error:
        pytest.skip(str(error))
    path.write_bytes(data)
    return op_profile(path, runs=2, xnnpack=xnnpack)


def test_a_pack_holds_each_kernel_with_inputs_and_outputs_of_its_own() -> None:
    graph = only().graph
    assert len(graph.inputs) == sum(len(kernel.inputs) for kernel in KERNELS)
    assert len(graph.outputs) == len(KERNELS)
    assert sorted(map(str, execution_plan(graph).kernels)) == sorted(map(str, KERNELS))


def test_packs_stay_under_the_limit_and_keep_the_order() -> None:
    kernels = space_kernels(MNASFPN)
    packs = pack(kernels)
    assert tuple(kernel for found in packs for kernel in found.kernels) == kernels
    for found in packs:
        sizes = [k.bytes_in + k.bytes_out + k.bytes_weights for k in found.kernels]
        assert sum(sizes) <= MOST_BYTES
    assert 1 < len(packs) < 20


def test_a_kernel_above_the_limit_has_a_pack_of_its_own() -> None:
    assert [found.kernels for found in pack(KERNELS, most_bytes=1)] == [(k,) for k in KERNELS]


def test_a_kernel_given_twice_is_refused() -> None:
    with pytest.raises(InvalidInput, match="twice"):
        pack((CONV, RESIZE, CONV))


def test_rows_become_kernels_whatever_the_order_of_execution() -> None:
    # XNNPACK's own rows are rounded down to whole microseconds, half of one is added back.
    assert only().latencies_us(ROWS) == {
        CONV: 9.5,
        RESIZE: 7.0,
        DEPTHWISE: 5.5,
        ADD: 2.5 + 1.5,
    }


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (ROWS[:-1], "has 4 rows; expected 5 for 4 kernels"),
        ((*ROWS, NEAREST), "has 6 rows; expected 5"),
        (
            (DWCONV, PRODUCT, *ROWS[2:]),
            "'Fully .*' where 'depthwise_conv .*' was expected",
        ),
        ((PRODUCT, DWCONV, CLAMP, SUM, NEAREST), "'Clamp.*' where 'add .*' was expected"),
        ((replace(PRODUCT, times_called=2), *ROWS[1:]), "one row for 2 calls"),
    ],
)
def test_a_profile_that_does_not_fit_is_refused(rows: tuple[OpTiming, ...], reason: str) -> None:
    with pytest.raises(BenchmarkOutputError, match=reason):
        only().latencies_us(rows)


def test_an_operator_whose_rows_are_unknown_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(XNNPACK_NAMES, "conv")
    with pytest.raises(BenchmarkOutputError, match="is not known"):
        step_latencies_us(execution_plan(kernel_graph(CONV)), (PRODUCT,))


def test_the_runtime_executes_a_pack_as_foreseen(tmp_path: Path) -> None:
    found = only()
    data = write_tflite(found.graph)
    assert set(found.latencies_us(profile(tmp_path / "m.tflite", data))) == set(KERNELS)
    rows = profile(tmp_path / "m.tflite", data, xnnpack=False)
    (builtin,) = pack(KERNELS, BUILTIN)
    assert set(builtin.latencies_us(rows)) == set(KERNELS)


@pytest.mark.slow
def test_every_kernel_of_the_space_is_found_in_its_pack(tmp_path: Path) -> None:
    """At a small input size, where one run of all of them takes milliseconds."""
    kernels = space_kernels(MNASFPN, input_size=64)
    for found in pack(kernels):
        rows = profile(tmp_path / "m.tflite", write_tflite(found.graph))
        assert set(found.latencies_us(rows)) == set(found.kernels)


@pytest.mark.slow
@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_general_kernels_are_found_in_their_packs(arithmetic: Arithmetic, tmp_path: Path) -> None:
    for found in pack(general_kernels(24, 0, arithmetic)):
        rows = profile(tmp_path / "m.tflite", write_tflite(found.graph))
        assert set(found.latencies_us(rows)) == set(found.kernels)


@pytest.mark.parametrize("runtime", [XNNPACK, BUILTIN], ids=lambda runtime: runtime.name)
def test_whole_heads_are_executed_as_their_plan_says(runtime: Runtime, tmp_path: Path) -> None:
    """The plan's partitions, fusions and order, against what the runtime reports it has done."""
    for head in random_heads(MNASFPN, 3, seed=5):
        graph = head_graph(head.genotype, input_size=64)
        plan = execution_plan(graph, runtime)
        rows = profile(tmp_path / "m.tflite", write_tflite(graph), runtime is XNNPACK)
        assert len(step_latencies_us(plan, rows)) == len(plan.steps)


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_random_networks_are_executed_as_their_plan_says(
    arithmetic: Arithmetic, tmp_path: Path
) -> None:
    for network in random_networks(4, 0, arithmetic):
        plan = execution_plan(network.graph)
        rows = profile(tmp_path / "m.tflite", write_tflite(network.graph))
        assert len(step_latencies_us(plan, rows)) == len(plan.steps)
