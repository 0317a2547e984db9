"""Plots are well-formed SVG with their numbers in them, whatever the numbers."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mnasfpn.report import plots

SVG = "{http://www.w3.org/2000/svg}"
MS = st.floats(1e-3, 1e4)
#: Each drawing takes a tenth of a second.
FEW = settings(max_examples=8, deadline=None)


def texts(svg: str) -> list[str]:
    """What the SVG shows as text; fails where it is not well-formed."""
    root = ElementTree.fromstring(svg)
    assert root.tag == f"{SVG}svg"
    assert float(root.get("width").removesuffix("pt")) > 0
    assert "nan" not in root.get("viewBox")
    return ["".join(element.itertext()).strip() for element in root.iter(f"{SVG}text")]


@FEW
@given(st.lists(st.tuples(MS, MS), min_size=1, max_size=5))
@example([(10.0, 10.0)])
@example([(10.0, 10.0)] * 3)
@example([(1e-3, 1e4)])
def test_scatter_of_any_points(points: list[tuple[float, float]]) -> None:
    measured, predicted = zip(*points, strict=True)
    shown = texts(plots.predicted_against_measured(measured, predicted, title="R2 0.9876"))
    assert {"R2 0.9876", "measured, ms", "predicted, ms", "within 10%"} <= set(shown)


def test_every_held_out_model_is_a_point_with_its_interval() -> None:
    svg = plots.predicted_against_measured([1, 2, 3], [1, 2, 4], [(1, 1), (1, 3), (5, 3)])
    root = ElementTree.fromstring(svg)
    ids = [element.get("id", "") for element in root.iter()]
    points = next(e for e in root.iter() if e.get("id") == "PathCollection_1")
    assert len(list(points.iter(f"{SVG}use"))) == 3
    assert any(name.startswith("LineCollection") for name in ids)


@FEW
@given(st.lists(st.tuples(MS, st.floats(0, 1)), max_size=5))
@example([])
@example([(10.0, 0.0)])
@example([(10.0, 0.5)] * 3)
def test_frontier_of_any_trials(trials: list[tuple[float, float]]) -> None:
    shown = texts(plots.frontier(trials, trials[:1], trials[1:]))
    assert "predicted latency, ms" in shown
    assert ("frontier" in shown) == bool(trials)
    assert ("random search" in shown) == bool(trials[1:])


PARTS = st.dictionaries(st.sampled_from(["backbone", "head", "overhead", "x"]), st.floats(0, 1e4))


@FEW
@given(
    st.lists(st.tuples(st.text("a$_{^<&>", min_size=1, max_size=5), PARTS), min_size=1, max_size=4)
)
@example([("zero", {"backbone": 0.0})])
@example([("none", {})])
def test_breakdown_of_any_parts(rows: list[tuple[str, dict[str, float]]]) -> None:
    shown = texts(plots.breakdown(rows))
    assert "latency, ms" in shown
    for name, _ in rows:
        assert name in shown


def test_breakdown_prints_the_milliseconds_of_every_part_that_has_room() -> None:
    shown = texts(
        plots.breakdown(
            [("a", {"backbone": 40.81, "head": 3.0, "overhead": 0.01}), ("b", {"head": 20.25})]
        )
    )
    assert {"40.8", "3.0", "20.2", "a", "b", "backbone", "head", "overhead"} <= set(shown)
    assert "0.0" not in shown


@pytest.mark.parametrize("count", [1, 12])
def test_breakdown_grows_with_its_rows(count: int) -> None:
    svg = plots.breakdown([(f"model {i}", {"head": 1.0 + i}) for i in range(count)])
    height = float(ElementTree.fromstring(svg).get("height").removesuffix("pt"))
    assert height > 30 * count


def test_the_same_numbers_give_the_same_text() -> None:
    rows = [(1.0, 0.1), (2.0, 0.3)]
    assert plots.frontier(rows, rows) == plots.frontier(rows, rows)


def test_inline_drops_what_has_no_place_in_a_page() -> None:
    text = '<?xml version="1.0"?>\n<!DOCTYPE svg>\n<svg><metadata>\na</metadata><g/></svg>'
    assert plots.inline(text) == "<svg><g/></svg>"
