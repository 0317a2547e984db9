from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnasfpn.errors import InvalidInput
from mnasfpn.latency.kernels.execution import execution_plan
from mnasfpn.latency.kernels.kernel import Kernel, kernel_graph
from mnasfpn.latency.profiling.space_kernels import space_kernels
from mnasfpn.models.published import PUBLISHED
from mnasfpn.models.space import MNASFPN

OTHERS = (
    "gelu 1x8x8x16 -> 1x8x8x16",
    "mean 1x49x16 -> 1x16 a1",
    "transpose 1x7x7x3x8 -> 1x7x7x8x3 a0x1x2x4x3",
    "slice 1x8x8x16 -> 1x6x6x16",
    "slice 1x9x9x16 -> 1x5x5x16 s2x2",
    "slice 1x49x16 -> 1x16 a1",
    "detections_regular 1x40x4, 1x40x5 -> 1x10x4",
    "conv 1x8x8x16 -> 1x8x8x16 k1x1 s1x1 uint8",
    "sub 1x8x8x16, 1x8x8x16 -> 1x8x8x16",
    "mul 1x8x8x16 -> 1x8x8x16",
    "hard_swish 1x8x8x16 -> 1x8x8x16",
    "prelu 1x8x8x16 -> 1x8x8x16",
    "softmax 1x10 -> 1x10",
    "concat 1x5x8, 1x7x8 -> 1x12x8",
    "concat 1x8x8x3, 1x8x8x5, 1x8x8x1 -> 1x8x8x9",
    "pad 1x8x8x16 -> 1x9x11x16",
    "resize_bilinear 1x8x8x16 -> 1x16x12x16",
    "average_pool 1x8x8x16 -> 1x3x3x16 k3x3 s2x2",
    "fully_connected 1x64 -> 1x10",
    "fully_connected 1x4x64 -> 1x4x10 relu",
    "conv 1x8x8x16 -> 1x4x4x16 k3x3 s1x1 d2x2",
    "conv 1x9x7x3 -> 1x4x4x5 k3x1 s2x2 relu6",
    "depthwise_conv 1x8x8x16 -> 1x8x8x32 k3x3 s1x1",
)


@pytest.mark.parametrize("signature", OTHERS)
def test_a_signature_is_read_back_and_built(signature: str) -> None:
    kernel = Kernel.parse(signature)
    assert kernel.signature == signature
    assert execution_plan(kernel_graph(kernel)).kernels == (kernel,)


@pytest.mark.slow
def test_every_kernel_of_the_space_and_the_paper_is_read_back_and_built() -> None:
    kernels = set(space_kernels(MNASFPN))
    for detector in PUBLISHED.values():
        kernels.update(execution_plan(detector.graph()).kernels)
    for kernel in kernels:
        assert Kernel.parse(kernel.signature) == kernel
        assert execution_plan(kernel_graph(kernel)).kernels == (kernel,)


def test_work_and_traffic_by_hand() -> None:
    kernel = Kernel.parse("conv 1x10x10x8 -> 1x5x5x16 k3x3 s2x2")
    assert kernel.madds == 25 * 16 * 9 * 8
    assert (kernel.bytes_in, kernel.bytes_out) == (3200, 1600)
    assert kernel.bytes_weights == 4 * 9 * 8 * 16
    assert Kernel.parse("depthwise_conv 1x5x5x6 -> 1x5x5x6 k3x3 s1x1").madds == 25 * 6 * 9
    assert Kernel.parse("fully_connected 1x64 -> 1x10").madds == 640


def test_madds_of_a_plan_are_those_of_the_graph() -> None:
    graph = PUBLISHED["mobilenetv2-mnasfpn"].graph()
    kernels = execution_plan(graph).kernels
    assert sum(kernel.madds for kernel in kernels) == sum(layer.madds for layer in graph)


sizes = st.lists(st.integers(1, 99), max_size=4).map(tuple)
pairs = st.tuples(st.integers(1, 9), st.integers(1, 9))
kernels = st.builds(
    Kernel,
    op=st.sampled_from(("conv", "max_pool")),
    inputs=st.lists(sizes, min_size=1, max_size=3).map(tuple),
    output=sizes,
    window=pairs,
    stride=pairs,
    dilation=pairs,
    activation=st.sampled_from((None, "relu", "relu6")),
    dtype=st.sampled_from(("float32", "int8", "float16")),
) | st.builds(
    Kernel,
    op=st.just("foreign"),
    inputs=st.lists(sizes, max_size=3).map(tuple),
    output=sizes,
    label=st.text("abcXYZ_0123=", min_size=1),
)


@given(kernels)
def test_signatures_are_unambiguous(kernel: Kernel) -> None:
    assert Kernel.parse(kernel.signature) == kernel


@pytest.mark.parametrize(
    "text",
    [
        "",
        "conv",
        "conv 1x2x2x3",
        "conv 1x2x2x3 ->",
        "warp 1x2 -> 1x2",
        "conv 1x2x2x3 -> 1x2x2x3 k3",
        "conv 1x2x2x3 -> 1x2x2x3 quickly",
        "conv 0x2x2x3 -> 1x2x2x3 k1x1 s1x1",
        "input 1x2 -> 1x2",
    ],
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="is not a kernel's signature"):
        Kernel.parse(text)


def test_shapes_that_contradict_the_operator_are_refused() -> None:
    with pytest.raises(InvalidInput, match="gives"):
        kernel_graph(Kernel.parse("conv 1x8x8x3 -> 1x9x9x3 k1x1 s1x1"))
    with pytest.raises(InvalidInput, match="cannot be built"):
        kernel_graph(Kernel.parse("foreign 1x8 -> 1x8 =Magic"))
