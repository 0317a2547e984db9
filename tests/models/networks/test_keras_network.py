"""The Keras build: parameters, weights in and out, training attributes, saving."""

import subprocess
import sys

import numpy as np
import pytest

from mnasfpn.errors import InvalidInput
from mnasfpn.models.graph.attributes import Attributes, BatchNorm
from mnasfpn.models.graph.builder import GraphBuilder
from mnasfpn.models.graph.costs import cost
from mnasfpn.models.graph.graph import Graph
from mnasfpn.models.graph.layer import Layer
from mnasfpn.models.graph.weights import random_weights
from mnasfpn.models.heads.predictor import SharedPredictor, shared_predictor
from mnasfpn.models.networks.keras_network import build_keras, keras_weights, set_keras_weights
from mnasfpn.models.published import published

pytestmark = pytest.mark.slow  # Keras takes seconds to load


def pyramid() -> Graph:
    """Every kind of Keras node: shared layers, norms, a resize, a shift and a constant."""
    builder = GraphBuilder()
    image = builder.input("image", (1, 8, 8, 3))
    norm = BatchNorm(epsilon=0.02, momentum=0.9)
    fine = builder.conv("head/fine", image, 4, 3, 2, norm=norm, l2=1e-4, activation="relu6")
    pooled = builder.max_pool("head/pool", fine, 3, 2)
    gate = builder.conv("head/gate", pooled, 4, shift=3.0, activation="relu6", bias=True)
    scaled = builder.unary("head/scaled", "mul", gate, constant=1 / 6)
    up = builder.resize_nearest("head/up", scaled, 4, 4)
    merged = builder.add("head/merge", fine, up, activation="relu6")
    features = {3: merged, 4: pooled}
    outputs = shared_predictor(builder, features, SharedPredictor(depth=4, anchors=2), slots=3)
    return builder.graph(outputs)


def image(batch=1):
    return np.random.default_rng(0).uniform(-1, 1, (batch, 8, 8, 3)).astype(np.float32)


def test_as_many_parameters_as_the_cost_counts():
    graph = published("mobilenetv2-mnasfpn").graph()
    model = build_keras(graph)
    assert model.count_params() == cost(graph).params == 2_503_047
    assert [tuple(o.shape[1:]) for o in model.outputs] == [(19125, 4), (19125, 91)]


def test_weights_come_back_as_they_went_in():
    graph = pyramid()
    weights = random_weights(graph, 0, random_norm=True)
    found = keras_weights(build_keras(graph, weights), graph)
    assert found.keys() == weights.keys()
    assert all((found[key] == weights[key]).all() for key in weights)


def test_any_batch_size():
    model = build_keras(pyramid())
    boxes, scores = model(image(batch=3))
    assert (boxes.shape, scores.shape) == ((3, 40, 4), (3, 40, 3))


def test_calling_without_a_training_argument_is_inference():
    """No layer between may switch those after it to batch statistics."""
    graph = pyramid()
    model = build_keras(graph, random_weights(graph, 0, random_norm=True))
    before = keras_weights(model, graph)
    plain = model(image(2))
    after = keras_weights(model, graph)
    assert all((before[key] == after[key]).all() for key in before)
    for one, other in zip(plain, model(image(2), training=False), strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


def test_training_uses_batch_statistics_with_the_graph_s_momentum():
    graph = pyramid()
    model = build_keras(graph, random_weights(graph, 0))
    x = image(4)
    fine = Graph(graph.layers, ("head/fine",)).prune()
    conv = Graph(
        tuple(
            Layer(la.name, la.op, la.inputs, la.shape, la.weights, Attributes(stride=(2, 2)))
            if la.name == "head/fine"
            else la
            for la in fine
        ),
        ("head/fine",),
    )
    before = np.asarray(build_keras(conv, keras_weights(model, conv))(x))
    model(x, training=True)
    moved = keras_weights(model, fine)["head/fine/mean"]
    np.testing.assert_allclose(moved, 0.1 * before.mean(axis=(0, 1, 2)), rtol=1e-4, atol=1e-6)


def test_a_shared_kernel_is_one_layer_with_a_norm_for_each_level():
    names = [layer.name for layer in build_keras(pyramid()).layers]
    assert sum("tower0" in name and name.endswith("pointwise") for name in names) == 1
    assert sum("tower0" in name and name.endswith("pointwise-norm") for name in names) == 2


def test_regularisers_and_initialisers_are_the_attributes():
    model = build_keras(pyramid())
    fine = model.get_layer("head-fine")
    assert fine.kernel_regularizer.l2 == pytest.approx(1e-4)
    assert model.get_layer("head-gate").kernel_regularizer is None
    # A loss of l2 * sum of squares, for each of the layers with one.
    towers = [layer for layer in model.layers if "-level3-" in layer.name and layer.weights]
    kernels = [v for layer in [fine, *towers] for v in layer.trainable_variables if v.ndim == 4]
    expected = sum(
        (1e-4 if kernel is fine.kernel else 4e-5) * float(np.square(kernel.numpy()).sum())
        for kernel in kernels
    )
    assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-5)
    bias = model.get_layer("predictor-class-level3-pointwise").bias
    assert bias.numpy().tolist() == pytest.approx([-4.6] * 6)


def test_logits_can_be_trained_on_with_the_weights_of_the_whole():
    graph = pyramid()
    weights = random_weights(graph, 0, random_norm=True)
    logits_graph = graph.prune(("predictor/boxes", "predictor/logits"))
    trained = build_keras(logits_graph, weights)
    _, logits = trained(image())
    whole = build_keras(graph)
    set_keras_weights(whole, graph, keras_weights(trained, graph))
    _, scores = whole(image())
    expected = 1 / (1 + np.exp(-np.asarray(logits)))
    np.testing.assert_allclose(np.asarray(scores), expected, rtol=1e-5)


def test_several_inputs_are_a_list_in_the_graph_s_order():
    builder = GraphBuilder()
    a, b = builder.input("z_first", (1, 2, 2, 1)), builder.input("a_second", (1, 2, 2, 1))
    model = build_keras(builder.graph([builder.add_layer("d", "sub", (a, b), None)]))
    out = model([np.full((1, 2, 2, 1), 5.0), np.full((1, 2, 2, 1), 3.0)])
    assert (np.asarray(out) == 2).all()


def test_names_that_keras_would_choose_itself_do_not_collide():
    builder = GraphBuilder()
    x = builder.input("x", (1, 2, 2, 1))
    for name in ("add", "add_1", "resize", "multiply"):
        x = builder.add(name, x, x)
        x = builder.unary(f"{name}/constant", "add", x, constant=1.0)
        x = builder.resize_nearest(f"{name}/up", x, 2, 2)
    assert np.asarray(build_keras(builder.graph([x]))(np.zeros((1, 2, 2, 1)))).max() == 15


def test_saved_models_load_where_this_package_is_not(tmp_path):
    """Only Keras' own layers: no custom objects to register."""
    graph = pyramid()
    model = build_keras(graph, random_weights(graph, 0, random_norm=True))
    model.save(tmp_path / "m.keras")
    np.save(tmp_path / "x.npy", image())
    script = (
        "import sys, keras, numpy as np\n"
        f"m = keras.models.load_model({str(tmp_path / 'm.keras')!r})\n"
        f"np.savez({str(tmp_path / 'y.npz')!r}, *m(np.load({str(tmp_path / 'x.npy')!r})))\n"
        "assert not any(name.startswith('mnasfpn') for name in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path)
    with np.load(tmp_path / "y.npz") as loaded:
        for name, expected in zip(loaded, model(image()), strict=True):
            np.testing.assert_allclose(loaded[name], np.asarray(expected), rtol=1e-6)


def test_weights_of_another_model_are_refused():
    graph = pyramid()
    with pytest.raises(InvalidInput, match="arrays are missing: head/fine/kernel"):
        build_keras(graph, {})
    builder = GraphBuilder()
    other = builder.graph([builder.conv("other", builder.input("x", (1, 2, 2, 1)), 1)])
    with pytest.raises(InvalidInput, match="Keras model has no layer 'other'"):
        keras_weights(build_keras(graph), other)


@pytest.mark.parametrize(
    ("op", "label"), [("foreign", "GATHER"), ("add", ""), ("prelu", ""), ("quantize", "")]
)
def test_what_cannot_be_built_is_named(op, label):
    shape = (1, 2, 2, 1)
    source = Layer("x", "input", (), shape, None, Attributes(target=shape))
    layer = Layer("f", op, ("x",), shape, None, Attributes(target=shape, label=label))
    with pytest.raises(InvalidInput, match=f"'f': operator '{label or op}' cannot be built"):
        build_keras(Graph((source, layer), ("f",)))
