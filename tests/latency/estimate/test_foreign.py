"""Files of others: what is not known is named and bounded, and other types are other kernels."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mnasfpn.errors import NotCovered
from mnasfpn.latency.estimate.bounds import speed_limits
from mnasfpn.latency.estimate.estimate import Estimator, estimate
from mnasfpn.latency.kernels.execution import execution_plan
from mnasfpn.latency.kernels.kernel import Kernel
from mnasfpn.latency.profile.calibration import FamilyCalibration
from mnasfpn.latency.profile.device_profile import DeviceProfile
from mnasfpn.latency.profile.table import MeasuredKernel
from mnasfpn.models.graph.builder import GraphBuilder
from mnasfpn.models.tflite.reader import read_tflite

SIZE = 16


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One small network with an awkward operator, in the precisions people ship."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    image = keras.Input((SIZE, SIZE, 3), batch_size=1)
    x = keras.layers.Conv2D(16, 3, strides=2, padding="same", activation="relu6")(image)
    x = keras.layers.DepthwiseConv2D(3, padding="same")(x)
    x = keras.ops.sin(x)
    x = keras.layers.Conv2D(24, 1, activation="relu")(x)
    model = keras.Model(image, keras.layers.Dense(10)(keras.layers.Flatten()(x)))

    @tf.function(input_signature=[tf.TensorSpec((1, SIZE, SIZE, 3), tf.float32)])
    def network(image):
        return model(image, training=False)

    def converted(types=(), calibrated=False, optimised=True) -> bytes:
        converter = tf.lite.TFLiteConverter.from_concrete_functions(
            [network.get_concrete_function()]
        )
        converter.optimizations = [tf.lite.Optimize.DEFAULT] if optimised else []
        converter.target_spec.supported_types = list(types)
        if calibrated:
            images = np.random.default_rng(0).normal(size=(4, 1, SIZE, SIZE, 3))
            converter.representative_dataset = lambda: ([i.astype(np.float32)] for i in images)
        return converter.convert()

    folder = tmp_path_factory.mktemp("foreign")
    contents = {
        "float32": converted(optimised=False),
        "float16": converted((tf.float16,)),
        "hybrid": converted(),
        "int8": converted(calibrated=True),
    }
    for name, content in contents.items():
        (folder / f"{name}.tflite").write_bytes(content)
    return {name: folder / f"{name}.tflite" for name in contents}


@pytest.mark.slow
def test_an_operator_nobody_knows_is_named_and_bounded(
    files: dict[str, Path], fitted: DeviceProfile
) -> None:
    graph = read_tflite(files["float32"])
    unknown = [layer.attributes.label for layer in graph if layer.op == "foreign"]
    assert unknown == ["SIN"]
    with pytest.raises(NotCovered, match="knows nothing about"):
        estimate(graph, fitted)
    found = estimate(graph, fitted, allow_gaps=True)
    for label in unknown:
        assert any(signature.endswith(f"={label}") for signature in found.uncovered)
    bounded = [item for item in found.contributions if item.source == "bound"]
    assert all(0 < item.low_ms < item.latency_ms < item.high_ms for item in bounded)
    known_ms = found.latency_ms - sum(item.latency_ms for item in bounded)
    assert found.high_ms > known_ms + sum(item.high_ms for item in bounded)
    assert found.low_ms < known_ms + sum(item.low_ms for item in bounded)


@pytest.mark.slow
def test_rows_add_up_to_the_total_and_name_every_layer(
    files: dict[str, Path], fitted: DeviceProfile
) -> None:
    graph = read_tflite(files["float32"])
    found = estimate(graph, fitted, allow_gaps=True)
    total_ms = found.overhead_ms + sum(item.latency_ms for item in found.contributions)
    assert total_ms == pytest.approx(found.latency_ms, rel=1e-12)
    assert sum(found.by_part_ms.values()) == pytest.approx(found.latency_ms, rel=1e-12)
    named = {name for item in found.contributions for name in item.layers}
    computed = {layer.name for layer in graph.prune() if layer.op not in ("input", "constant")}
    assert named == computed


@pytest.mark.slow
def test_the_share_that_is_known_is_counted_by_hand(
    files: dict[str, Path], fitted: DeviceProfile
) -> None:
    graph = read_tflite(files["float32"])
    found = estimate(graph, fitted, allow_gaps=True)
    kinds = {kernel.kind for kernel in map(Kernel.parse, (row.kernel for row in fitted.table))}
    steps = execution_plan(graph).steps
    known = [step for step in steps if step.kernel.kind in kinds]
    assert 0 < len(known) < len(steps)
    layers = sum(len(step.layers) for step in steps)
    assert found.covered_layers == pytest.approx(sum(len(s.layers) for s in known) / layers)
    madds = sum(step.kernel.madds for step in steps)
    assert found.covered_madds == pytest.approx(sum(s.kernel.madds for s in known) / madds)


@pytest.mark.slow
def test_float16_weights_run_as_float32(files: dict[str, Path]) -> None:
    """XNNPACK unpacks them when the model is loaded."""
    kernels = [execution_plan(read_tflite(files[name])).kernels for name in ("float32", "float16")]
    assert kernels[0] == kernels[1]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "dtype"), [("int8", "int8"), ("hybrid", "hybrid")])
def test_quantised_kernels_are_never_taken_for_float32(
    files: dict[str, Path], fitted: DeviceProfile, name: str, dtype: str
) -> None:
    found = estimate(read_tflite(files[name]), fitted, allow_gaps=True)
    products = [
        item
        for item in found.contributions
        if item.kernel.startswith(("conv ", "fully_connected ")) and f" {dtype}" in item.kernel
    ]
    assert products
    assert all(item.source == "bound" for item in products)
    assert all(Kernel.parse(item.kernel).kind.endswith(f" {dtype}") for item in products)


def test_rows_of_quantised_kernels_answer_for_quantised_kernels(fitted: DeviceProfile) -> None:
    signature = "conv 1x8x8x16 -> 1x8x8x24 k1x1 s1x1 int8"
    kernel = Kernel.parse(signature)
    assert kernel.signature == signature
    assert kernel.kind == "conv_1x1 int8"
    assert Estimator(fitted).kernel(kernel).source == "bound"
    row = MeasuredKernel(signature, 12.5, 0.01, 9)
    measured = Estimator(replace(fitted, table=(*fitted.table, row))).kernel(kernel)
    assert measured.source == "table"
    assert measured.net_us == pytest.approx(12.5 - fitted.dispatch_us)


def test_hybrid_kernels_read_one_byte_for_each_weight() -> None:
    kernel = Kernel.parse("fully_connected 1x64 -> 1x10 hybrid")
    assert (kernel.bytes_in, kernel.bytes_weights, kernel.bytes_out) == (256, 640, 40)


def test_conversions_between_types_read_one_and_write_the_other() -> None:
    quantize = Kernel.parse("quantize 1x8x8x4 -> 1x8x8x4 int8")
    dequantize = Kernel.parse("dequantize 1x8x8x4 -> 1x8x8x4")
    assert (quantize.bytes_in, quantize.bytes_out) == (1024, 256)
    assert (dequantize.bytes_in, dequantize.bytes_out) == (256, 1024)


def test_a_group_for_each_channel_is_a_depthwise_convolution() -> None:
    builder = GraphBuilder()
    x = builder.input("x", (1, 8, 8, 24))
    for name, channels, groups in (("each", 24, 24), ("pairs", 24, 12), ("wider", 48, 24)):
        weights = (3, 3, 24 // groups, channels)
        builder.add_layer(name, "conv", (x,), weights, groups=groups)
    each, pairs, wider = execution_plan(builder.graph(("each", "pairs", "wider"))).kernels
    assert each == Kernel.parse("depthwise_conv 1x8x8x24 -> 1x8x8x24 k3x3 s1x1")
    assert each.weight_elements == 9 * 24
    assert {pairs.kind, wider.kind} == {"conv_grouped"}


ROWS = (
    "add 1x10x10x10, 1x10x10x10 -> 1x10x10x10",  # 12 kB
    "conv 1x10x10x10 -> 1x10x10x10 k1x1 s1x1",  # 8.4 kB, 10,000 multiply-adds
    "reshape 1x10x10x10 -> 1x1000",  # 8 kB
)


def bounding(profile: DeviceProfile) -> DeviceProfile:
    """A profile with round rates: 1, 5 and 2 ns for each byte, 4.2 ns for each multiply-add; in a
    model as alone."""
    rows = zip(ROWS, (12.0, 42.0, 16.0), strict=True)
    table = tuple(MeasuredKernel(kernel, us, 0.0, 1) for kernel, us in rows)
    as_alone = replace(profile.require_calibration(), families={})
    return replace(profile, table=table, dispatch_us=0.0, regressors={}, calibration=as_alone)


def test_bounds_by_hand(fitted: DeviceProfile) -> None:
    found = speed_limits(bounding(fitted))
    foreign = found.bound(Kernel.parse("foreign 1x10x10x10 -> 1x10x10x10 =SIN"))
    assert foreign.low_us == pytest.approx(8.0)
    assert foreign.high_us == pytest.approx(8000 * 42 / 8400)
    assert foreign.middle_us == pytest.approx(math.sqrt(8.0 * 40.0))
    product = found.bound(Kernel.parse("conv 1x10x10x10 -> 1x10x10x10 k1x1 s1x1 int8"))
    assert product.low_us == pytest.approx(2.1)
    assert product.high_us == pytest.approx(2100 * 2e-3 + 10_000 * 4.2e-3)


def test_bounds_are_of_the_phone_that_the_calibration_is_of(fitted: DeviceProfile) -> None:
    """Rows of a transferred profile are another phone's."""
    here = bounding(fitted)
    slower = replace(
        here,
        calibration=replace(here.calibration, families={"float32": FamilyCalibration(3.0)}),
    )
    kernel = Kernel.parse("foreign 1x10x10x10 -> 1x10x10x10 =SIN")
    before, after = (speed_limits(profile).bound(kernel) for profile in (here, slower))
    assert after.low_us == pytest.approx(3 * before.low_us)
    assert after.high_us == pytest.approx(3 * before.high_us)


def test_an_operator_that_moves_nothing_still_costs_a_call(fitted: DeviceProfile) -> None:
    profile = replace(bounding(fitted), dispatch_us=1.5)
    bound = speed_limits(profile).bound(Kernel.parse("foreign none -> 1 =SHAPE int32"))
    assert 0 < bound.low_us < 1.5 < bound.high_us


def test_bounds_from_regressions_alone(fitted: DeviceProfile) -> None:
    """As in profiles made of published numbers."""
    without, from_rows = speed_limits(replace(fitted, table=())), speed_limits(fitted)
    assert 0 < without.fastest_us_per_byte < without.slowest_us_per_byte < 1
    assert without.slowest_us_per_madd == pytest.approx(from_rows.slowest_us_per_madd, rel=5)


def test_a_profile_of_nothing_bounds_nothing(fitted: DeviceProfile) -> None:
    with pytest.raises(NotCovered, match="neither rows nor regressions"):
        speed_limits(replace(fitted, table=(), regressors={}))
