"""Campaign logic on a scripted device; one real campaign on this PC."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnasfpn.android_harness.campaign import campaign, round_order
from mnasfpn.android_harness.device import Job
from mnasfpn.android_harness.host.host import HostDevice
from mnasfpn.android_harness.measurement import Status
from mnasfpn.android_harness.protocol import HOST_PROTOCOL
from mnasfpn.android_harness.verdict import Judge, judge, measurements
from mnasfpn.errors import InvalidInput, StableDeviceError, TransientDeviceError
from mnasfpn.models.graph.builder import GraphBuilder
from mnasfpn.models.tflite.writer import write_tflite
from mnasfpn.tests.android_harness.scripted_device import (
    PROTOCOL,
    SENTINEL,
    ScriptedDevice,
    by_key,
    go_on,
    jobs,
    lost,
    measure,
    no_sleep,
    visits_by_key,
)

# Order


def test_every_job_is_visited_once_in_each_of_three_rounds():
    device = ScriptedDevice()
    results = measure(device, jobs(10))
    assert Counter((run.round, job.key) for job, run in results if job != SENTINEL) == {
        (number, job.key): 1 for number in range(3) for job in jobs(10)
    }
    assert len(results) == len(device.visits)


def test_the_order_is_seeded_differs_between_rounds_and_ignores_the_callers():
    first, again, other = ScriptedDevice(), ScriptedDevice(), ScriptedDevice()
    measure(first, jobs(10), seed=1)
    measure(again, jobs(10)[::-1], seed=1)
    measure(other, jobs(10), seed=2)
    assert first.asked == again.asked
    assert first.asked != other.asked
    assert len({tuple(order) for order in first.asked}) == 3


@settings(deadline=None)
@given(st.integers(0, 30), st.integers(1, 9), st.integers(0, 99))
def test_the_sentinel_is_at_both_ends_and_never_far(count, every, seed):
    protocol = replace(PROTOCOL, sentinel_every=every)
    order = round_order(jobs(count), SENTINEL, protocol, seed, 0)
    assert order[0] == order[-1] == SENTINEL
    gaps = [
        len(list(group)) for is_job, group in itertools.groupby(order, SENTINEL.__ne__) if is_job
    ]
    assert max(gaps, default=0) <= every
    assert sorted(job.key for job in order if job != SENTINEL) == sorted(
        job.key for job in jobs(count)
    )


def test_positions_count_through_the_round():
    results = measure(ScriptedDevice(), jobs(5))
    first = [run.position for _, run in results if run.round == 0]
    assert first == list(range(len(first)))


def test_runs_are_yielded_as_they_happen():
    device = ScriptedDevice()
    running = campaign(device, jobs(5), PROTOCOL, 0, sentinel=SENTINEL)
    for expected in range(1, 4):
        next(running)
        assert len(device.visits) == expected


def test_two_jobs_with_one_key_or_the_sentinels_are_refused():
    for work in ([*jobs(2), jobs(1)[0]], [SENTINEL]):
        with pytest.raises(InvalidInput, match="1 keys name more than one job"):
            measure(ScriptedDevice(), work)


# When a job is done


def test_an_unstable_job_gets_extra_rounds_until_its_centre_is_known():
    device = ScriptedDevice({"job1": [100.0, 104.0, 101.0, 101.0, 100.0]})
    stored = by_key(measure(device, jobs(12)))
    assert visits_by_key(device)["job0"] == 3
    assert visits_by_key(device)["job1"] in (4, 5)
    judges = Judge(stored, PROTOCOL, SENTINEL.key)
    assert judges.verdict("job1").status is Status.VALID


def test_three_that_agree_among_others_that_do_not_are_not_enough():
    """More and more runs, of which the nearest three lie together: that is so of any noise."""
    device = ScriptedDevice({"job1": [100.0, 130.0, 160.0, 101.0, 102.0]})
    stored = by_key(measure(device, jobs(12)))
    assert visits_by_key(device)["job1"] == PROTOCOL.most_rounds
    assert Judge(stored, PROTOCOL, SENTINEL.key).verdict("job1").status is Status.UNSTABLE


def test_extra_rounds_are_bounded_and_visit_only_what_needs_them():
    device = ScriptedDevice({"job1": [100.0 * 1.2**n for n in range(99)]})
    results = measure(device, jobs(3))
    assert visits_by_key(device) == {"job0": 3, "job1": 5, "job2": 3, "sentinel": 10}
    assert device.asked[3] == ["sentinel", "job1", "sentinel"]
    assert judge(by_key(results)["job1"], PROTOCOL).status is Status.UNSTABLE


def test_a_job_that_fails_twice_is_left_alone_and_the_others_go_on():
    device = ScriptedDevice({"job1": ["rejected"]})
    stored = by_key(measure(device, jobs(3)))
    assert visits_by_key(device) == {"job0": 3, "job1": 2, "job2": 3, "sentinel": 6}
    assert judge(stored["job1"], PROTOCOL).status is Status.FAILED


def test_a_job_that_fails_once_is_measured_in_an_extra_round():
    stored = by_key(measure(ScriptedDevice({"job1": ["out of memory", 100.0]}), jobs(3)))
    assert len(stored["job1"]) == 4
    assert judge(stored["job1"], PROTOCOL, stored["sentinel"]).status is Status.VALID


# Resume


def test_nothing_is_measured_when_all_is_valid():
    stored = by_key(measure(ScriptedDevice(), jobs(3)))
    device = ScriptedDevice()
    assert measure(device, jobs(3), already=stored) == []
    assert device.visits == []


@settings(deadline=None)
@given(st.integers(0, 36))
def test_interrupted_anywhere_a_resumed_campaign_measures_only_what_is_missing(stop):
    whole = campaign(ScriptedDevice(), jobs(8), PROTOCOL, 0, sentinel=SENTINEL, sleep=no_sleep)
    stored = by_key(itertools.islice(whole, stop))
    whole.close()
    device = ScriptedDevice()
    for key, runs in by_key(measure(device, jobs(8), seed=0, already=stored)).items():
        stored.setdefault(key, []).extend(runs)
    for job in jobs(8):
        assert len(stored[job.key]) == 3
        assert len({run.round for run in stored[job.key]}) == 3
    visits = [(run.round, run.position) for runs in stored.values() for run in runs]
    assert len(visits) == len(set(visits))
    result = measurements(device.describe(), stored, PROTOCOL, "sentinel")
    assert {one.verdict.status for one in result.values()} == {Status.VALID}


def noisy_and_rejected():
    return {"job1": [100.0 * 1.2**n for n in range(99)], "job2": ["rejected"]}


def test_a_new_call_does_not_turn_noise_into_valid():
    """Rounds that are used up are used up, and what failed twice in a row is left alone."""
    stored = by_key(measure(ScriptedDevice(noisy_and_rejected()), jobs(3)))
    device = ScriptedDevice()
    assert measure(device, jobs(3), already=stored) == []
    assert device.asked == []


def test_what_is_asked_for_afresh_begins_anew():
    """On a quieter machine, say, or once the phone has room: VALID jobs are left alone."""
    stored = by_key(measure(ScriptedDevice(noisy_and_rejected()), jobs(12)))
    device = ScriptedDevice()
    go_on(stored, device, jobs(12), afresh=True)
    assert set(visits_by_key(device)) == {"job1", "job2", "sentinel"}
    assert [run.afresh for run in stored["job1"]] == [False] * 5 + [True, False, False]
    judges = Judge(stored, PROTOCOL, SENTINEL.key)
    assert {judges.verdict(job.key).status for job in jobs(12)} == {Status.VALID}
    assert measure(ScriptedDevice(), jobs(12), already=stored) == []


def test_afresh_an_interrupted_call_goes_on():
    """What was begun anew is not at its bound: the same command does not begin it once more."""
    stored = by_key(measure(ScriptedDevice(noisy_and_rejected()), jobs(12)))
    stops = ScriptedDevice(faults={2: StableDeviceError("Ctrl-C")})
    with pytest.raises(StableDeviceError):
        go_on(stored, stops, jobs(12), afresh=True)
    go_on(stored, ScriptedDevice(), jobs(12), afresh=True)
    assert {key: sum(run.afresh for run in stored[key]) for key in ("job1", "job2")} == {
        "job1": 1,
        "job2": 1,
    }


# Faults


def test_a_transient_error_is_retried_with_what_is_left_of_the_round():
    waits = []
    device = ScriptedDevice(faults={4: TransientDeviceError("offline")})
    results = measure(device, jobs(5), sleep=waits.append)
    assert device.asked[1] == device.asked[0][4:]
    assert waits == [PROTOCOL.retry_wait_s]
    assert [run.position for _, run in results if run.round == 0] == list(range(8))
    assert visits_by_key(device) == {**{job.key: 3 for job in jobs(5)}, "sentinel": 9}


def test_a_device_that_stays_away_ends_the_campaign_after_the_retries():
    waits = []

    class Gone(ScriptedDevice):
        def run_round(self, jobs, settings, round_number):
            self.asked.append(jobs)
            raise TransientDeviceError("device offline")
            yield

    device = Gone()
    with pytest.raises(TransientDeviceError, match=r"device offline \(gave up after 3 retries"):
        measure(device, jobs(5), sleep=waits.append)
    assert waits == [1.0, 2.0, 4.0]
    assert len(device.asked) == 4


def test_retries_start_anew_after_progress():
    faults = {number: TransientDeviceError("offline") for number in range(1, 20)}
    assert len(measure(ScriptedDevice(faults=faults), jobs(5))) == 24


def test_a_stable_error_ends_the_campaign_at_once_and_keeps_what_was_yielded():
    device = ScriptedDevice(faults={4: StableDeviceError("no permission")})
    results = []
    with pytest.raises(StableDeviceError, match="no permission"):
        results.extend(campaign(device, jobs(5), PROTOCOL, 0, sentinel=SENTINEL))
    assert len(device.asked) == 1
    assert len(device.visits) == 4


def test_a_driver_that_ends_a_round_early_is_reported():
    class Lazy(ScriptedDevice):
        def run_round(self, jobs, settings, round_number):
            yield from super().run_round(jobs[:2], settings, round_number)

    with pytest.raises(StableDeviceError, match="ended round 0 after 2 of 8 visits"):
        measure(Lazy(), jobs(5))


# Heat


def test_a_device_lost_while_it_rests_is_reconnected_by_the_next_visit():
    class LostWhileResting(ScriptedDevice):
        resting = False

        def telemetry(self):
            if self.resting:
                self.resting = False
                self.faults[len(self.visits)] = lost("unplugged", under_way=False)
                raise TransientDeviceError("unplugged")
            return super().telemetry()

    device = LostWhileResting(temperatures=[30.0, 41.0, *[31.0] * 99])

    def rest(seconds: float) -> None:
        device.resting = len(device.visits) == 1

    found = by_key(measure(device, jobs(2), sleep=rest))
    assert device.faults == {}  # it came, and was got over
    assert {key: len(runs) for key, runs in found.items() if key != "sentinel"} == {
        "job0": 3,
        "job1": 3,
    }


# Two at once, and for real


def test_two_campaigns_at_once_share_nothing():
    devices = [ScriptedDevice({"job1": [base]}) for base in (100.0, 200.0)]
    with ThreadPoolExecutor(2) as pool:
        stored = [by_key(results) for results in pool.map(lambda d: measure(d, jobs(6)), devices)]
    assert [runs["job1"][0].samples_us for runs in stored] == [(100.0,), (200.0,)]
    assert all(visits_by_key(device)["job1"] == 3 for device in devices)


def test_a_campaign_on_this_pc_measures_and_resumes(tmp_path):
    def model(key: str, channels: int) -> Job:
        builder = GraphBuilder()
        builder.conv("conv", builder.input("image", (1, 8, 8, 16)), channels)
        path = tmp_path / f"{key}.tflite"
        path.write_bytes(write_tflite(builder.graph(["conv"])))
        return Job(key, path)

    protocol = replace(HOST_PROTOCOL, rounds=3, extra_rounds=0, min_s=0.002)
    # This machine may be busy: only the campaign's logic is on trial.
    protocol = replace(
        protocol,
        max_half_width=math.inf,
        max_sentinel_drift=10.0,
        max_cpu_per_wall=10.0,
        min_cpu_per_wall=0.0,
        min_probe_share=0.0,
    )
    work, sentinel = [model("narrow", 8), model("wide", 256)], model("watch", 32)
    running = campaign(HostDevice(), work, protocol, 7, sentinel=sentinel)
    stored = by_key(itertools.islice(running, 5))
    running.close()
    for key, runs in by_key(
        campaign(HostDevice(), work, protocol, 7, sentinel=sentinel, already=stored)
    ).items():
        stored.setdefault(key, []).extend(runs)
    result = measurements(HostDevice().describe(), stored, protocol, "watch")
    assert {one.verdict.status for one in result.values()} == {Status.VALID}
    assert {len(one.runs) for one in result.values()} == {3}
    assert result["wide"].centre_us > result["narrow"].centre_us
