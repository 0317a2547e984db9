"""``mnasfpn models``: every system of the paper."""

from __future__ import annotations

import json

from mnasfpn.models.published import PUBLISHED
from mnasfpn.tests.cli.processes import MODEL, invoke


def test_models_shows_every_system_beside_the_papers_figures() -> None:
    shown = invoke("models").stdout
    assert all(name in shown for name in PUBLISHED)
    assert "0.9186" in shown
    assert "2.5030" in shown
    rows = json.loads(invoke("models", "--json").stdout)["models"]
    assert {row["name"] for row in rows} == set(PUBLISHED)
    (row,) = (row for row in rows if row["name"] == MODEL)
    assert row["params"] == 2503047
    assert row["paper"]["counting"] == "all"
