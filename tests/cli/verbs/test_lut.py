"""``mnasfpn lut``: published tables into profiles, and back, as they are published."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mnasfpn.benchmarks.phones.classifiers import lut_entry
from mnasfpn.latency.fitting.lookup_tables import LutEntry
from mnasfpn.latency.profile.device_profile import load_profile
from mnasfpn.tests.cli.processes import BUNDLED, invoke, refused

DATA = Path(__file__).parents[3].parent / "shared" / "data" / "phones"
TABLES = [
    ("proxylessnas_pixel1_lut.csv", "224", "var"),
    ("ofa_note10_lut.csv", "160", "std"),
    ("ofa_note10_lut.csv", "224", "std"),
]


def as_published(name: str, resolution: str, spread: str) -> dict[str, dict[str, float]]:
    """Block -> its statistics, as the authors' file has them."""
    path = DATA / name
    if not path.is_file():
        pytest.skip(f"{path} is not there: published look-up tables are no part of the package")
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["resolution"] == resolution]
    return {entry.key: statistics(entry, spread) for entry in map(lut_entry, rows)}


def statistics(entry: LutEntry, spread: str) -> dict[str, float]:
    value = entry.std_ms**2 if spread == "var" else entry.std_ms
    return {"count": entry.count, "mean": entry.mean_ms, spread: value}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "resolution", "spread"), TABLES)
def test_a_published_table_goes_in_and_comes_out_as_it_was(
    name: str, resolution: str, spread: str, tmp_path: Path
) -> None:
    published = as_published(name, resolution, spread)
    table, profile, again = (tmp_path / name for name in ("lut.yaml", "p.json", "again.yaml"))
    table.write_text(yaml.safe_dump(published))
    said = invoke("lut", "import", table, "--out", profile, "--source", "their repository")
    assert f"{profile}: {len(published)} blocks, published" in said.stdout, said.output
    loaded = load_profile(profile)
    assert (loaded.name, loaded.sources) == ("lut", ("their repository",))
    assert loaded.unstable_shares == {}
    done = invoke("lut", "export", profile, "--blocks", table, "--out", again, "--json")
    assert json.loads(done.stdout) == {
        "table": str(again),
        "blocks": len(published),
        "estimated": 0,
        "provenance": "published",
        "accuracy": loaded.summary,
    }
    found = yaml.safe_load(again.read_text())
    assert found.keys() == published.keys()
    for key, row in published.items():
        assert found[key] == pytest.approx(row, rel=1e-12)


def blocks(se: bool) -> Iterator[str]:
    more = "-se:0-hs:1" if se else ""
    for size in (14, 28):
        expand = 96 if se else 4
        shapes = f"input:{size}x{size}x24-output:{size}x{size}x24"
        yield f"expanded_conv-{shapes}-expand:{expand}-kernel:3-stride:1-idskip:1{more}"


@pytest.mark.parametrize(("se", "spread"), [(False, "var"), (True, "std")])
def test_a_profile_becomes_a_table_in_the_layout_of_the_blocks(
    se: bool, spread: str, tmp_path: Path
) -> None:
    """Every profile, not only those that were tables: with estimates, which are marked."""
    wanted, out = tmp_path / "wanted.yaml", tmp_path / "lut.yaml"
    wanted.write_text("".join(f"{key}: {{count: 1, mean: 1, std: 0}}\n" for key in blocks(se)))
    said = invoke("lut", "export", BUNDLED, "--blocks", wanted, "--out", out)
    assert f"{out}: 2 blocks, 2 of them estimated, published" in said.stdout, said.output
    found: dict[str, Any] = yaml.safe_load(out.read_text())
    assert list(found) == sorted(blocks(se))
    for row in found.values():
        assert set(row) == {"count", "mean", spread}
        assert row["count"] == 0
        deviation_ms = math.sqrt(row["var"]) if spread == "var" else row["std"]
        assert 0 < deviation_ms < row["mean"]


def test_tables_that_cannot_be_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    table, out = tmp_path / "lut.yaml", tmp_path / "p.json"
    (first, _) = blocks(se=False)
    row = f"{first}: {{count: 9, mean: 4.0, var: 0.1}}\n"
    table.write_text(row)
    assert "at least 10 blocks" in refused("lut", "import", table, "--out", out)
    table.write_text(2 * row)
    assert f"{first!r} is there 2 times" in refused("lut", "import", table, "--out", out)
    assert f"{first!r} is there 2" in refused(
        "lut", "export", BUNDLED, "--blocks", table, "--out", out
    )
    assert not out.exists()
