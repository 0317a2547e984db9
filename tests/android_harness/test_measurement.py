"""What a run and a measurement refuse, and that they survive JSON."""

from __future__ import annotations

import msgspec
import pytest

from mnasfpn.android_harness.measurement import (
    CoreClock,
    DeviceInfo,
    Measurement,
    OpTiming,
    Run,
    Status,
    Telemetry,
    Verdict,
    clock_in_words,
    core_doubts,
    effective_mhz,
)
from mnasfpn.errors import InvalidInput

DEVICE = DeviceInfo("host", "m", "s", "o", "x86_64", "r", cores=(1,))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "samples, statistics or the error"),
        ({"samples_us": (1.0, 0.0)}, "positive, got 0.0"),
        ({"samples_us": (float("nan"),)}, "positive"),
        ({"samples_us": (1.0,), "clock_us": 0.0}, "clock_us must be positive"),
    ],
)
def test_impossible_runs_are_refused(values, words):
    with pytest.raises(InvalidInput, match=words):
        Run(0, 0, **values)


@pytest.mark.parametrize(
    ("status", "reasons"),
    [(Status.VALID, ("why",)), (Status.UNSTABLE, ()), (Status.FAILED, ())],
)
def test_a_verdict_has_reasons_exactly_when_it_is_not_valid(status, reasons):
    with pytest.raises(InvalidInput, match=status.value):
        Verdict(status, reasons)


@pytest.mark.parametrize(
    ("centre", "apart", "verdict"),
    [
        (None, None, Verdict(Status.VALID)),
        (1.0, None, Verdict(Status.VALID)),
        (1.0, 0.0, Verdict(Status.FAILED, ("x",))),
    ],
)
def test_a_measurement_has_a_number_exactly_when_it_did_not_fail(centre, apart, verdict):
    with pytest.raises(InvalidInput, match="did not fail"):
        Measurement("k", DEVICE, (), centre, apart, 0, verdict)


def test_everything_survives_json():
    run = Run(
        3,
        7,
        samples_us=(1.25, 2.5),
        init_us=12.0,
        cpu_per_wall=1.0,
        after=Telemetry(frequency_mhz={"cpu1": "unreadable"}),
        op_profile=(OpTiming("CONV_2D", "conv", 1.5),),
        clock_us=70.5,
        clocks=(CoreClock((1,), 800.0, "scaling_cur_freq"),),
        unpinned="not pinned: no taskset",
        core_doubts=("cores 4-7 switched off",),
    )
    verdict = Verdict(Status.UNSTABLE, ("why",))
    whole = Measurement("k", DEVICE, (run,), 1.5, 0.1, 2, verdict)
    assert msgspec.json.decode(msgspec.json.encode(whole), type=Measurement) == whole


def test_a_run_of_version_0_1_still_opens_without_the_clock_of_other_cores():
    """Its tables counted from boot, of every cluster: nothing in them is this run's clock."""
    stored = (
        b'{"round":0,"position":1,"stats_us":{"avg":1.0},"after":{"thermal_status":0,'
        b'"time_in_state":{"policy0":{"1000":5},"policy4":{"2000":7}}}}'
    )
    run = msgspec.json.decode(stored, type=Run)
    assert run.after.thermal_status == 0
    assert (effective_mhz(run), run.unpinned, run.core_doubts) == (None, "", ())


def test_the_clock_of_a_run_is_the_mean_over_its_cores():
    """Pinned to a prime core and three others, the program may have run on any of them."""
    three, one = ((4, 5, 6), 2000.0), ((7,), 2400.0)
    clocks = tuple(CoreClock(*clock, "time_in_state") for clock in (three, one))
    assert effective_mhz(Run(0, 0, samples_us=(1.0,), clocks=clocks)) == pytest.approx(2100)
    assert effective_mhz(Run(0, 0, samples_us=(1.0,))) is None


def test_a_clock_says_whether_it_is_a_mean():
    """Where the kernel keeps no table there is one reading, right after the program."""
    for source, words in (("time_in_state", "on average"), ("scaling_cur_freq", "right after it")):
        run = Run(0, 0, samples_us=(1.0,), clocks=(CoreClock((4,), 1500.4, source),))
        assert clock_in_words(run) == f"1500 MHz {words}"


def test_doubts_about_cores_are_told_once():
    runs = [
        Run(number, 0, samples_us=(1.0,), core_doubts=("cores 4-7 switched off",), unpinned=why)
        for number, why in enumerate(("", "not pinned", "not pinned"))
    ]
    assert core_doubts(runs) == ("cores 4-7 switched off", "not pinned")
