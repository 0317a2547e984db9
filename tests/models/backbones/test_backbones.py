"""Backbones against formulas from their papers' tables, and against keras.applications."""

import math
from dataclasses import replace

import numpy as np
import pytest

from mnasfpn.errors import InvalidInput, JobFailed
from mnasfpn.models.backbones.backbone import Backbone, BackboneName
from mnasfpn.models.backbones.rounding import round_channels
from mnasfpn.models.detector import default_detector
from mnasfpn.models.graph.costs import cost
from mnasfpn.models.graph.weights import random_weights, weight_shapes
from mnasfpn.models.networks.keras_network import build_keras
from mnasfpn.models.published import published
from mnasfpn.models.training.pretrained_backbones import (
    APPLICATIONS,
    application,
    application_weights,
    backbone_weights,
    initial_weights,
)

NAMES = BackboneName.__args__

# C3, C4, C5 and the last convolution at width 1, as their papers' tables print them.
CHANNELS = {
    "mobilenet_v2": (32, 96, 320, 1280),
    "mobilenet_v3_large": (40, 112, 160, 960),
    "mobilenet_v3_small": (24, 48, 96, 576),
    "mnasnet_a1": (40, 112, 320, 1280),
}


@pytest.mark.parametrize(
    ("value", "rounded"),
    [(1, 8), (11.2, 16), (12, 16), (16.8, 16), (22.4, 24), (33.6, 32), (44.8, 48), (67.2, 64)],
)
def test_channel_rounding(value, rounded):
    assert round_channels(value) == rounded


def test_channel_rounding_never_loses_more_than_a_tenth():
    for tenths in range(1, 5000):
        channels = tenths / 10
        rounded = round_channels(channels)
        assert rounded % 8 == 0
        assert rounded >= max(8, 0.9 * channels)
        assert rounded <= max(8, channels + 8 * 0.9)
    assert round_channels(3, least=16) == 16


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("height", "width"), [(320, 320), (32, 32), (97, 131)])
def test_endpoints(name, height, width):
    graph = Backbone(name).graph(height, width)
    shapes = [graph[output].shape for output in graph.outputs]
    assert shapes == [
        (1, math.ceil(height / stride), math.ceil(width / stride), channels)
        for stride, channels in zip((8, 16, 32, 32), CHANNELS[name], strict=True)
    ]


def test_ssd_maps_of_all_backbones():
    """The expansion of the first stride-32 block, while still at stride 16."""
    names = {
        "mobilenetv2-ssdlite": ("backbone/block_13_expand", (1, 20, 20, 576)),
        "mobilenetv3-ssdlite": ("backbone/expanded_conv_12_expand_hard_swish", (1, 20, 20, 672)),
        "mobilenetv3-ssdlite-halved": (
            "backbone/expanded_conv_12_expand_hard_swish",
            (1, 20, 20, 672),
        ),
        "mnasneta1-ssdlite": ("backbone/block_12_expand", (1, 20, 20, 672)),
    }
    for model, (source, shape) in names.items():
        graph = published(model).graph()
        assert graph["predictor/box/map1/depthwise"].inputs == (source,)
        assert graph[source].shape == shape


def test_halved_channels_at_stride_32_only():
    whole = {la.name: la for la in Backbone("mobilenet_v3_large").graph(320, 320)}
    halved = {la.name: la for la in Backbone("mobilenet_v3_large", halved=True).graph(320, 320)}
    for index in range(12):
        name = f"backbone/expanded_conv{f'_{index}' if index else ''}_project"
        assert halved[name] == whole[name]
    expands = [halved[f"backbone/expanded_conv_{i}_expand"].filters for i in (12, 13, 14)]
    projects = [halved[f"backbone/expanded_conv_{i}_project"].filters for i in (12, 13, 14)]
    assert (expands, projects) == ([672, 480, 480], [80, 80, 80])
    assert halved["backbone/conv_1"].filters == 480


@pytest.mark.parametrize(("width", "height", "image_width"), [(0.35, 97, 131), (1.4, 33, 224)])
def test_mobilenet_v2_cost_by_formula(width, height, image_width):
    """Every convolution of its Table 2, multiplied out."""

    def depth(channels):
        value = int(channels * width)
        rounded = max(8, (value + 4) // 8 * 8)
        return rounded + 8 if rounded < 0.9 * value else rounded

    def halve(size):
        return tuple(math.ceil(side / 2) for side in size)

    size = halve((height, image_width))
    area = math.prod(size)
    channels = depth(32)
    madds, weights = area * 27 * channels, 27 * channels
    norms = channels
    table = [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)]
    table += [(6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)]
    for t, c, n, s in table:
        for stride in [s] + [1] * (n - 1):
            expanded, filters = t * channels, depth(c)
            if t > 1:
                madds += area * channels * expanded
                weights += channels * expanded
                norms += expanded
            size = halve(size) if stride == 2 else size
            area = math.prod(size)
            madds += area * (9 * expanded + expanded * filters)
            weights += 9 * expanded + expanded * filters
            norms += expanded + filters
            channels = filters
    last = 1280 if width <= 1 else depth(1280)
    madds += area * channels * last
    counted = cost(Backbone("mobilenet_v2", width).graph(height, image_width))
    assert counted.madds == madds
    assert counted.weights == weights + channels * last
    assert counted.norm_channels == norms + last
    assert counted.biases == 0


def test_mnasnet_a1_squeezes_to_a_quarter_of_the_block_input():
    graph = Backbone("mnasnet_a1").graph(224, 224)
    squeezes = [la.filters for la in graph if la.name.endswith("squeeze_excite_conv")]
    # Three blocks to 40 channels from 24, 40, 40; two to 112 from 80, 112; three to 160.
    assert squeezes == [6, 10, 10, 20, 28, 28, 40, 40]
    gates = [la.op for la in graph if la.name.endswith("squeeze_excite_gate")]
    assert gates == ["sigmoid"] * 8
    skips = [la.name for la in graph if la.op == "add"]
    assert len(skips) == (2 - 1) + (3 - 1) + (4 - 1) + (2 - 1) + (3 - 1)


def test_hard_sigmoid_as_the_runtime_computes_it():
    graph = Backbone("mobilenet_v3_large").graph(64, 64)
    name = "backbone/expanded_conv_3_squeeze_excite"
    conv, gate = graph[f"{name}_conv_1"], graph[f"{name}_gate"]
    assert (conv.attributes.shift, conv.attributes.activation) == (3.0, "relu6")
    assert (gate.op, gate.attributes.constant, gate.inputs) == ("mul", 1 / 6, (conv.name,))
    assert graph[f"{name}_mul"].inputs == ("backbone/expanded_conv_3_depthwise", gate.name)


@pytest.mark.slow
@pytest.mark.parametrize("name", APPLICATIONS)
@pytest.mark.parametrize("width", [0.35, 0.56, 1.0, 1.4])
def test_params_equal_keras_applications(name, width):
    backbone = Backbone(name, width)
    assert cost(backbone.graph(64, 64)).params == application(backbone, size=64).count_params()


@pytest.mark.slow
@pytest.mark.parametrize("name", APPLICATIONS)
@pytest.mark.parametrize("size", [96, 65])
def test_features_equal_keras_applications(name, size):
    import keras

    keras.utils.set_random_seed(0)
    backbone = Backbone(name)
    model = application(backbone, size=size)
    _randomize_norms(model)
    graph = backbone.graph(size, size)
    ours = build_keras(graph, application_weights(graph, model))
    image = np.random.default_rng(0).uniform(-1, 1, (1, size, size, 3)).astype(np.float32)
    expected = np.asarray(model(image))
    assert np.abs(expected).max() > 0.1  # or every network would pass
    np.testing.assert_allclose(np.asarray(ours(image)[-1]), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_features_stay_when_batch_norm_has_another_epsilon():
    """The pyramid detectors' backbone has epsilon 0.01, trained weights 0.001."""
    backbone = Backbone("mobilenet_v2", 0.35)
    model = application(backbone, size=64)
    _randomize_norms(model, variance=(0.001, 0.5))
    detector = published("mobilenetv2-mnasfpn-0.7")
    graph = replace(detector, backbone=backbone, input_size=64).graph()
    weights = random_weights(graph, seed=1) | application_weights(graph, model)
    ours = build_keras(graph.prune(["backbone/block_16_project"]), weights)
    import keras

    theirs = keras.Model(model.input, model.get_layer("block_16_project_BN").output)
    image = np.random.default_rng(0).uniform(-1, 1, (1, 64, 64, 3)).astype(np.float32)
    expected = np.asarray(theirs(image))
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(np.asarray(ours(image)), expected, rtol=1e-4, atol=1e-4)


def _randomize_norms(model, variance=(0.5, 1.5)):
    rng = np.random.default_rng(7)
    for layer in model.layers:
        if hasattr(layer, "moving_variance"):
            size = layer.gamma.shape
            layer.gamma.assign(rng.uniform(0.8, 1.2, size))
            layer.beta.assign(rng.uniform(-0.2, 0.2, size))
            layer.moving_mean.assign(rng.uniform(-0.2, 0.2, size))
            layer.moving_variance.assign(rng.uniform(*variance, size))


class TestWeightFiles:
    backbone = Backbone("mobilenet_v2", 0.35)
    graph = backbone.graph(32, 32)

    def folded(self):
        """Kernels and biases by the names of keras.applications, as in a file of folded weights."""
        rng = np.random.default_rng(3)
        return {
            f"{la.name.removeprefix('backbone/')}/{kind}": rng.normal(size=shape).astype(np.float16)
            for la in self.graph
            if la.weights
            for kind, shape in (("kernel", la.weights), ("bias", (la.filters,)))
        }

    def save(self, folder, arrays):
        path = folder / "weights.npz"
        np.savez(path, **arrays)
        return path

    def test_folded(self, tmp_path):
        arrays = self.folded()
        weights = backbone_weights(self.graph, self.backbone, self.save(tmp_path, arrays))
        name = "backbone/block_1_expand"
        np.testing.assert_array_equal(weights[f"{name}/kernel"], arrays["block_1_expand/kernel"])
        np.testing.assert_array_equal(weights[f"{name}/beta"], arrays["block_1_expand/bias"])
        scale = weights[f"{name}/gamma"] / np.sqrt(weights[f"{name}/variance"] + 1e-3)
        np.testing.assert_allclose(scale, 1, rtol=1e-6)
        assert not weights[f"{name}/mean"].any()
        assert {array.dtype for array in weights.values()} == {np.dtype(np.float32)}

    def test_own_weights_as_they_are(self, tmp_path):
        weights = random_weights(self.graph, seed=5, random_norm=True)
        path = self.save(tmp_path, {**weights, "head/other": np.zeros(3)})
        loaded = backbone_weights(self.graph, self.backbone, path)
        assert set(loaded) == set(weights)
        for key, array in weights.items():
            np.testing.assert_array_equal(loaded[key], array)

    def test_what_a_training_may_start_from(self, tmp_path):
        head_alone = {"head/c6/conv/kernel": np.zeros((1, 1, 320, 48), np.float32)}
        detector = default_detector(published("mobilenetv2-mnasfpn").head)
        path = self.save(tmp_path, head_alone)
        loaded = initial_weights(detector.graph(), detector.backbone, path)
        np.testing.assert_equal(loaded, head_alone)
        folded = initial_weights(self.graph, self.backbone, self.save(tmp_path, self.folded()))
        assert set(folded) == set(weight_shapes(self.graph))

    def test_a_missing_array_is_named(self, tmp_path):
        arrays = self.folded()
        del arrays["block_3_depthwise/bias"]
        with pytest.raises(InvalidInput, match="array 'block_3_depthwise/bias' is missing"):
            backbone_weights(self.graph, self.backbone, self.save(tmp_path, arrays))

    def test_another_width_is_named(self, tmp_path):
        wider = Backbone("mobilenet_v2", 0.5)
        path = self.save(tmp_path, self.folded())
        with pytest.raises(InvalidInput, match=r"have shape .*, expected .* of another width"):
            backbone_weights(wider.graph(32, 32), wider, path)

    @pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short", b"text"])
    def test_what_is_no_npz(self, tmp_path, content):
        path = tmp_path / "weights.npz"
        path.write_bytes(content)
        with pytest.raises(InvalidInput, match=r"weights\.npz: not a readable \.npz file"):
            backbone_weights(self.graph, self.backbone, path)

    def test_a_truncated_npz(self, tmp_path):
        path = self.save(tmp_path, self.folded())
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(InvalidInput, match=r"weights\.npz: not a readable \.npz file"):
            backbone_weights(self.graph, self.backbone, path)

    def test_a_missing_file(self, tmp_path):
        with pytest.raises(InvalidInput, match="there is no weights file"):
            backbone_weights(self.graph, self.backbone, tmp_path / "none.npz")

    @pytest.mark.parametrize(
        "backbone", [Backbone("mnasnet_a1"), Backbone("mobilenet_v3_large", halved=True)]
    )
    def test_no_imagenet_weights(self, backbone):
        with pytest.raises(InvalidInput, match=r"keras.applications has no (mnasnet|halved)"):
            backbone_weights(backbone.graph(32, 32), backbone, "imagenet")

    @pytest.mark.slow
    def test_no_imagenet_weights_of_this_width(self):
        backbone = Backbone("mobilenet_v2", 0.8)
        with pytest.raises(InvalidInput, match=r"no imagenet weights of mobilenet_v2 at width 0.8"):
            backbone_weights(backbone.graph(32, 32), backbone, "imagenet")

    @pytest.mark.slow
    def test_imagenet_goes_through_keras_applications(self, monkeypatch):
        import keras

        real = keras.applications.MobileNetV2
        asked = []

        def offline(**options):
            asked.append(options)
            return real(**{**options, "weights": None})

        monkeypatch.setattr(keras.applications, "MobileNetV2", offline)
        weights = backbone_weights(self.graph, self.backbone, "imagenet")
        assert (asked[0]["weights"], asked[0]["alpha"]) == ("imagenet", 0.35)
        assert weights["backbone/Conv1/kernel"].shape == (3, 3, 3, 16)

    @pytest.mark.slow
    def test_no_network(self, monkeypatch):
        import keras

        def offline(**options):
            raise Exception("URL fetch failure")

        monkeypatch.setattr(keras.applications, "MobileNetV2", offline)
        with pytest.raises(JobFailed, match=r"could not be downloaded \(URL fetch failure\)"):
            backbone_weights(self.graph, self.backbone, "imagenet")


def test_bundled_weights_fit_the_published_backbone(shared_weights):
    detector = default_detector(published("mobilenetv2-mnasfpn").head)
    weights = backbone_weights(detector.graph(), detector.backbone, shared_weights)
    assert len(weights) == 5 * 51  # Conv_1 is not part of this detector
    assert all(key.startswith("backbone/") for key in weights)


@pytest.fixture
def shared_weights(request):
    name = "mobilenet_v2_1.0_openimages_bn_folded_fp16.npz"
    path = request.config.rootpath.parent / "shared" / "data" / "weights" / name
    if not path.is_file():
        pytest.skip(f"needs {name} in ../shared/data/weights")
    return path
