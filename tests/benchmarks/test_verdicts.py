"""What VALID means, by simulation: small campaigns here, and the committed table of large ones."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from mnasfpn.benchmarks import verdicts
from mnasfpn.benchmarks.verdicts import (
    LAWS,
    OUT,
    PROTOCOLS,
    SIGMAS,
    NoisyDevice,
    Row,
    main,
    simulate,
    table,
    true_centre,
    true_us,
)


def committed() -> list[Row]:
    rows = json.loads((OUT / "verdicts.json").read_text())["rows"]
    return [Row(**row | {"valid": tuple(row["valid"]), "held": tuple(row["held"])}) for row in rows]


@pytest.mark.parametrize("device", PROTOCOLS)
def test_little_noise_is_valid_much_is_not_and_calls_change_nothing(device: str) -> None:
    quiet = simulate(device, "lognormal", 0.01, campaigns=1, models=20)
    loud = simulate(device, "lognormal", 0.12, campaigns=1, models=20)
    assert quiet.valid == (1.0, 1.0, 1.0)
    assert quiet.is_met
    assert loud.valid == (0.0, 0.0, 0.0)
    assert loud.held == (None, None, None)
    assert loud.runs == PROTOCOLS[device].most_rounds


def test_every_committed_row_meets_the_bar() -> None:
    rows = committed()
    assert {(row.device, row.law, row.sigma) for row in rows} == {
        (device, law, sigma) for device in PROTOCOLS for law in LAWS for sigma in SIGMAS
    }
    assert [row for row in rows if not row.is_met] == []
    assert all(row.valid[0] > 0.85 for row in rows if row.sigma == 0.01)


def test_a_row_that_rises_or_misses_does_not_meet_the_bar() -> None:
    good = committed()[0]
    assert good.is_met
    assert not replace(good, valid=(0.5, 0.5, 0.6)).is_met
    assert not replace(good, held=(0.95, 0.95, 0.89)).is_met


def test_a_committed_row_is_what_the_code_gives() -> None:
    """One of the cheap ones, as large as it was."""
    row = next(row for row in committed() if (row.device, row.sigma) == ("phone", 0.01))
    assert simulate(row.device, row.law, row.sigma) == row


def test_the_table_is_in_the_document() -> None:
    text = (Path(verdicts.__file__).parents[1] / "docs/protocol.md").read_text()
    assert "\n".join(table(committed())) in text


@pytest.mark.parametrize("law", LAWS)
def test_the_true_centre_is_that_of_the_devices_visits(law: str) -> None:
    device = NoisyDevice(LAWS[law], 0.05, PROTOCOLS["PC"], seed=0)
    job = verdicts.SENTINEL
    made = device.run_round([job] * 20_000, PROTOCOLS["PC"].run_settings(), 0)
    ratios = [run.stats_us["p5"] / true_us(job.key) for _, run in made]
    for share in (0.25, 0.5):
        assert float(np.quantile(ratios, share)) == pytest.approx(
            true_centre(LAWS[law], 0.05, share), rel=0.005
        )


def test_the_command_writes_what_it_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = committed()[:2]
    monkeypatch.setattr(verdicts, "simulate_all", lambda watch: rows)
    done = CliRunner().invoke(main, ["--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "verdicts.md").read_text() in done.output
    assert "Provenance: simulated" in done.output
    assert json.loads((tmp_path / "verdicts.json").read_text())["met"] is True
