"""The MnasFPN head: unit numbers of every layer, and what each option changes."""

import math
from dataclasses import replace

import pytest

from mnasfpn.models.backbones.endpoints import Endpoints
from mnasfpn.models.detector import default_detector
from mnasfpn.models.genotype import Block, Genotype
from mnasfpn.models.graph.attributes import BatchNorm
from mnasfpn.models.graph.builder import GraphBuilder
from mnasfpn.models.graph.costs import cost_by_part, layers_cost
from mnasfpn.models.heads.mnasfpn import mnasfpn_head
from mnasfpn.models.published import MNASFPN_BLOCKS, published

GRAPH = published("mobilenetv2-mnasfpn").graph()

# (multiply-adds, kernel elements) of the published cell's layers at 320x320, worked out by hand:
# H * W * kernel elements.
REST_OF_EVERY_CELL = {
    "block0/depthwise": (921_600, 2_304),
    "block0/pointwise": (4_915_200, 12_288),
    "block1/in1/conv": (2_457_600, 6_144),
    "block1/depthwise": (1_843_200, 1_152),
    "block1/pointwise": (9_830_400, 6_144),
    "block2/in0/conv": (2_457_600, 6_144),
    "block2/in1/conv": (2_457_600, 6_144),
    "block2/depthwise": (460_800, 1_152),
    "block2/pointwise": (2_457_600, 6_144),
    "block3/in0/conv": (614_400, 6_144),
    "block3/in1/conv": (153_600, 6_144),
    "block3/depthwise": (320_000, 3_200),
    "block3/pointwise": (614_400, 6_144),
    "block4/in0/conv": (115_200, 4_608),
    "block4/in1/conv": (115_200, 4_608),
    "block4/depthwise": (21_600, 864),
    "block4/pointwise": (115_200, 4_608),
}
CELL_0 = REST_OF_EVERY_CELL | {
    "block0/in0/conv": (9_830_400, 24_576),
    "block0/in1/conv": (8_192_000, 81_920),
    "block1/in0/conv": (6_553_600, 4_096),
}
LATER_CELLS = REST_OF_EVERY_CELL | {
    "block0/in0/conv": (4_915_200, 12_288),
    "block0/in1/conv": (1_228_800, 12_288),
    "block1/in0/conv": (9_830_400, 6_144),
}


@pytest.mark.parametrize("cell", range(4))
def test_every_layer_of_the_published_cell(cell):
    prefix = f"head/cell{cell}/"
    layers = tuple(layer for layer in GRAPH if layer.name.startswith(prefix))
    found = {
        layer.name.removeprefix(prefix): (layer.madds, math.prod(layer.weights))
        for layer in layers
        if layer.weights
    }
    assert found == (CELL_0 if cell == 0 else LATER_CELLS)
    total = layers_cost(layers)
    expected = (45_845_600, 114_656, 1_712) if cell else (54_447_200, 194_528, 1_712)
    assert (total.madds, total.weights, total.norm_channels) == expected


def test_c6():
    pool, conv = GRAPH["head/c6/pool"], GRAPH["head/c6/conv"]
    assert pool.op == "max_pool"
    assert (pool.attributes.window, pool.attributes.stride) == ((3, 3), (2, 2))
    assert (conv.madds, math.prod(conv.weights)) == (384_000, 15_360)
    assert conv.attributes.activation is None
    assert conv.attributes.l2 == 0


@pytest.mark.parametrize(
    ("repeats", "sdo", "madds"),
    [
        (4, True, 192_368_000),
        (5, True, 238_213_600),
        (4, False, 236_144_000),
        (5, False, 292_933_600),
    ],
)
def test_head_totals(repeats, sdo, madds):
    genotype = Genotype(48, repeats, MNASFPN_BLOCKS, sdo=sdo)
    assert cost_by_part(default_detector(genotype).graph())["head"].madds == madds


def test_hyper_parameters():
    for layer in GRAPH:
        if layer.attributes.norm and layer.part != "predictor":
            assert layer.attributes.norm == BatchNorm(epsilon=0.01, momentum=0.99), layer.name
        if layer.weights and layer.part == "backbone":
            assert layer.attributes.l2 == 4e-5
        if layer.weights and layer.name.startswith("head/cell"):
            separable = layer.name.endswith(("depthwise", "pointwise"))
            initializer = ("truncated_normal", 0.536) if separable else ("he_normal", 0.0)
            assert (layer.attributes.initializer, layer.attributes.stddev) == initializer
            assert layer.attributes.l2 == 1e-4
        if layer.part == "head":
            activation = "relu6" if layer.name.endswith("/merge") else None
            assert layer.attributes.activation == activation, layer.name
            normed = layer.name.endswith(("/conv", "/pointwise"))
            assert (layer.attributes.norm is not None) == normed, layer.name


def head(genotype, channels=(32, 96, 320), sides=(40, 20, 10)):
    """The head alone on inputs of the backbone's shapes, pruned."""
    builder = GraphBuilder()
    c3, c4, c5 = (
        builder.input(f"c{level}", (1, side, side, size))
        for level, side, size in zip((3, 4, 5), sides, channels, strict=True)
    )
    features = mnasfpn_head(builder, Endpoints(c3, c4, c5, (c4, c5)), genotype)
    return builder.graph(features.values()).prune()


def cell(*first, **options):
    """A genotype of one repeat whose first block is given and read by all outputs."""
    outputs = [Block((4, level - 3), level, 16) for level in (3, 4, 5, 6)]
    return Genotype(channels=8, repeats=1, blocks=(*first, *outputs), **options)


def chain(graph, *names):
    """Operators along a block's input."""
    return [graph[f"head/cell0/{name}"].op for name in names if f"head/cell0/{name}" in graph]


IN0 = ("block0/in0/pool", "block0/in0/conv", "block0/in0/resize")


def test_down_sampling_pools_before_the_convolution():
    graph = head(cell(Block((0, 1), 5, 64)))
    pool, conv = graph["head/cell0/block0/in0/pool"], graph["head/cell0/block0/in0/conv"]
    assert (pool.inputs, pool.shape, conv.inputs) == (("c3",), (1, 10, 10, 32), (pool.name,))
    assert (pool.attributes.window, pool.attributes.stride) == ((3, 3), (4, 4))
    assert pool.attributes.padding == "same"
    assert conv.shape == (1, 10, 10, 64)


def test_without_sdo_the_convolution_comes_first():
    graph = head(cell(Block((0, 1), 5, 64), sdo=False))
    pool, conv = graph["head/cell0/block0/in0/pool"], graph["head/cell0/block0/in0/conv"]
    assert (conv.inputs, conv.shape, pool.inputs) == (("c3",), (1, 40, 40, 64), (conv.name,))
    assert pool.shape == (1, 10, 10, 64)


@pytest.mark.parametrize("sdo", [True, False])
def test_up_sampling_convolves_at_the_smaller_size(sdo):
    graph = head(cell(Block((3, 0), 3, 64), sdo=sdo))
    conv, resize = graph["head/cell0/block0/in0/conv"], graph["head/cell0/block0/in0/resize"]
    assert (conv.shape, resize.inputs, resize.shape) == (
        (1, 5, 5, 64),
        (conv.name,),
        (1, 40, 40, 64),
    )
    assert resize.op == "resize_nearest"


def test_equal_level_and_equal_channels_still_convolve():
    graph = head(cell(Block((3, 0), 6, None)))
    assert chain(graph, *IN0) == ["conv"]
    assert graph["head/cell0/block0/in0/conv"].weights == (1, 1, 8, 8)


def test_without_expansion_f_is_c():
    graph = head(cell(Block((0, 1), 4, None)))
    assert graph["head/cell0/block0/merge"].shape == (1, 20, 20, 8)
    assert graph["head/cell0/block0/depthwise"].weights == (3, 3, 8, 1)


@pytest.mark.parametrize("inputs", [(0, 1), (2, 0, 3), (3, 1, 0, 2)])
def test_two_to_four_inputs_are_summed_and_activated_once(inputs):
    graph = head(cell(Block(inputs, 4, 24, kernel=7)))
    adds = [la for la in graph if la.op == "add" and la.name.startswith("head/cell0/block0/")]
    assert len(adds) == len(inputs) - 1
    assert [la.attributes.activation for la in adds] == [None] * (len(inputs) - 2) + ["relu6"]
    terms = {name for add in adds for name in add.inputs} - {add.name for add in adds}
    assert len(terms) == len(inputs)
    assert graph["head/cell0/block0/depthwise"].weights == (7, 7, 24, 1)


@pytest.mark.parametrize(
    ("inputs", "coarse", "fine"), [((0, 2), "in1", "in0"), ((2, 0), "in0", "in1")]
)
def test_squeeze_excite_gates_the_finer_input_by_the_coarser(inputs, coarse, fine):
    graph = head(cell(Block(inputs, 4, 24, merge="se")))
    name = "head/cell0/block0"
    (squeezed,) = graph[f"{name}/squeeze"].inputs
    assert graph[f"{name}/squeeze"].op == "global_max_pool"
    assert squeezed.startswith(f"{name}/{coarse}/")
    gated, gate = graph[f"{name}/gated"].inputs
    assert gated.startswith(f"{name}/{fine}/")
    assert (gate, graph[gate].op) == (f"{name}/gate", "sigmoid")
    assert graph[f"{name}/merge"].inputs == (squeezed, f"{name}/gated")
    assert graph[f"{name}/merge"].attributes.activation == "relu6"


@pytest.mark.parametrize(("inputs", "squeezed"), [((1, 4), "in0"), ((4, 1), "in0")])
def test_squeeze_excite_at_equal_levels_squeezes_the_first(inputs, squeezed):
    blocks = (Block((0, 1), 4, 24), Block(inputs, 4, 24, merge="se"))
    outputs = tuple(Block((5, level - 3), level, 16) for level in (3, 4, 5, 6))
    graph = head(Genotype(8, 1, blocks + outputs))
    (source,) = graph["head/cell0/block1/squeeze"].inputs
    assert source == f"head/cell0/block1/{squeezed}/conv"


def test_cell_residual_only_where_shapes_agree():
    repeated = replace(cell(Block((0, 1), 4, 24)), repeats=2)
    residuals = [la.name for la in head(repeated) if "/output" in la.name]
    assert residuals == ["head/cell0/output6", *(f"head/cell1/output{n}" for n in (3, 4, 5, 6))]
    graph = head(repeated)
    assert graph["head/cell1/output4"].inputs == (
        "head/cell1/block2/pointwise",
        "head/cell0/block2/pointwise",
    )
    assert graph["head/cell1/output4"].attributes.activation is None


def test_residual_needs_equal_channels_not_the_second_cell():
    """A backbone that already has C channels gets the residual in the first cell."""
    graph = head(cell(Block((0, 1), 4, 24)), channels=(32, 8, 320))
    assert [la.name for la in graph if "/output" in la.name] == [
        "head/cell0/output4",
        "head/cell0/output6",
    ]


def test_no_cell_residual():
    genotype = replace(cell(Block((0, 1), 4, 24), cell_residual=False), repeats=3)
    assert not [la for la in head(genotype) if "/output" in la.name]


def test_blocks_read_the_others_results_before_the_residual():
    """Block 2 reads block 1, which is an output: without that output's residual."""
    later = published("mobilenetv2-mnasfpn").graph()["head/cell1/block2/in0/pool"]
    assert later.inputs == ("head/cell1/block1/pointwise",)


def test_outputs_in_any_order_come_out_in_level_order():
    blocks = tuple(Block((0, 1), level, 16) for level in (6, 3, 5, 4))
    graph = head(Genotype(8, 1, blocks, cell_residual=False))
    assert [graph[name].shape[1] for name in graph.outputs] == [40, 20, 10, 5]
