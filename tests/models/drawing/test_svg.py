"""The drawn cell: boxes and wires keep apart for any genotype; files say what they should."""

import builtins
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnasfpn.errors import InvalidInput, MnasFpnError
from mnasfpn.models.drawing.cell_diagram import used_blocks
from mnasfpn.models.drawing.cell_layout import cell_layout
from mnasfpn.models.drawing.svg import UNUSED, cell_png, cell_svg, save_cell
from mnasfpn.models.genotype import LEVELS, Block, Genotype
from mnasfpn.models.heads.nasfpn import NasFpn
from mnasfpn.models.published import NASFPN_NODES, published

PUBLISHED = published("mobilenetv2-mnasfpn").head
WITH_UNUSED = replace(
    PUBLISHED,
    blocks=(
        Block((0, 1), 5, 512, 7, "se"),
        *(
            replace(b, inputs=tuple(i + (i >= 4) for i in b.inputs))  # one block further on
            for b in PUBLISHED.blocks
        ),
    ),
)


@st.composite
def genotypes(draw):
    levels = draw(st.lists(st.sampled_from(LEVELS), max_size=5))
    blocks = []
    for index, level in enumerate([*levels, *draw(st.permutations(LEVELS))], start=4):
        features = st.integers(0, index - 1)
        inputs = draw(st.lists(features, min_size=2, max_size=4, unique=True))
        blocks.append(Block(tuple(inputs), level))
    return Genotype(16, 1, tuple(blocks), cell_residual=draw(st.booleans()))


def pieces(wire):
    return list(pairwise(wire.points))


@settings(max_examples=100, deadline=None)
@given(genotypes())
def test_boxes_and_wires_keep_apart(genotype):
    layout = cell_layout(genotype)
    for i, box in enumerate(layout.boxes):
        assert box.x - box.width / 2 >= 0
        assert box.x + box.width / 2 <= layout.width + 1e-9
        for other in layout.boxes[:i]:
            apart_x = abs(box.x - other.x) >= (box.width + other.width) / 2
            apart_y = abs(box.y - other.y) >= (box.height + other.height) / 2
            assert apart_x or apart_y
    for wire in layout.wires:
        for (x1, y1), (x2, y2) in pieces(wire):
            assert x1 == x2 or y1 == y2  # horizontal or vertical
            for box in layout.boxes:
                through_x = (
                    min(x1, x2) < box.x + box.width / 2 - 1e-9
                    and max(x1, x2) > box.x - box.width / 2 + 1e-9
                )
                through_y = (
                    min(y1, y2) < box.y + box.height / 2 - 1e-9
                    and max(y1, y2) > box.y - box.height / 2 + 1e-9
                )
                assert not (through_x and through_y)
        assert all(0 <= y <= layout.height for _, y in wire.points)


@settings(max_examples=100, deadline=None)
@given(genotypes())
def test_wires_of_different_sources_never_lie_on_each_other(genotype):
    lines = defaultdict(list)  # (direction, coordinate) -> (from, to, source)
    for wire in cell_layout(genotype).wires:
        source = wire.points[0]
        for (x1, y1), (x2, y2) in pieces(wire):
            vertical = x1 == x2
            key = (vertical, round(x1 if vertical else y1, 6))
            span = sorted((y1, y2) if vertical else (x1, x2))
            lines[key].append((*span, source))
    for spans in lines.values():
        spans.sort()
        for (_, end, source), (start, _, other) in pairwise(spans):
            assert source == other or start >= end - 1e-6


@given(genotypes())
def test_one_wire_for_every_input_and_where_they_end(genotype):
    layout = cell_layout(genotype)
    features = [w for w in layout.wires if w.kind == "feature"]
    residuals = [w for w in layout.wires if w.kind == "residual"]
    sums = 4 if genotype.cell_residual else 0
    assert len(features) == sum(len(b.inputs) for b in genotype.blocks) + 4 + sums
    assert len(residuals) == sums
    ends = [(round(w.points[-1][0], 6), round(w.points[-1][1], 6)) for w in layout.wires]
    assert len(set(ends)) == len(ends)  # every wire has a port of its own
    assert list(layout.rows) == list(LEVELS)
    assert sorted(layout.rows.values(), reverse=True) == list(layout.rows.values())


def test_used_blocks_are_those_of_the_pruned_graph():
    assert used_blocks(PUBLISHED) == {0, 1, 2, 3, 4}
    assert used_blocks(WITH_UNUSED) == {1, 2, 3, 4, 5}
    boxes = cell_layout(WITH_UNUSED).boxes
    (unused,) = (box for box in boxes if not box.used)
    assert unused.lines == ("R 10×10", "F 512   k 7×7", "squeeze-excite")


def test_nasfpn_cells_with_their_leftovers():
    layout = cell_layout(NasFpn(64, 7, NASFPN_NODES, top_level=7, separable=False))
    assert list(layout.rows) == [3, 4, 5, 6, 7]
    dashed = [wire for wire in layout.wires if wire.kind == "leftover"]
    assert [wire.level for wire in dashed] == [5, 7]  # nothing else reads P5 and P7
    assert len(layout.wires) == 7 * 2 + 2 + 5
    assert all(box.used for box in layout.boxes)
    found = texts(cell_svg(published("mobilenetv2-nasfpnlite").head))
    assert found.count("squeeze-excite") == 3
    assert found.count("add") == 3
    assert "R 5×5" in found
    assert any("left over" in text for text in found)


def texts(svg):
    root = ElementTree.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    return [e.text for e in root.iter("{http://www.w3.org/2000/svg}text")]


def test_svg_says_what_the_genotype_says():
    svg = cell_svg(PUBLISHED)
    found = texts(svg)
    assert found.count("R 20×20") == 2
    assert found.count("R 40×40") == found.count("R 10×10") == found.count("R 5×5") == 1
    assert "F 256   k 3×3" in found
    assert "F 128   k 5×5" in found
    assert found.count("add") == 5
    assert {"C3", "C4", "C5", "C6", "P3", "P4", "P5", "P6", "Level 3", "40×40"} <= set(found)
    # C5 and B0 to level 3 and C6 to level 5 go up by 2; B0 goes down to levels 5 and 6.
    assert [found.count(change) for change in ("↑2", "↓2", "↓4")] == [3, 2, 1]
    assert "Cell with C = 48, 4 repeats" in found
    assert svg.count("stroke-dasharray") == 2 * 4  # line and arrow head of the residuals
    assert cell_svg(PUBLISHED) == svg


def test_what_the_notes_tell():
    plain = replace(PUBLISHED, repeats=1, sdo=False, cell_residual=False)
    found = texts(cell_svg(plain, input_size=640, title="Mine"))
    assert "Mine" in found
    assert "R 80×80" in found
    (note,) = (text for text in found if text.startswith("R resolution"))
    assert "without size-dependent ordering" in note
    assert "dashed" not in note
    svg = cell_svg(WITH_UNUSED)
    assert "grey: unused" in svg
    assert UNUSED[0] in svg
    assert UNUSED[0] not in cell_svg(PUBLISHED)


def test_files(tmp_path):
    save_cell(PUBLISHED, tmp_path / "cell.svg")
    save_cell(PUBLISHED, tmp_path / "cell.PNG")
    assert (tmp_path / "cell.svg").read_text(encoding="utf-8") == cell_svg(PUBLISHED)
    content = (tmp_path / "cell.PNG").read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert content == cell_png(PUBLISHED)
    with pytest.raises(InvalidInput, match=r"must end in \.svg or \.png, got '\.pdf'"):
        save_cell(PUBLISHED, tmp_path / "cell.pdf")


def test_without_matplotlib(monkeypatch):
    real = builtins.__import__

    def missing(name, *arguments, **options):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(MnasFpnError, match=r"pip install 'mnasfpn\[report\]'"):
        cell_svg(PUBLISHED)
