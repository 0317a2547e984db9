"""A new phone from an old one: better than three others on published phones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mnasfpn.benchmarks import transfer
from mnasfpn.benchmarks.simulated import simulated_profile
from mnasfpn.benchmarks.transfer import OURS, Case, Row, compare, markdown
from mnasfpn.benchmarks.virtual_new_phone import compare as compare_virtual
from mnasfpn.benchmarks.virtual_new_phone import markdown as virtual_markdown
from mnasfpn.errors import InvalidInput
from mnasfpn.latency.kernels.execution import execution_plan
from mnasfpn.latency.profile.device_profile import DeviceProfile, MeasuredHead
from mnasfpn.latency.profiling.head_graph import head_graph
from mnasfpn.latency.profiling.sampled_heads import random_heads
from mnasfpn.models.space import MNASFPN
from mnasfpn.tests.latency.fitting.test_transferred_profile import (
    factored,
    moved,
    total_ms,
)

RIVALS = ("from scratch", "one factor", "log-linear")


@pytest.fixture(scope="module")
def data() -> Path:
    if not transfer.DATA.is_dir():
        pytest.skip(f"{transfer.DATA} is not there: others' measurements are no part of it")
    return transfer.DATA


def better_than_all(row: Row) -> None:
    """Whichever models the others know."""
    for rival in RIVALS:
        for kind in ("random", "our"):
            assert row.mape[OURS] < row.mape[f"{rival}, {kind} models"], (row.what, row.measured)


@pytest.mark.slow
@pytest.mark.parametrize("draws", [6, pytest.param(100, marks=pytest.mark.proof)])
def test_networks_of_which_little_is_known(data: Path, draws: int) -> None:
    """Better than three others at every k and phone, and than public figures."""
    public = {  # k = 10 by the old latency alone, k = 20 by little core, FLOPs and size as well
        "Galaxy S10": (0.046, 0.036),
        "Mi 8 SE": (0.072, 0.048),
        "A03s": (0.098, 0.086),
    }
    for case in transfer.nas_networks(data):
        few, ten, twenty = compare(case, draws)
        for row in (few, ten, twenty):
            better_than_all(row)
        assert ten.mape[OURS] < public[case.what.rpartition("> ")[2]][0]
        assert twenty.mape[OURS] < public[case.what.rpartition("> ")[2]][1]


@pytest.mark.slow
@pytest.mark.parametrize("draws", [6, pytest.param(100, marks=pytest.mark.proof)])
def test_networks_whose_kernels_are_known(data: Path, draws: int) -> None:
    for case in transfer.real_networks(data):
        for row in compare(case, draws):
            better_than_all(row)


def case(noise: float = 0.0, count: int = 60) -> Case:
    """Phones that differ by a factor in each of three parts."""
    rng = np.random.default_rng(0)
    amounts = rng.uniform(1, 10, (count, 3))
    new = amounts @ (1.0, 2.0, 3.0) * np.exp(noise * rng.standard_normal(count))
    parts = [dict(zip("abc", map(float, row), strict=True)) for row in amounts]
    return Case(
        "made up", amounts.sum(axis=1), new, parts, lambda known, tested: np.ones(len(tested)), 40
    )


def test_the_law_that_the_product_has_is_found() -> None:
    rows = compare(case(), draws=4)
    assert [row.measured for row in rows] == [5, 10, 20]
    for row in rows[1:]:
        better_than_all(row)
        assert row.mape[OURS] < 0.02
        assert row.won["one factor, random models"] == 1
        lead, _ = row.margin["one factor, random models"]
        assert lead == pytest.approx(row.mape["one factor, random models"] - row.mape[OURS])


def test_what_is_promised_is_what_leaving_out_gives() -> None:
    (*_, row) = compare(case(noise=0.05), draws=4)
    assert row.expected == pytest.approx(row.mape[OURS], rel=0.5)
    assert row.inside > 0.8


def test_tables_name_the_best_rival() -> None:
    text = markdown(compare(case(), draws=2), 2)
    assert "drawn 2 times" in text
    assert text.count("| made up | 5 |") == 3
    assert "points |" in text


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="--data"):
        transfer.everything(tmp_path / "nowhere")


def with_heads(profile: DeviceProfile) -> DeviceProfile:
    """As if its heads had been measured: 20 to calibrate on and 5 to validate."""
    heads = []
    for index, drawn in enumerate(random_heads(MNASFPN, 25, 5)):
        role = "calibration" if index < 20 else "validation"
        plan = execution_plan(head_graph(drawn.genotype, input_size=128))
        size = ((32, 96, 320), 128, total_ms(profile, plan), 0.0)
        heads.append(MeasuredHead(drawn.name, role, drawn.genotype, *size))
    return replace(profile, heads=tuple(heads))


@pytest.mark.slow
def test_virtual_phones_are_compared_on_heads_that_nothing_was_fitted_on() -> None:
    old = simulated_profile()
    new = with_heads(factored(old, 1.5, depthwise_conv=2.0))
    (row,) = compare_virtual(old, new, [moved(old, new, count=12)])
    assert row.models == 12
    assert row.ours < 0.05
    assert row.ours < row.one_factor
    assert f"| {row.what} | 12 | {row.ours:.2%} |" in virtual_markdown([row])
