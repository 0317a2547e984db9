"""Devices that are lost while they run a model: a cable, or a model that they cannot bear."""

from __future__ import annotations

import itertools

import pytest

from mnasfpn.android_harness.measurement import Run, Status
from mnasfpn.android_harness.verdict import Judge
from mnasfpn.errors import TransientDeviceError
from mnasfpn.tests.android_harness.scripted_device import (
    PROTOCOL,
    SENTINEL,
    ScriptedDevice,
    by_key,
    go_on,
    jobs,
    lost,
    measure,
    visits_by_key,
)


class Kills(ScriptedDevice):
    """Some models are too much for it: it is lost whenever it runs one, and comes back.

    Args:
        under_way: what the driver says of it.
    """

    def __init__(self, *killers, under_way=None, **scripted):
        super().__init__(**scripted)
        self.killers, self.under_way = killers, under_way

    def run_round(self, jobs, settings, round_number):
        safe = list(itertools.takewhile(lambda job: job.key not in self.killers, jobs))
        yield from super().run_round(safe, settings, round_number)
        if len(safe) < len(jobs):
            self.visits.append((round_number, jobs[len(safe)].key))
            raise lost("closed", self.under_way)


@pytest.mark.parametrize("under_way", [None, True])
def test_a_model_that_the_device_cannot_bear_is_given_up_and_the_others_go_on(under_way):
    device = Kills("job1", "job3", under_way=under_way)
    stored = by_key(measure(device, jobs(12)))
    assert visits_by_key(device)["job1"] == visits_by_key(device)["job3"] == 2
    judges = Judge(stored, PROTOCOL, SENTINEL.key)
    for key in ("job1", "job3"):
        found = judges.verdict(key)
        assert found.status is Status.FAILED
        assert found.reasons == ("the device was lost while it ran this model: closed",)
    fine = [job.key for job in jobs(12) if job.key not in device.killers]
    assert {judges.verdict(key).status for key in fine} == {Status.VALID}
    again = Kills("job1", "job3")
    assert measure(again, jobs(12), already=stored) == []


def test_what_the_device_cannot_bear_is_counted_across_calls():
    """Each call ends at the model, since the device stays away: the second is the last of it."""

    class StaysAway(Kills):
        def run_round(self, jobs, settings, round_number):
            if self.visits and self.visits[-1][1] in self.killers:
                raise lost("offline", under_way=False)
            yield from super().run_round(jobs, settings, round_number)

    stored: dict[str, list[Run]] = {}
    for _ in range(2):
        with pytest.raises(TransientDeviceError, match="gave up after 3 retries"):
            go_on(stored, StaysAway("job1"), jobs(12))
    device = StaysAway("job1")
    go_on(stored, device, jobs(12))
    assert visits_by_key(device)["job1"] == 0
    judges = Judge(stored, PROTOCOL, SENTINEL.key)
    assert [job.key for job in jobs(12) if judges.verdict(job.key).status != Status.VALID] == [
        "job1"
    ]


@pytest.mark.parametrize("under_way", [None, False])
def test_a_cable_that_is_out_for_a_while_blames_nobody(under_way):
    """Whether the driver tells that no model was under way, or the device just does not answer."""

    class Unplugged(ScriptedDevice):
        out_s = 0.0

        def run_round(self, jobs, settings, round_number):
            if self.out_s > 0:
                raise lost("no device", under_way)
            for job, run in super().run_round(jobs, settings, round_number):
                if len(self.visits) == 5:
                    self.out_s = 3.0
                    raise TransientDeviceError("closed")
                yield job, run

        def telemetry(self):
            if self.out_s > 0:
                raise TransientDeviceError("no device")
            return super().telemetry()

        def wait(self, seconds):
            self.out_s -= seconds

    device = Unplugged()
    stored = by_key(measure(device, jobs(12), sleep=device.wait))
    assert not any(run.error for runs in stored.values() for run in runs)
    judges = Judge(stored, PROTOCOL, SENTINEL.key)
    assert {judges.verdict(job.key).status for job in jobs(12)} == {Status.VALID}


def test_a_model_that_comes_through_is_cleared():
    """The device is lost at every second visit: each model's next one is its proof."""
    faults = {number: TransientDeviceError("closed") for number in range(1, 60)}
    stored = by_key(measure(ScriptedDevice(faults=faults), jobs(12)))
    assert not any(run.error for runs in stored.values() for run in runs)
