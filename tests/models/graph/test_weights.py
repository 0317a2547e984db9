"""Weights: the arrays a graph needs, initialisers by their moments, folding by hand."""

import numpy as np
import pytest

from mnasfpn.errors import InvalidInput
from mnasfpn.models.graph.attributes import BatchNorm
from mnasfpn.models.graph.builder import GraphBuilder
from mnasfpn.models.graph.costs import cost
from mnasfpn.models.graph.weights import (
    benchmark_weights,
    check_weights,
    fold,
    random_weights,
    weight_shapes,
)
from mnasfpn.models.published import published


def single(op="conv", channels=2, filters=3, **attributes):
    """One layer ``c`` on a 4x4 input."""
    builder = GraphBuilder()
    source = builder.input("x", (1, 4, 4, channels))
    if op == "conv":
        builder.conv("c", source, filters, **attributes)
    else:
        builder.depthwise("c", source, attributes.pop("kernel"), **attributes)
    return builder.graph(("c",))


def shared_tower():
    """Two levels with one kernel, a batch norm each; then a shared biased layer without norm."""
    builder = GraphBuilder()
    names = []
    for level, size in (("a", 4), ("b", 2)):
        x = builder.input(f"in_{level}", (1, size, size, 2))
        shares = {part: None if level == "a" else f"a/{part}" for part in ("conv", "head")}
        x = builder.conv(f"{level}/conv", x, 2, norm=BatchNorm(), shares=shares["conv"])
        names.append(builder.conv(f"{level}/head", x, 3, bias=True, shares=shares["head"]))
    return builder.graph(names)


def test_keys_stand_under_the_owner_and_norms_under_every_layer():
    vectors = ("gamma", "beta", "mean", "variance")
    assert weight_shapes(shared_tower()) == {
        "a/conv/kernel": (1, 1, 2, 2),
        **{f"a/conv/{v}": (2,) for v in vectors},
        "a/head/kernel": (1, 1, 2, 3),
        "a/head/bias": (3,),
        **{f"b/conv/{v}": (2,) for v in vectors},
    }


def test_as_many_elements_as_the_paper_counts_parameters():
    graph = published("mobilenetv2-mnasfpn").graph()
    assert sum(array.size for array in random_weights(graph, 0).values()) == 2_503_047
    assert cost(graph).params == 2_503_047


def test_the_same_seed_gives_the_same_weights():
    graph = shared_tower()
    one, two, other = (random_weights(graph, seed, random_norm=True) for seed in (7, 7, 8))
    assert all((one[key] == two[key]).all() for key in one)
    assert (one["a/conv/kernel"] != other["a/conv/kernel"]).all()


@pytest.mark.parametrize(
    ("initializer", "expected", "limit"),
    [
        # He et al. 2015, drawn from a normal cut off at two sigma as Keras does.
        ("he_normal", (2 / 128) ** 0.5, 2 * (2 / 128) ** 0.5 / 0.8796),
        ("truncated_normal", 0.05 * 0.8796, 0.1),
        ("normal", 0.05, None),
    ],
)
def test_initialisers_have_their_spread(initializer, expected, limit):
    graph = single(channels=128, filters=512, initializer=initializer, stddev=0.05)
    kernel = random_weights(graph, 3)["c/kernel"]
    assert kernel.dtype == np.float32
    assert kernel.std() == pytest.approx(expected, rel=0.02)
    assert kernel.mean() == pytest.approx(0, abs=4 * expected / kernel.size**0.5)
    assert np.abs(kernel).max() > (limit or 3.5 * expected) * 0.98
    assert limit is None or np.abs(kernel).max() <= limit * 1.001


def test_bias_and_norm_start_as_the_attributes_say():
    weights = random_weights(single(bias=True, bias_init=-4.6, norm=BatchNorm()), 0)
    assert weights["c/bias"].tolist() == pytest.approx([-4.6] * 3)
    for vector, value in (("gamma", 1), ("beta", 0), ("mean", 0), ("variance", 1)):
        assert weights[f"c/{vector}"].tolist() == [value] * 3


def test_folding_by_hand():
    """(x * 2 + 5 - 1) * 3 / sqrt(3.75 + 0.25) + 7 = 3 x + 13; another 2 from the shift."""
    graph = single(channels=1, filters=1, bias=True, norm=BatchNorm(epsilon=0.25), shift=2.0)
    given = {"kernel": 2, "bias": 5, "gamma": 3, "beta": 7, "mean": 1, "variance": 3.75}
    weights = {f"c/{key}": np.full((1,), value, np.float32) for key, value in given.items()}
    weights["c/kernel"] = weights["c/kernel"].reshape(1, 1, 1, 1)
    kernel, bias = fold(graph, weights)["c"]
    assert (kernel.item(), bias.item()) == (3.0, 15.0)


def test_folding_a_depthwise_kernel_scales_each_channel_by_its_own():
    graph = single("depthwise", kernel=3, norm=BatchNorm(epsilon=0.0))
    weights = random_weights(graph, 0)
    weights["c/gamma"] = np.array([2, -3], np.float32)
    kernel, _ = fold(graph, weights)["c"]
    expected = weights["c/kernel"] * np.array([2, -3]).reshape(1, 1, 2, 1)
    np.testing.assert_allclose(kernel, expected, rtol=1e-6)


def test_a_shared_kernel_folds_to_another_one_for_each_norm():
    graph = shared_tower()
    folded = fold(graph, random_weights(graph, 0, random_norm=True))
    assert not np.allclose(folded["a/conv"][0], folded["b/conv"][0])
    # Without a norm between, it stays one array, so that a file holds it once.
    assert folded["a/head"][0] is folded["b/head"][0]
    assert folded["a/head"][1] is folded["b/head"][1]


def test_missing_arrays_are_named():
    graph = shared_tower()
    weights = random_weights(graph, 0)
    del weights["b/conv/mean"], weights["a/head/kernel"]
    with pytest.raises(InvalidInput, match=r"2 of 11 .*missing: a/head/kernel, b/conv/mean; give"):
        fold(graph, weights)


def test_a_misshapen_array_is_named():
    weights = random_weights(single(), 0) | {"c/kernel": np.zeros((1, 1, 2, 4), np.float32)}
    with pytest.raises(InvalidInput, match=r"'c/kernel' have shape \(1, 1, 2, 4\), expected"):
        check_weights(single(), weights)


@pytest.mark.parametrize(
    ("key", "value"), [("kernel", np.nan), ("gamma", np.inf), ("variance", -1)]
)
def test_impossible_values_are_refused(key, value):
    graph = single(norm=BatchNorm())
    weights = random_weights(graph, 0)
    weights[f"c/{key}"][..., 0] = value
    with pytest.raises(InvalidInput, match=rf"'c/{key}' hold values that cannot be"):
        fold(graph, weights)


def test_arrays_of_other_layers_may_be_there():
    graph = shared_tower()
    weights = random_weights(graph, 0)
    pruned = graph.prune(("a/head",))
    assert set(fold(pruned, weights)) == {"a/conv", "a/head"}


def test_benchmark_weights_have_the_shapes_and_the_sharing_of_folded_ones():
    graph = published("mobilenetv2-mnasfpn").graph()
    folded = fold(graph, random_weights(graph, 0))
    drawn = benchmark_weights(graph, 0)
    assert {n: (k.shape, b.shape) for n, (k, b) in drawn.items()} == {
        n: (k.shape, b.shape) for n, (k, b) in folded.items()
    }
    assert len({id(k) for k, _ in drawn.values()}) == len({id(k) for k, _ in folded.values()})


def test_benchmark_kernels_keep_activations_in_scale():
    """Variance 2 / fan-in, where a depthwise channel's fan-in is its window alone."""
    conv = benchmark_weights(single(channels=256, filters=256), 1)["c"][0]
    assert conv.var() == pytest.approx(2 / 256, rel=0.05)
    depthwise = benchmark_weights(single("depthwise", channels=4096, kernel=3), 1)["c"][0]
    assert depthwise.var() == pytest.approx(2 / 9, rel=0.05)
