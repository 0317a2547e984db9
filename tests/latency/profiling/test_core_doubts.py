"""What is doubtful about the cores that were measured on reaches the reader of the profile."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mnasfpn.latency.profile.device_profile import load_profile, save_profile
from mnasfpn.latency.profiling.profile_device import profile_device
from mnasfpn.latency.profiling.session import Session
from mnasfpn.latency.profiling.store import MeasurementStore

OFF = "cores 4-7 switched off and maybe bigger than cores 0-3, used instead"
FREE = "not pinned: taskset refuses cores 4-7: 'Operation not permitted'"


class OnDoubtfulCores:
    """A device that says of its runs what a phone says of its cores."""

    def __init__(self, device, unpinned: str) -> None:
        self.device, self.unpinned = device, unpinned
        self.describe, self.telemetry = device.describe, device.telemetry

    def run_round(self, jobs, settings, round_number) -> Iterator:
        for job, run in self.device.run_round(jobs, settings, round_number):
            yield job, replace(run, core_doubts=(OFF,), unpinned=self.unpinned)


@pytest.mark.slow
@pytest.mark.parametrize("unpinned", ["", FREE])
def test_doubts_are_in_the_profile_and_what_was_not_pinned_is_unstable(
    tiny_plan, synthetic, protocol, tmp_path: Path, unpinned: str
) -> None:
    with MeasurementStore(tmp_path / "m.db") as store:
        device = OnDoubtfulCores(synthetic(), unpinned)
        profile = profile_device(Session(device, store, protocol), tiny_plan)
    save_profile(profile, tmp_path / "p.json")
    again = load_profile(tmp_path / "p.json")
    assert again.campaign.notes == ((FREE, OFF) if unpinned else (OFF,))
    assert again.campaign.unstable == (1.0 if unpinned else 0.0)
    assert all(any(FREE in why for why in head.reasons) == bool(unpinned) for head in again.heads)
