"""``mnasfpn frontier``: finalists, and which are asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mnasfpn.tests.cli.processes import invoke, refused

pytestmark = pytest.mark.xdist_group("cli")  # one profile and one study for all


@pytest.mark.slow
def test_frontier_writes_finalists_that_estimate_reads(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "finalists"
    shown = invoke("frontier", study, "--repeats", "3,4", "--out", out, "--json")
    assert shown.exit_code == 0, shown.output
    accuracy = json.loads(shown.stdout)["accuracy"]
    assert "; UNSTABLE: 0% of kernels, 0% of whole models" in accuracy
    assert f"profile: {accuracy}\n" in invoke("frontier", study).stdout
    for item in json.loads(shown.stdout)["finalists"]:
        name = f"trial{item['trial']}-x{item['repeats']}"
        assert (out / f"{name}.svg").read_text().lstrip().startswith("<?xml")
        found = invoke(
            "estimate", out / f"{name}.json", "--profile", study.with_name("fitted.json"), "--json"
        )
        (value,) = json.loads(found.stdout)["estimates"].values()
        assert value["latency_ms"] == pytest.approx(item["latency_ms"])


@pytest.mark.slow
def test_lists_of_numbers_are_read_as_what_they_are(study: Path) -> None:
    assert "--at takes numbers" in refused("frontier", study, "--at", "fast")
    assert "--repeats takes whole numbers" in refused("frontier", study, "--repeats", "1.5")
    assert "fastest takes" in refused("frontier", study, "--at", "0.001")
