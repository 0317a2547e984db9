"""NAS-FPN, SSDLite and the shared predictor: structure, and costs by formula."""

from dataclasses import replace

import pytest

from mnasfpn.models.backbones.endpoints import Endpoints
from mnasfpn.models.detector import Detector
from mnasfpn.models.genotype import Block, Genotype
from mnasfpn.models.graph.attributes import BatchNorm
from mnasfpn.models.graph.builder import GraphBuilder
from mnasfpn.models.graph.costs import cost, cost_by_part, layers_cost
from mnasfpn.models.heads.nasfpn import NasFpn, Node, nasfpn_head
from mnasfpn.models.heads.predictor import SharedPredictor, shared_predictor
from mnasfpn.models.heads.ssdlite import SsdLite, ssdlite
from mnasfpn.models.published import NASFPN_LITE_NODES, NASFPN_NODES, PUBLISHED, published


def inputs(builder, channels=(32, 96, 320), sides=(40, 20, 10)):
    c3, c4, c5 = (
        builder.input(f"c{level}", (1, side, side, size))
        for level, side, size in zip((3, 4, 5), sides, channels, strict=True)
    )
    return Endpoints(c3, c4, c5, (c4, c5))


def nasfpn(head, **shapes):
    builder = GraphBuilder()
    features = nasfpn_head(builder, inputs(builder, **shapes), head)
    return builder.graph(features.values()).prune()


LITE = NasFpn(64, 1, NASFPN_LITE_NODES)


class TestNasFpn:
    def test_inputs(self):
        graph = nasfpn(LITE)
        for level, channels in ((3, 32), (4, 96), (5, 320)):
            assert graph[f"head/lateral{level}"].weights == (1, 1, channels, 64)
            assert graph[f"head/lateral{level}"].attributes.norm is not None
        p6 = graph["head/lateral6/pool"]
        assert (p6.inputs, p6.attributes.window, p6.shape) == (
            ("head/lateral5",),
            (2, 2),
            (1, 5, 5, 64),
        )

    def test_global_pooling_node(self):
        """Node 0 of the cell: level 4 from P4 and P6; the coarser P6 gates P4."""
        graph = nasfpn(LITE)
        name = "head/cell0/node0"
        resize = graph[f"{name}/in1/resize"]
        assert (resize.inputs, resize.shape) == (("head/lateral6/pool",), (1, 20, 20, 64))
        assert graph[f"{name}/squeeze"].inputs == (resize.name,)
        assert graph[f"{name}/gated"].inputs == ("head/lateral4", f"{name}/gate")
        assert graph[f"{name}/merge"].inputs == (resize.name, f"{name}/gated")
        assert graph[f"{name}/merge"].attributes.activation == "relu"

    def test_pooling_down_has_the_window_of_its_stride(self):
        outputs = tuple(Node((0, 0), level) for level in (3, 4, 5, 6))
        pool = nasfpn(NasFpn(8, 1, outputs))["head/cell0/node3/in0/pool"]
        assert (pool.attributes.window, pool.attributes.stride) == ((8, 8), (8, 8))
        assert pool.shape == (1, 5, 5, 8)

    def test_leftovers_join_the_output_of_their_level_once(self):
        """Of the published cell only P5 is consumed by no node."""
        graph = nasfpn(LITE)
        leftovers = [la for la in graph if "/leftover" in la.name]
        assert [la.name for la in leftovers] == ["head/cell0/node4/leftover"]
        (join,) = leftovers
        assert join.inputs == ("head/cell0/node4/merge", "head/lateral5")
        assert join.attributes.activation == "relu"
        assert graph["head/cell0/node4/merge"].attributes.activation is None

    def test_leftover_internal_nodes_are_used_too(self):
        """Two internal nodes of level 4 that no node reads, and P3..P6 that only they read."""
        internal = (Node((0, 1), 4), Node((2, 3), 4, "se"))
        outputs = (Node((0, 1), 3), Node((0, 1), 4), Node((0, 1), 5), Node((0, 1), 6))
        graph = nasfpn(NasFpn(8, 1, internal + outputs))
        names = [la.name for la in graph if "/leftover" in la.name]
        assert names == ["head/cell0/node3/leftover1", "head/cell0/node3/leftover"]
        first, last = (graph[name] for name in names)
        assert first.inputs == ("head/cell0/node3/merge", "head/cell0/node0/pointwise")
        assert last.inputs == (first.name, "head/cell0/node1/pointwise")
        assert (first.attributes.activation, last.attributes.activation) == (None, "relu")

    def test_only_what_comes_before_an_output_is_left_over(self):
        """Level 5's output is first, so it takes P5, which a later node would have consumed."""
        outputs = (Node((0, 1), 5), Node((2, 3), 6), Node((0, 1), 3), Node((0, 1), 4))
        graph = nasfpn(NasFpn(8, 1, outputs))
        assert [la.inputs[1] for la in graph if "/leftover" in la.name] == ["head/lateral5"]

    def test_lite_cell_cost(self):
        graph = nasfpn(replace(LITE, repeats=2))
        cell = layers_cost(tuple(la for la in graph if la.name.startswith("head/cell1/")))
        block = 9 * 64 + 64 * 64
        assert cell.weights == 6 * block
        assert cell.madds == (1600 + 3 * 400 + 100 + 25) * block
        assert cell.norm_channels == 6 * 64

    def test_the_original_has_seven_nodes_full_convolutions_and_level_7(self):
        graph = nasfpn(NasFpn(64, 1, NASFPN_NODES, top_level=7, separable=False))
        assert [graph[name].shape[1] for name in graph.outputs] == [40, 20, 10, 5, 3]
        cell = layers_cost(tuple(la for la in graph if la.name.startswith("head/cell0/")))
        locations = 1600 + 3 * 400 + 100 + 25 + 9
        assert (cell.weights, cell.madds) == (7 * 9 * 64 * 64, locations * 9 * 64 * 64)
        up = graph["head/cell0/node6/in1/resize"]  # from 3x3 at level 7 to 5x5 at level 6
        assert up.shape == (1, 5, 5, 64)


class TestSsdLite:
    def head(self, size=10, slots=91, head=None):
        builder = GraphBuilder()
        ends = inputs(builder, channels=(8, 576, 1280), sides=(4 * size, 2 * size, size))
        outputs = ssdlite(builder, ends, head or SsdLite(), slots, BatchNorm())
        return builder.graph(outputs)

    def test_extra_maps(self):
        graph = self.head()
        sides = [graph[f"head/map{i}/pointwise"].shape[1] for i in (3, 4, 5, 6)]
        depths = [graph[f"head/map{i}/pointwise"].filters for i in (3, 4, 5, 6)]
        halves = [graph[f"head/map{i}/reduce"].filters for i in (3, 4, 5, 6)]
        assert (sides, depths, halves) == (
            [5, 3, 2, 1],
            [512, 256, 256, 128],
            [256, 128, 128, 64],
        )
        head = [la for la in graph if la.part == "head"]
        assert all(la.attributes.norm and la.attributes.activation == "relu6" for la in head)

    def test_cost_by_formula(self):
        """Head and predictors on 20x20x576 and 10x10x1280, 91 slots."""
        counted = cost_by_part(self.head())
        madds = weights = norms = 0
        source, side = 1280, 10
        maps = [(20, 576, 3), (10, 1280, 6)]
        for depth in (512, 256, 256, 128):
            half, smaller = depth // 2, -(-side // 2)
            madds += side**2 * source * half + smaller**2 * (9 * half + half * depth)
            weights += source * half + 9 * half + half * depth
            norms += half + half + depth
            source, side = depth, smaller
            maps.append((side, depth, 6))
        head = counted["head"]
        assert (head.madds, head.weights, head.norm_channels) == (madds, weights, norms)
        predictor = counted["predictor"]
        assert predictor.madds == sum(
            side**2 * (2 * 9 * c + c * a * (4 + 91)) for side, c, a in maps
        )
        assert predictor.weights == sum(2 * 9 * c + c * a * (4 + 91) for _, c, a in maps)
        assert predictor.biases == sum(a * (4 + 91) for _, _, a in maps)
        assert predictor.norm_channels == sum(2 * c for _, c, _ in maps)
        assert sum(side**2 * a for side, _, a in maps) == 2034

    def test_one_class_on_the_smallest_input(self):
        graph = self.head(size=2, slots=2)
        boxes, scores = (graph[name].shape for name in graph.outputs)
        anchors = 16 * 3 + (4 + 1 + 1 + 1 + 1) * 6
        assert (boxes, scores) == ((1, anchors, 4), (1, anchors, 2))

    def test_predictors_are_not_shared_and_end_in_a_biased_convolution(self):
        graph = self.head()
        assert all(la.attributes.shares is None for la in graph)
        box, scores = (graph[f"predictor/{kind}/map2/pointwise"] for kind in ("box", "class"))
        assert (box.filters, scores.filters) == (24, 6 * 91)
        for last in (box, scores):
            assert last.attributes.bias
            assert last.attributes.norm is None
            assert last.attributes.activation is None
        depthwise = graph["predictor/box/map2/depthwise"]
        assert depthwise.attributes.norm
        assert depthwise.attributes.activation == "relu6"

    def test_other_maps(self):
        graph = self.head(head=SsdLite(extra_depths=(64,), anchors=(1, 2, 3)))
        assert graph[graph.outputs[0]].shape == (1, 400 + 2 * 100 + 3 * 25, 4)


class TestSharedPredictor:
    sides = (40, 20, 10, 5)

    def predictor(self, value, slots=91, channels=48):
        builder = GraphBuilder()
        features = {
            level: builder.input(f"p{level}", (1, side, side, channels))
            for level, side in zip((3, 4, 5, 6), self.sides, strict=True)
        }
        return builder.graph(shared_predictor(builder, features, value, slots))

    @pytest.mark.parametrize("separate", [False, True])
    @pytest.mark.parametrize(
        ("channels", "depth", "anchors", "slots"), [(48, 64, 9, 91), (48, 48, 9, 91), (7, 5, 1, 2)]
    )
    def test_cost_by_formula(self, separate, channels, depth, anchors, slots):
        towers = 2 if separate else 1
        separable = 9 * channels + channels * depth + 3 * (9 * depth + depth**2)
        last = 2 * 9 * depth + depth * anchors * (4 + slots)
        graph = self.predictor(SharedPredictor(depth, separate, anchors), slots, channels)
        counted = cost(graph)
        locations = sum(side**2 for side in self.sides)
        assert counted.madds == locations * (towers * separable + last)
        assert counted.weights == towers * separable + last
        assert counted.biases == anchors * (4 + slots)
        assert counted.norm_channels == towers * 4 * 4 * depth  # per convolution and per level

    def test_the_two_of_the_paper(self):
        """Table 1 and Table 3 (parameters with all of batch norm)."""
        shared = cost(self.predictor(SharedPredictor(64)))
        separate = cost(self.predictor(SharedPredictor(48, separate_towers=True)))
        assert (shared.madds, shared.params) == (155_958_000, 78_343)
        assert (separate.madds, separate.params) == (135_558_000, 70_791)

    def test_shared_convolutions_and_batch_norm_per_level(self):
        graph = self.predictor(SharedPredictor(64))
        owner = "predictor/shared_tower2/level3/pointwise"
        for level in (3, 4, 5, 6):
            layer = graph[f"predictor/shared_tower2/level{level}/pointwise"]
            assert layer.weights_from == owner
            assert layer.attributes.norm == BatchNorm(1e-3, 0.997)
            assert layer.attributes.activation == "relu6"
            depthwise = graph[f"predictor/shared_tower2/level{level}/depthwise"]
            assert depthwise.attributes.norm is None
            assert depthwise.attributes.activation is None

    def test_initial_values(self):
        graph = self.predictor(SharedPredictor(64))
        last = graph["predictor/class/level4/pointwise"].attributes
        assert (last.bias, last.bias_init) == (True, -4.6)
        assert graph["predictor/box/level4/pointwise"].attributes.bias_init == 0
        for layer in graph:
            if layer.weights:
                a = layer.attributes
                assert (a.initializer, a.stddev, a.l2) == ("normal", 0.01, 4e-5)

    def test_outputs(self):
        graph = self.predictor(SharedPredictor(64), slots=4)
        assert graph.outputs == ("predictor/boxes", "predictor/scores")
        assert graph["predictor/boxes"].shape == (1, 19_125, 4)
        assert graph["predictor/logits"].shape == graph["predictor/scores"].shape
        assert graph["predictor/scores"].shape == (1, 19_125, 4)
        assert graph["predictor/boxes"].inputs == tuple(
            f"predictor/box/level{level}/reshape" for level in (3, 4, 5, 6)
        )


def test_batch_norm_of_pyramid_and_ssd_detectors():
    for name, detector in PUBLISHED.items():
        epsilons = {
            la.attributes.norm.epsilon
            for la in detector.graph()
            if la.attributes.norm and la.part != "predictor"
        }
        assert epsilons == ({1e-3} if isinstance(detector.head, SsdLite) else {1e-2}), name


def test_a_detector_of_any_parts():
    """Four-input blocks on MnasNet, NAS-FPN with level 7 on MobileNetV3-Small, one class."""
    blocks = tuple(Block((0, 1, 2, 3), level, 24) for level in (6, 5, 4, 3))
    first = Detector(
        replace(published("mnasneta1-ssdlite").backbone, width=0.35),
        Genotype(16, 2, blocks),
        SharedPredictor(16, separate_towers=True, anchors=1),
        classes=1,
        input_size=64,
    )
    locations = 64 + 16 + 4 + 1
    assert first.graph()["predictor/scores"].shape == (1, locations, 2)
    second = replace(first, head=NasFpn(16, 2, NASFPN_NODES, top_level=7))
    assert second.graph()["predictor/scores"].shape == (1, locations + 1, 2)
