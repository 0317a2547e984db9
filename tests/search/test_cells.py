"""Canonical cells: equal exactly for equal networks, and never another network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mnasfpn.errors import InvalidInput
from mnasfpn.models.detector import Backbone, Detector
from mnasfpn.models.genotype import Block, Genotype
from mnasfpn.models.graph.costs import cost
from mnasfpn.models.heads.nasfpn import NasFpn, Node
from mnasfpn.models.heads.predictor import SharedPredictor
from mnasfpn.models.model_files import to_json
from mnasfpn.models.published import PUBLISHED
from mnasfpn.search.cells import canonical, cell_from_json, with_repeats
from mnasfpn.search.search_space import SPACES, search_space


def detector(cell: Genotype | NasFpn) -> Detector:
    return Detector(Backbone("mobilenet_v2", 0.35), cell, SharedPredictor(32), 1, 64)


def published() -> Genotype:
    head = PUBLISHED["mobilenetv2-mnasfpn"].head
    assert isinstance(head, Genotype)
    return head


def with_unused_block(genotype: Genotype) -> Genotype:
    """The same cell with a block in front that nothing reads."""
    moved = tuple(
        replace(b, inputs=tuple(i + 1 if i >= 4 else i for i in b.inputs)) for b in genotype.blocks
    )
    return replace(genotype, blocks=(Block((0, 1), 5, 512, 7), *moved))


def test_an_unused_block_is_as_if_it_had_never_been_written() -> None:
    assert canonical(with_unused_block(published())) == canonical(published())


def test_a_chain_of_blocks_that_ends_nowhere_is_unused_as_a_whole() -> None:
    twice = with_unused_block(with_unused_block(published()))
    chained = (twice.blocks[0], replace(twice.blocks[1], inputs=(4, 0)), *twice.blocks[2:])
    assert canonical(replace(twice, blocks=chained)) == canonical(published())


def test_the_order_of_added_inputs_and_of_independent_outputs_is_no_difference() -> None:
    b0, b1, b2, b3, b4 = published().blocks
    swapped = replace(published(), blocks=(replace(b0, inputs=(2, 1)), b1, b2, b4, b3))
    assert canonical(swapped) == canonical(published())


@pytest.mark.parametrize("merge", ["add", "se"])
def test_only_a_sum_ignores_the_order_of_its_inputs(merge: str) -> None:
    outputs = tuple(Block((0, 4), level, 32) for level in (3, 4, 5, 6))
    one = Genotype(16, 1, (Block((1, 2), 4, 32, 3, merge), *outputs))
    other = Genotype(16, 1, (Block((2, 1), 4, 32, 3, merge), *outputs))
    assert (canonical(one) == canonical(other)) == (merge == "add")


@pytest.mark.parametrize(
    "change",
    [{"channels": 32}, {"repeats": 2}, {"sdo": False}, {"cell_residual": False}],
)
def test_other_cells_stay_other_cells(change: dict[str, object]) -> None:
    assert canonical(replace(published(), **change)) != canonical(published())


@pytest.mark.parametrize("name", SPACES)
def test_a_canonical_cell_is_the_same_network(name: str) -> None:
    for cell in search_space(name, repeats=1).sample(np.random.default_rng(5), 8):
        kept = canonical(cell)
        assert canonical(kept) == kept
        before, after = detector(cell).graph(), detector(kept).graph()
        assert cost(before) == cost(after)
        ops = [
            sorted((layer.op, layer.shape, layer.weights) for layer in g) for g in (before, after)
        ]
        assert ops[0] == ops[1]


@pytest.mark.parametrize("name", SPACES)
def test_cells_to_json_and_back(name: str) -> None:
    for cell in search_space(name).sample(np.random.default_rng(6), 5):
        assert cell_from_json(to_json(cell)) == cell


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "here: "),
        (
            '{"schema": "mnasfpn-nasfpn-1", "channels": 64, "repeats": 3}',
            "missing required field `nodes`",
        ),
        ('{"schema": "other"}', "schema"),
    ],
)
def test_damaged_cells_are_named(text: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        cell_from_json(text, "here")


def test_a_detector_is_no_cell() -> None:
    with pytest.raises(InvalidInput, match="expected a cell, got a whole detector"):
        cell_from_json(to_json(detector(published())))


def test_repeats_are_no_part_of_the_cell() -> None:
    assert with_repeats(published(), 5) == replace(published(), repeats=5)
    lite = NasFpn(64, 3, tuple(Node((0, 1), level) for level in (3, 4, 5, 6)))
    assert with_repeats(lite, 5) == replace(lite, repeats=5)
