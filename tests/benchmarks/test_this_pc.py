"""The headline's table on made-up campaigns, and the other program that keeps a core busy."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from mnasfpn.benchmarks.this_pc import (
    LOADED,
    QUIET,
    Campaign,
    busy,
    held,
    markdown,
    seeds_of,
    verdicts,
)
from mnasfpn.errors import InvalidInput
from mnasfpn.latency.profile.device_profile import DeviceProfile


def children() -> list[int]:
    (path,) = Path("/proc/self/task").glob(f"{os.getpid()}/children")
    return [int(word) for word in path.read_text().split()]


def ticks(process: int) -> int:
    """Processor time used, in clock ticks."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_the_other_program_works_on_its_core_and_ends() -> None:
    core = max(os.sched_getaffinity(0))
    before = set(children())
    with busy(core):
        (process,) = set(children()) - before
        while ticks(process) < 10:
            time.sleep(0.05)
        assert os.sched_getaffinity(process) == {core}
    assert not set(children()) - before


@pytest.fixture
def campaigns(fitted: DeviceProfile) -> list[Campaign]:
    """Twelve heads, ten of them inside their intervals, one below and one above."""
    validation = fitted.validation
    assert validation is not None
    points = [
        replace(point, measured_ms=1.0, low_ms=low, high_ms=high)
        for point, (low, high) in zip(
            validation.points, [(2, 3), (0.1, 0.5), *[(0.5, 2.0)] * 10], strict=True
        )
    ]
    profile = replace(fitted, validation=replace(validation, points=tuple(points)))
    return [Campaign(QUIET, seed, profile, 5.0) for seed in (1, 2)]


def test_shares_are_of_all_heads_of_a_condition(campaigns: list[Campaign]) -> None:
    shares = held(campaigns)
    assert [round(24 * each.value) for each in shares.values()] == [20, 2, 2]
    assert shares["inside"].low < 20 / 24 < shares["inside"].high


def test_a_bar_that_is_not_met_is_said(campaigns: list[Campaign]) -> None:
    assert verdicts(campaigns)[1].endswith("of all seeds, not told apart.")
    assert verdicts(campaigns * 40)[1].endswith("of all seeds, NOT met.")
    first = campaigns[0]
    accuracy = first.validation.accuracy
    bad = replace(accuracy, r2=replace(accuracy.r2, value=0.98))
    validation = replace(first.validation, accuracy=bad)
    worse = replace(first, profile=replace(first.profile, validation=validation))
    assert verdicts([first, worse])[0] == (
        "R2 of every seed at least 0.99: 0.9800 is the least, NOT met."
    )


def test_the_table_says_what_every_campaign_stands_on(campaigns: list[Campaign]) -> None:
    loaded = [replace(each, condition=LOADED) for each in campaigns]
    lines = markdown({QUIET: campaigns, LOADED: loaded}).splitlines()
    rows = [line for line in lines if line.startswith(("| quiet", "| one core busy"))]
    assert len(rows) == 4
    again = campaigns[0].validation.noise_floor
    assert again is not None
    for row in rows:
        assert f"| {again.rmspe.value / 2**0.5:.1%} |" in row
        assert "| 8%, 8% |" in row


def test_seeds_are_numbers() -> None:
    assert seeds_of("31,32") == [31, 32]
    with pytest.raises(InvalidInput, match="--seeds takes whole numbers with commas between"):
        seeds_of("31;32")
