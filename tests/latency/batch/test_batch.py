"""Arrays of genotypes against the one-by-one path, which knows nothing of arrays."""

import time
from dataclasses import replace

import numpy as np
import pytest

from mnasfpn.benchmarks.batch import verdict
from mnasfpn.benchmarks.simulated import simulated_profile as profile
from mnasfpn.errors import InvalidInput, NotCovered
from mnasfpn.latency.batch.batch import BatchEstimator
from mnasfpn.latency.batch.tables import HeadAlone
from mnasfpn.latency.estimate.estimate import Estimator
from mnasfpn.latency.profiling.head_graph import head_graph
from mnasfpn.models.backbones.backbone import Backbone
from mnasfpn.models.detector import Detector
from mnasfpn.models.genotype import Block, Genotype
from mnasfpn.models.genotype_array import from_genotypes, random_genotypes
from mnasfpn.models.heads.predictor import SharedPredictor
from mnasfpn.models.published import published
from mnasfpn.models.space import CONN_SEARCH, MNASFPN, NO_EXPAND, Space

# Two values of C that equal the backbone's C3 and C4: only there has the first cell residuals.
FEW = {"channels": (32, 48, 96), "expansions": (16, 64)}
SPACES = (
    replace(MNASFPN, **FEW),
    replace(NO_EXPAND, channels=(32, 48, 96)),
    replace(CONN_SEARCH, **FEW),
    replace(MNASFPN, name="no-sdo", sdo=False, **FEW),
    replace(MNASFPN, name="no cell residual", cell_residual=False, **FEW),
    replace(CONN_SEARCH, name="no cell residual, 2 to 4 inputs", cell_residual=False, **FEW),
    Space("plain", (64,), (3,), (), sdo=False, cell_residual=False),
    Space("small", (24,), (5,), (40,), (2, 3), ("add",), internal_blocks=0, cell_residual=False),
)
DETECTOR = Detector(
    Backbone(), Genotype(16, 1, tuple(Block((0, 1), n) for n in (3, 4, 5, 6))), SharedPredictor(),
    input_size=128,
)  # fmt: skip


def one_by_one(estimator, genotypes, template):
    if isinstance(template, HeadAlone):
        graphs = (head_graph(g, template.channels, template.input_size) for g in genotypes)
    else:
        graphs = (replace(template, head=genotype).graph() for genotype in genotypes)
    return np.asarray([estimator.estimate(graph).latency_ms for graph in graphs])


def assert_same(space, template, seed, count, runtime="xnnpack", repeats=(1, 2, 3, 4, 5)):
    genotypes = random_genotypes(space, np.random.default_rng(seed), count, repeats)
    estimator = Estimator(profile(runtime))
    batch = BatchEstimator(profile(runtime), space, template)
    assert batch.accuracy == estimator.profile.summary
    got = batch.latencies_ms(genotypes)
    np.testing.assert_allclose(got, one_by_one(estimator, genotypes, template), rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
def test_heads_alone_equal_the_one_by_one_path(space):
    """One cell is cheapest one by one, and where backbone, C6 and cell meet."""
    assert_same(space, HeadAlone(input_size=128), seed=1, count=250, repeats=1)


@pytest.mark.slow
@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
def test_repeated_cells_equal_the_one_by_one_path(space):
    assert_same(space, HeadAlone(input_size=128), seed=2, count=60)


@pytest.mark.slow
@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
def test_detectors_equal_the_one_by_one_path(space):
    assert_same(space, DETECTOR, seed=3, count=30)


@pytest.mark.parametrize("template", [HeadAlone(), DETECTOR], ids=["head", "detector"])
def test_runtime_without_a_delegate(template):
    assert_same(SPACES[0], template, seed=4, count=30, runtime="builtin")


@pytest.mark.parametrize(
    ("backbone", "predictor"),
    [
        (Backbone("mobilenet_v3_large"), SharedPredictor(48, separate_towers=True)),
        (Backbone("mnasnet_a1"), SharedPredictor(64, anchors=3)),
    ],
    ids=["mobilenet_v3", "mnasnet_a1"],
)
def test_other_backbones_and_predictors(backbone, predictor):
    assert_same(SPACES[0], replace(DETECTOR, backbone=backbone, predictor=predictor), 5, 10)


def test_the_interpreter_begins_where_the_first_block_is_down_sampled_by_it():
    """Without C6 and cell residual a head alone may begin outside the delegate."""
    space = Space("begins", (24,), (3,), (16,), internal_blocks=0, cell_residual=False)
    cells = [
        Genotype(24, 1, blocks, cell_residual=False)
        for first in ((0, 1), (1, 0), (2, 0))
        for blocks in [
            (Block(first, 5, 16), Block((4, 0), 3, 16), Block((5, 1), 4, 16), Block((4, 6), 6, 16))
        ]
    ]
    template = HeadAlone(input_size=128)
    got = BatchEstimator(profile(), space, template).latencies_ms(from_genotypes(space, cells))
    np.testing.assert_allclose(got, one_by_one(Estimator(profile()), cells, template), rtol=1e-9)


def test_cells_of_many_blocks():
    """Sets of more than 16 features, and the most there can be."""
    for internal_blocks in (11, 12, 23):
        space = replace(CONN_SEARCH, internal_blocks=internal_blocks, **FEW)
        assert_same(space, HeadAlone(input_size=128), seed=7, count=10, repeats=2)
    with pytest.raises(InvalidInput, match="up to 27 blocks, space 'conn-search' has 28"):
        BatchEstimator(profile(), replace(CONN_SEARCH, internal_blocks=24))


def test_unused_blocks_cost_nothing():
    """Changing a block that no output depends on changes no latency."""
    space = SPACES[0]
    genotypes = random_genotypes(space, np.random.default_rng(6), 2000, 3)
    outputs = genotypes.inputs[:, space.internal_blocks :]
    last = space.internal_blocks + 3  # feature of the last internal block; only outputs can read it
    unused = ~(outputs == last).any(axis=(1, 2))
    assert 100 < unused.sum() < 1900
    genotypes = genotypes[unused]
    batch = BatchEstimator(profile(), space)
    kernels = genotypes.kernels.copy()
    kernels[:, space.internal_blocks - 1] = (kernels[:, space.internal_blocks - 1] + 1) % 3
    other = replace(genotypes, kernels=kernels)
    assert (batch.latencies_ms(other) == batch.latencies_ms(genotypes)).all()


@pytest.mark.slow
def test_the_paper_cell_among_others():
    detector = published("mobilenetv2-mnasfpn")
    space = replace(MNASFPN, internal_blocks=1)  # those that the published cell uses
    batch = BatchEstimator(profile(), space, detector)
    got = batch.latencies_ms(from_genotypes(space, [detector.head]))
    expected = Estimator(profile()).estimate(detector.graph()).latency_ms
    assert got[0] == pytest.approx(expected, rel=1e-9)


@pytest.mark.slow
def test_arrays_are_much_faster_than_one_by_one():
    """At least 1,000 times, both ways timed in processor time, the slow one first and last."""
    space, template = SPACES[0], HeadAlone(input_size=128)
    estimator, batch = Estimator(profile()), BatchEstimator(profile(), space, template)
    many = random_genotypes(space, np.random.default_rng(8), 20_000, 3)
    few = list(many[:10])
    batch.latencies_ms(many[:100]), one_by_one(estimator, few, template)  # warm both up

    def seconds(work, count):
        start = time.process_time()
        work()
        return (time.process_time() - start) / count

    slow = min(seconds(lambda: one_by_one(estimator, few, template), 10) for _ in range(3))
    fast = min(seconds(lambda: batch.latencies_ms(many), len(many)) for _ in range(3))
    assert slow / fast >= 1000


def test_the_benchmark_says_which_side_of_its_bar_the_slowest_row_is():
    rows = [{"genotypes_per_second": rate} for rate in (1e6, 500_000.0)]
    assert verdict(rows) == "Slowest: 500,000 (bar: 500,000; met)."
    rows[0]["genotypes_per_second"] = 499_998.0
    assert verdict(rows) == "Slowest: 499,998 (bar: 500,000; NOT met)."


def test_refusals():
    batch = BatchEstimator(profile(), SPACES[1])
    others = random_genotypes(SPACES[0], np.random.default_rng(0), 3, 1)
    with pytest.raises(InvalidInput, match="for space 'no-expand', the genotypes are of 'mnasfpn'"):
        batch.latencies_ms(others)
    with pytest.raises(InvalidInput, match="template's head is a NasFpn"):
        BatchEstimator(profile(), SPACES[0], published("mobilenetv2-nasfpnlite"))
    with pytest.raises(NotCovered, match="can need, first 'resize_nearest"):
        BatchEstimator(profile(without="resize_nearest"), SPACES[1])
    assert len(batch.latencies_ms(from_genotypes(SPACES[1], []))) == 0
