"""What the benchmark prints of real phones, asserted; and the bundled profile, without any data."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from mnasfpn.benchmarks.phones import __main__ as phones
from mnasfpn.benchmarks.phones import cells, pixel1, real_cnns
from mnasfpn.benchmarks.phones.figures import read_rows
from mnasfpn.benchmarks.phones.nasbench201 import network
from mnasfpn.errors import InvalidInput
from mnasfpn.latency.estimate.estimate import Estimator, estimate
from mnasfpn.latency.kernels.kernel import Kernel
from mnasfpn.latency.profile.device_profile import load_profile
from mnasfpn.models.detector import default_detector
from mnasfpn.models.graph.costs import cost
from mnasfpn.models.published import PAPER, published
from mnasfpn.search.search_space import SPACES, search_space

PIXEL4, SNAPDRAGON855 = phones.CPU_COLUMNS[:2]
PIXEL4_CNNS = "pixel4_1large_float_ms"
SEEDS = (0, 1, 2)


@pytest.fixture(scope="module")
def data():
    if not phones.DATA.is_dir():
        pytest.skip(f"{phones.DATA} is not there: others' measurements are no part of the package")
    return phones.DATA


@pytest.fixture(scope="module")
def some_cells(data):
    """400 of the 1,000 cells: every one is built under four rules."""
    rows = cells.read_cells(data / phones.CELLS)
    return [rows[i] for i in np.random.default_rng(5).permutation(len(rows))[:400]]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, *(pytest.param(s, marks=pytest.mark.proof) for s in (1, 2))])
def test_connectivity_explains_cells_on_a_pixel_4(some_cells, seed):
    order = np.random.default_rng(seed).permutation(len(some_cells))
    train, test = ([some_cells[i] for i in part] for part in (order[:150], order[150:]))
    connected, every_edge = cells.compare_rules(train, test, PIXEL4)
    found = connected.agreement
    assert found.r2.value >= 0.99
    assert found.rmspe.value <= 0.035
    assert found.within_10.value >= 0.99
    assert every_edge.agreement.r2.value < 0.9
    assert every_edge.agreement.rmspe.value > 3 * found.rmspe.value


@pytest.mark.slow
def test_connectivity_beats_all_edges_on_a_snapdragon_855(some_cells):
    connected, every_edge = cells.compare_rules(some_cells[:150], some_cells[150:], SNAPDRAGON855)
    assert connected.agreement.r2.value >= 0.97
    assert every_edge.agreement.r2.value < 0.85


@pytest.mark.slow
def test_the_learning_curve_starts_high(some_cells):
    """Twenty cells do what three hundred do: rates are few."""
    curve = cells.learning_curve(some_cells[:150], some_cells[150:], PIXEL4)
    assert [row.trained_on for row in curve] == [20, 50, 100]
    assert all(row.agreement.within_10.value >= 0.98 for row in curve)


def test_the_network_of_a_cell_costs_what_is_published():
    """NAS-Bench-201's own figures for the cell of six 3x3 convolutions.

    It counts a multiply-add for each bias of the classifier, and the batch norm before the last
    ReLU, which a runtime computes as part of no convolution and which is not in the graph.
    """
    convolution = "nor_conv_3x3"
    found = cost(
        network(
            f"|{convolution}~0|+|{convolution}~0|{convolution}~1|"
            f"+|{convolution}~0|{convolution}~1|{convolution}~2|"
        )
    )
    assert found.madds + found.biases == 220_119_690
    last_norm = 2 * 64
    assert found.weights + found.biases + 2 * found.norm_channels + last_norm == 1_531_546


@pytest.mark.slow
def test_real_networks_left_out_one_at_a_time(data):
    rows = read_rows(data / phones.CNNS, "model")
    lists = real_cnns.read_operators(data / phones.OPERATORS)
    found = real_cnns.leave_one_out(real_cnns.timed_models(rows, lists, PIXEL4_CNNS), "Pixel 4")
    assert found.agreement.models == 68
    assert found.agreement.r2.value >= 0.99
    assert found.agreement.mape.value <= 0.05


@pytest.mark.parametrize("seed", SEEDS)
def test_real_networks_from_half_of_them(data, seed):
    """Other splits: all but ten for training, drawn at random."""
    rows = read_rows(data / phones.CNNS, "model")
    lists = real_cnns.read_operators(data / phones.OPERATORS)
    models = real_cnns.timed_models(rows, lists, PIXEL4_CNNS)
    order = np.random.default_rng(seed).permutation(len(models))
    train, test = ([models[i] for i in part] for part in (order[10:], order[:10]))
    found = real_cnns.train_and_test(train, test, "Pixel 4").agreement
    assert found.r2.value >= 0.98
    assert found.mape.value <= 0.08


@pytest.mark.slow
def test_real_networks_with_a_third_left_out(data):
    """Leaving one out at a time promises more than leaving a third out holds."""
    rows = read_rows(data / phones.CNNS, "model")
    lists = real_cnns.read_operators(data / phones.OPERATORS)
    models = real_cnns.timed_models(rows, lists, PIXEL4_CNNS)
    found = real_cnns.random_splits(models, "Pixel 4", splits=20)
    assert (found.splits, found.trained_on, found.tested_on) == (20, 45, 23)
    assert found.mape.low <= found.mape.mean <= found.mape.high <= 0.1
    assert found.r2.mean >= 0.97
    one = real_cnns.leave_one_out(models, "Pixel 4").agreement
    assert found.mape.mean > one.mape.value
    text = phones.markdown({}, [found])
    assert f"## {phones.THIRD_LEFT_OUT}" in text
    assert f"| Pixel 4 | 20 | 45 | 23 | {found.r2.mean:.4f} [" in text


def test_the_papers_detectors_from_classifiers(data):
    found, _ = pixel1.paper_detectors(phones.pixel1_models(data))
    assert found.agreement.models == 11
    assert found.agreement.r2.value >= 0.97
    assert abs(found.worst_error) <= 0.08


def test_classifiers_from_other_architectures(data):
    """One factor for the version of the runtime, calibrated on all but the one predicted."""
    rows = pixel1.leave_one_architecture_out(phones.pixel1_models(data))
    calibrated = {row.what: row.agreement for row in rows if "one factor" in row.what}
    assert len(calibrated) == 3
    assert all(found.r2.value >= 0.96 for found in calibrated.values())


@pytest.mark.slow
def test_the_papers_detectors_from_other_classifiers(data):
    """Twelve random splits, each with a quarter of the classifiers and blocks left out of the fit.

    Single rows decide a rate here (the one classifier block, three MobileNetV3): a split that
    leaves them out is worse, but no detector is ever more than 11 % off.
    """
    models = phones.pixel1_models(data)
    found = []
    for seed in range(12):
        order = np.random.default_rng(seed).permutation(len(models))
        found.append(pixel1.paper_detectors([models[i] for i in order[len(models) // 4 :]])[0])
    assert np.median([row.agreement.r2.value for row in found]) >= 0.97
    assert min(row.agreement.r2.value for row in found) >= 0.9
    assert max(abs(row.worst_error) for row in found) <= 0.11
    assert np.median([abs(row.worst_error) for row in found]) <= 0.08


def test_the_bundled_profile_answers_without_a_phone():
    """183 ms is what the paper measured for its first detector."""
    profile = load_profile(pixel1.BUNDLED / "pixel1-published.json")
    assert profile.provenance == "published"
    assert len(profile.sources) == 4
    found = estimate(published("mobilenetv2-mnasfpn").graph(), profile)
    assert found.low_ms <= 183 <= found.high_ms
    assert found.latency_ms == pytest.approx(183, rel=0.05)
    assert "held-out models" in found.accuracy


@pytest.mark.parametrize("name", pixel1.DETECTORS)
def test_the_bundled_profile_on_the_papers_detectors(name):
    profile = load_profile(pixel1.BUNDLED / "pixel1-published.json")
    latency_ms = estimate(published(name).graph(), profile).latency_ms
    assert latency_ms == pytest.approx(PAPER[name].latency_ms, rel=0.08)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        pytest.param(name, count, marks=marks)
        for name in SPACES
        for count, marks in ((6, ()), (200, pytest.mark.proof))
    ],
)
def test_the_bundled_profile_covers_what_the_paper_searched(name, count):
    """Random cells of each space, as a search asks for them: between 100 ms and a second."""
    estimator = Estimator(load_profile(pixel1.BUNDLED / "pixel1-published.json"))
    for cell in search_space(name).sample(np.random.default_rng(1), count):
        found = estimator.estimate(default_detector(cell).graph())
        assert not found.uncovered
        assert 100 < found.low_ms < found.latency_ms < found.high_ms < 1000
        assert found.high_ms < 1.2 * found.latency_ms


SQUEEZED = "global_max_pool 1x20x20x64 -> 1x1x1x64"


def test_kinds_that_no_model_has_are_physics_with_wider_intervals():
    """A global max pool moves its data as a global average pool does; how fast is less sure."""
    profile = load_profile(pixel1.BUNDLED / "pixel1-published.json")
    estimator = Estimator(profile)
    pool, known = (
        estimator.kernel(Kernel.parse(text))
        for text in (SQUEEZED, SQUEEZED.replace("max", "average"))
    )
    assert pool.net_us == pytest.approx(known.net_us)
    assert (pool.source, known.source) == ("extrapolation", "regression")
    assert pool.half_width > 10 * known.half_width
    physics = {kind: each for kind, each in profile.regressors.items() if not each.count}
    assert {"global_max_pool", "max_pool", "resize_nearest"} <= physics.keys()
    data = [each.half_width for each in profile.regressors.values() if each.count]
    assert min(each.half_width for each in physics.values()) > 10 * max(data)


def test_a_cell_with_more_that_is_physics_has_a_wider_interval():
    """The same cell with sums in place of squeeze-and-excite."""
    estimator = Estimator(load_profile(pixel1.BUNDLED / "pixel1-published.json"))
    squeezed = next(
        cell
        for cell in search_space("mnasfpn").sample(np.random.default_rng(2), 20)
        if sum(block.merge == "se" for block in cell.blocks) >= 5
    )
    added = replace(squeezed, blocks=tuple(replace(b, merge="add") for b in squeezed.blocks))
    found, plainer = (
        estimator.estimate(default_detector(cell).graph()) for cell in (squeezed, added)
    )
    assert found.latency_ms > plainer.latency_ms
    assert found.high_ms / found.latency_ms > plainer.high_ms / plainer.latency_ms


def test_more_cells_take_longer():
    estimator = Estimator(load_profile(pixel1.BUNDLED / "pixel1-published.json"))
    (cell,) = search_space("conn-search").sample(np.random.default_rng(3), 1)
    found = [
        estimator.estimate(default_detector(replace(cell, repeats=count)).graph()).latency_ms
        for count in (1, 2, 3, 4)
    ]
    assert found == sorted(set(found))


def test_the_bundled_profile_is_what_the_data_gives(data):
    """Renewing it changes nothing: no number in it is older than the code."""
    bundled = load_profile(pixel1.BUNDLED / "pixel1-published.json")
    made = pixel1.profile(phones.pixel1_models(data))
    graph = published("mobilenetv2-mnasfpn").graph()
    assert estimate(graph, bundled).latency_ms == pytest.approx(
        estimate(graph, made).latency_ms, rel=1e-6
    )
    assert bundled.calibration.half_width == pytest.approx(made.calibration.half_width, rel=1e-6)


def run(*arguments):
    """The command line, as ``python -m mnasfpn.benchmarks.phones`` calls it."""
    return CliRunner().invoke(phones.main, list(map(str, arguments)))


def split_file(source, folder, shares=(0.7, 1.0), most=None):
    """Two files of the rows of one, in their order."""
    rows = read_rows(source)[:most]
    cut = int(len(rows) * shares[0])
    paths = []
    for name, part in (("train.csv", rows[:cut]), ("test.csv", rows[cut:])):
        with (folder / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, part[0].keys())
            writer.writeheader()
            writer.writerows(part)
        paths.append(folder / name)
    return paths


def figures_of(result):
    assert result.exit_code == 0, result.output
    ((_, rows),) = json.loads(result.stdout).items()
    return rows


def test_train_and_test_on_files_of_networks(data, tmp_path):
    train, test = split_file(data / phones.CNNS, tmp_path)
    lists = data / phones.OPERATORS
    rows = figures_of(run("--train", train, "--test", test, "--ops", lists, "--json"))
    assert rows[0]["what"] == "pixel4_1large_float"
    assert rows[0]["trained_on"] == 47
    assert rows[0]["agreement"]["models"] == 21
    missing = run("--train", train, "--test", test)
    assert missing.exit_code == 2
    assert "cannot read" in missing.output
    assert "qed_real_cnns_ops.csv" in missing.output


def test_train_and_test_on_files_of_classifiers(data, tmp_path):
    train, test = split_file(data / phones.PIXEL1, tmp_path, most=24)
    rows = figures_of(run("--train", train, "--test", test, "--json"))
    assert [row["what"].rpartition(", ")[2] for row in rows] == ["as predicted", "leave-one-out"]


@pytest.mark.slow
def test_train_and_test_on_files_of_cells(data, tmp_path):
    train, test = split_file(data / phones.CELLS, tmp_path, most=60)
    rows = figures_of(run("--train", train, "--test", test, "--json"))
    assert rows[0]["what"].startswith(PIXEL4.removesuffix("_ms"))
    assert rows[0]["agreement"]["models"] == 18
    assert rows[0]["agreement"]["rmspe"]["value"] < rows[1]["agreement"]["rmspe"]["value"]


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ("a,b\n1,2\n", "a,b\n1,2\n", "have no known layout in common"),
        ("nb201_index,arch_str,x_ms\n", "model,flops,x_ms\n", "have no known layout in common"),
        ("arch_str,nb201_index,x_ms\n|none~0|,1,2\n", None, "a NAS-Bench-201 cell has 3 nodes"),
    ],
)
def test_files_of_a_wrong_layout(train, test, message, tmp_path):
    for name, text in (("train.csv", train), ("test.csv", test or train)):
        (tmp_path / name).write_text(text)
    result = run("--train", tmp_path / "train.csv", "--test", tmp_path / "test.csv")
    assert result.exit_code == 2
    assert message in result.output


def test_a_latency_that_is_no_number_is_named(tmp_path):
    (tmp_path / "a.csv").write_text("model,width,resolution,runtime,latency_ms\n")
    with (tmp_path / "a.csv").open("a") as file:
        file.write("mobilenet_v2,1.0,224,TFLite,fast\n")
    result = run("--train", tmp_path / "a.csv", "--test", tmp_path / "a.csv")
    assert result.exit_code == 2
    assert "column 'latency_ms' holds 'fast', expected a number" in result.output


def test_options_that_do_not_fit(tmp_path):
    alone = run("--train", tmp_path / "a.csv")
    assert alone.exit_code == 2
    assert "--train and --test belong together" in alone.output
    nothing = run("--data", tmp_path / "nowhere")
    assert nothing.exit_code == 2
    assert "name the one that holds nasbench201_cells_on_phones.csv with --data" in nothing.output
    absent = run("--train", tmp_path / "a.csv", "--test", Path("b.csv"))
    assert absent.exit_code == 2
    assert "cannot read" in absent.output


def test_a_size_that_is_no_number_is_bad_input(tmp_path):
    header = "model,operation,Input_channel,Input_shape,Output_shape,Kernel,Stride,Filter,Group"
    path = tmp_path / "ops.csv"
    path.write_text(f"{header}\na,CONV_2D,3,224,112,3,two,32,1\n")
    with pytest.raises(InvalidInput, match="the size 'two', expected a whole number"):
        real_cnns.read_operators(path)


def test_one_model_to_test_on_is_too_few(data, tmp_path):
    _, test = split_file(data / phones.PIXEL1, tmp_path, (0.5, 1.0), most=2)
    result = run("--train", data / phones.PIXEL1, "--test", test)
    assert result.exit_code == 2
    assert "need two models or more, got 1" in result.output
