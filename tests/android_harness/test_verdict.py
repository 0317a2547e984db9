"""The robust statistic and the verdict."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnasfpn.android_harness.interval import UsualNoise
from mnasfpn.android_harness.measurement import CoreClock, DeviceInfo, Run, Status, Telemetry
from mnasfpn.android_harness.protocol import (
    HOST_PROTOCOL,
    PHONE_PROTOCOL,
    MeasuringProtocol,
)
from mnasfpn.android_harness.verdict import (
    centre_us,
    condensed,
    disturbances,
    figure_us,
    inferences,
    judge,
    measurement,
    measurements,
    reference_clock_us,
    spread,
)
from mnasfpn.errors import InvalidInput

THREE = MeasuringProtocol("three", statistics=("median",), rounds=3, runs=2)
HOST_LIKE = replace(THREE, min_probe_share=0.9)
QUIET = UsualNoise(0.001, 100)
DEVICE = DeviceInfo("host", "m", "s", "o", "x86_64", "r")


def run(us: float, number: int = 0, position: int = 1, **other) -> Run:
    return Run(number, position, samples_us=(us, us), **other)


def runs(*figures: float, **other) -> list[Run]:
    return [run(us, number, **other) for number, us in enumerate(figures)]


def sentinels(*figures: float) -> list[Run]:
    """Two visits per round, around position 1, both with the round's figure."""
    return [run(us, number, at) for number, us in enumerate(figures) for at in (0, 2)]


# One run


def test_figure_takes_the_first_statistic_a_tool_printed():
    old = Run(0, 0, stats_us={"min": 8.0, "avg": 10.0, "count": 50})
    new = Run(0, 0, stats_us={"min": 8.0, "avg": 10.0, "median": 9.0, "count": 50})
    assert figure_us(old, PHONE_PROTOCOL) == 10.0
    assert figure_us(new, PHONE_PROTOCOL) == 9.0
    assert (inferences(old), inferences(run(1.0))) == (50, 2)


def test_a_run_without_the_statistic_is_an_error_that_names_both():
    with pytest.raises(InvalidInput, match="reads median or avg; the run has max"):
        figure_us(Run(0, 0, stats_us={"max": 3.0}), PHONE_PROTOCOL)
    with pytest.raises(InvalidInput, match="only an error: gone"):
        figure_us(Run(0, 0, error="gone"), PHONE_PROTOCOL)


@settings(deadline=None)
@given(st.lists(st.floats(0.1, 1e6), min_size=1, max_size=50), st.floats(1, 100))
def test_a_condensed_run_counts_and_costs_the_same(samples, clock):
    whole = Run(0, 0, samples_us=tuple(samples), clock_us=clock)
    light = condensed(whole, HOST_PROTOCOL)
    assert not light.samples_us
    assert (figure_us(light, HOST_PROTOCOL), inferences(light), light.clock_us) == (
        figure_us(whole, HOST_PROTOCOL),
        inferences(whole),
        clock,
    )


# Centre and spread


def test_centre_and_spread_by_hand():
    measured = runs(130, 104, 100, 102, 500)
    assert centre_us(measured, THREE) == 104
    assert spread(measured, THREE) == pytest.approx(4.0)  # of all: no run is left out


def test_the_centre_is_the_protocols_quantile():
    assert centre_us(runs(130, 104, 100, 102, 500), replace(THREE, quantile=0.25)) == 102


def test_clock_brings_runs_to_one_clock():
    """The core ran at 100, 80 and 125 % of its clock; the model costs 50 probes each time."""
    measured = [run(50 * clock, 0, clock_us=clock) for clock in (4.0, 5.0, 3.2)]
    assert spread(measured, THREE) == pytest.approx(0)
    assert centre_us(measured, THREE) == pytest.approx(50 * 4.0)  # their median clock
    assert centre_us(measured, THREE, clock_us=10.0) == pytest.approx(500)


def test_without_a_clock_in_every_run_figures_stay_as_they_are():
    measured = [*runs(100, 101), run(102, 2, clock_us=7.0)]
    assert centre_us(measured, THREE, clock_us=3.0) == 101
    assert reference_clock_us(measured) is None
    assert reference_clock_us([]) is None


def test_a_model_without_a_clock_leaves_the_others_their_common_one():
    clocked = {"a": (4.0, 4.0, 4.0), "b": (5.0, 5.0, 5.0)}
    stored = {
        key: [run(50 * clock, i, clock_us=clock) for i, clock in enumerate(clocks)]
        for key, clocks in clocked.items()
    }
    found = measurements(DEVICE, stored | {"profiled": runs(7, 7, 7)}, THREE)
    assert found["a"].centre_us == found["b"].centre_us == pytest.approx(50 * 4.5)
    assert found["profiled"].centre_us == 7


def test_failed_runs_have_no_say_in_the_reference_clock():
    assert reference_clock_us([run(1, clock_us=5.0), Run(0, 0, error="x")]) == 5.0


@pytest.mark.parametrize("statistic", [centre_us, spread])
def test_no_runs_is_an_error(statistic):
    with pytest.raises(InvalidInput, match="no runs"):
        statistic([], THREE)


figures = st.lists(st.floats(1, 1e6), min_size=3, max_size=9)


@settings(deadline=None)
@given(figures, st.integers(-6, 6), st.randoms(use_true_random=False))
def test_centre_scales_and_neither_depends_on_order(values, power, shuffle):
    factor = 2.0**power  # exact, so that equal distances stay equal
    measured, scaled = runs(*values), runs(*(factor * value for value in values))
    shuffle.shuffle(scaled)
    assert centre_us(scaled, THREE) == pytest.approx(factor * centre_us(measured, THREE))
    assert spread(scaled, THREE) == pytest.approx(spread(measured, THREE), abs=1e-9)
    slack = 1e-9 * max(values)  # of interpolation
    assert min(values) - slack <= centre_us(measured, THREE) <= max(values) + slack
    assert spread(measured, THREE) >= 0


@settings(deadline=None)
@given(figures, st.lists(st.one_of(st.floats(1e-3, 1), st.floats(1e6, 1e9)), max_size=8))
def test_fewer_than_half_outliers_cannot_move_the_centre_out_of_the_rest(values, outliers):
    all_runs = runs(*values, *outliers[: len(values) - 1])
    assert min(values) <= centre_us(all_runs, THREE) <= max(values)


# The verdict


def test_agreeing_processes_beside_a_steady_sentinel_are_valid():
    verdict = judge(runs(100, 100.4, 100.8), THREE, sentinels(50, 50.5, 49.5), QUIET)
    assert verdict.status is Status.VALID
    assert verdict.reasons == ()


def test_all_undisturbed_runs_have_their_say():
    """Three of six agree, and so they did before the others came."""
    assert judge(runs(100, 100, 100), THREE, None, QUIET).status is Status.VALID
    verdict = judge(runs(100, 100, 100, 120, 130, 140), THREE, None, QUIET)
    assert verdict.status is Status.UNSTABLE
    assert "of 6 processes is known to" in verdict.reasons[0]


def test_the_centre_at_the_limit_is_valid_and_above_it_is_not():
    measured = runs(100, 102, 104)
    half = measurement("k", DEVICE, measured, THREE).half_width
    assert judge(measured, replace(THREE, max_half_width=half)).status is Status.VALID
    above = judge(measured, replace(THREE, max_half_width=half * 0.999))
    assert above.status is Status.UNSTABLE


def test_no_row_is_known_better_than_the_device_allows():
    for noise, expected in ((0.001, Status.VALID), (0.05, Status.UNSTABLE)):
        assert judge(runs(100, 100, 100), THREE, None, UsualNoise(noise, 100)).status is expected


def test_alone_a_model_needs_more_runs():
    """Three that agree within a percent say little by themselves."""
    few, many = runs(100, 100.5, 101), runs(100, 100.5, 101, 100.2, 100.8, 100.4)
    assert judge(few, THREE, None, QUIET).status is Status.VALID
    assert judge(few, THREE).status is Status.UNSTABLE
    assert judge(many, THREE).status is Status.VALID


def test_too_few_processes_are_unstable_and_say_how_many():
    assert judge(runs(100, 101), THREE).reasons[0] == "measured in 2 of 3 processes"
    with_error = [*runs(100, 101), Run(2, 0, error="gone")]
    assert judge(with_error, THREE).reasons[0] == "measured in 2 of 3 processes, 1 failed"


def test_only_errors_are_failed_with_the_last_one():
    verdict = judge([Run(0, 0, error="first"), Run(1, 0, error="second")], THREE)
    assert (verdict.status, verdict.reasons) == (Status.FAILED, ("second",))


def test_nothing_measured_is_failed():
    assert judge([], THREE).reasons == ("never measured",)


def test_one_error_among_enough_good_runs_does_not_hurt():
    with_error = [*runs(100, 100.1, 100.2), Run(3, 0, error="x")]
    assert judge(with_error, THREE, None, QUIET).status is Status.VALID


@pytest.mark.parametrize(
    ("disturbed", "words"),
    [
        (Run(0, 1, samples_us=(100.0,)), "round 0: 1 repeats of 2"),
        (run(100, after=Telemetry(thermal_status=2)), "round 0: thermal status 2"),
        (
            run(100, clocks=(CoreClock((4,), 1500.0, "time_in_state"),)),
            "round 0: 1500 MHz on average, usually 2000 MHz",
        ),
        (run(100, unpinned="not pinned: no taskset"), "round 0: not pinned: no taskset"),
    ],
)
def test_a_disturbed_run_does_not_count(disturbed, words):
    fast = {
        "clocks": (CoreClock((4,), 2000.0, "time_in_state"),),
        "after": Telemetry(thermal_status=0),
    }
    others = [run(us, number, **fast) for number, us in ((1, 101), (2, 102))]
    assert words in judge([disturbed, *others], THREE, None, QUIET).reasons
    enough = [disturbed, *others, run(103, 3, **fast)]
    replaced = measurement("k", DEVICE, enough, THREE)
    assert replaced.centre_us == 102  # of 101, 102, 103: the disturbed 100 is left out
    assert disturbed in replaced.runs
    assert not any(words in reason for reason in replaced.verdict.reasons)


def test_unreadable_telemetry_accuses_nobody():
    unreadable = runs(100, 100, 100, after=Telemetry(thermal_status="unreadable"))
    assert judge(unreadable, THREE).status is Status.VALID


def test_the_reference_is_the_usual_clock_not_the_fastest():
    """One run in a burst of the clock does not accuse all others."""

    def at(mhz: int, number: int) -> Run:
        return run(
            100,
            number,
            clocks=(CoreClock((4,), float(mhz), "time_in_state"),),
        )

    burst = [at(2800, 0), *(at(2000, number) for number in range(1, 4))]
    assert disturbances(burst, THREE, None) == [()] * 4


def test_a_probe_far_from_the_usual_clock_disturbs_its_run():
    """By such a probe a run looks faster than any other, whatever slowed the probe."""
    measured = [run(100, number, clock_us=70.0) for number in range(4)]
    odd = run(105, 4, clock_us=91.0)
    (*fine, why) = disturbances([*measured, odd], HOST_LIKE, None)
    assert fine == [()] * 4
    assert why == ("the core was at 77% of its usual speed",)


def test_more_cpu_time_than_wall_time_means_threads():
    threads = judge(runs(100, 100, 100, cpu_per_wall=1.9), THREE)
    assert threads.reasons == ("1.90 s of CPU time per second: more than one thread",)
    once = [run(100, 0, cpu_per_wall=2.0), *runs(100, 100, cpu_per_wall=1.0)]
    assert judge(once, THREE).status is Status.VALID  # a glitch of one clock reading


def test_a_run_that_shared_its_core_does_not_count():
    sharing = replace(THREE, min_cpu_per_wall=0.9)
    shared = run(200, 0, cpu_per_wall=0.5)
    alone = [run(us, us, cpu_per_wall=1.0) for us in (100, 101, 102)]
    few = measurement("k", DEVICE, [shared, *alone[:2]], sharing)
    assert few.verdict.reasons[0] == "round 0: had the core for 50% of its time"
    assert few.centre_us == 100.5  # the two that can be trusted
    assert measurement("k", DEVICE, [shared, *alone], sharing).centre_us == 101
    assert judge(runs(100, 100, 100), sharing).status is Status.VALID  # unknown accuses nobody


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_a_drifting_sentinel_disturbs_the_runs_of_its_round(factor):
    beside = sentinels(50, 50, 50 * factor)
    verdict = judge(runs(100, 100, 100), THREE, beside, QUIET)
    assert verdict.reasons[0].startswith("round 2: the sentinel beside it drifted")
    assert judge(runs(100, 100, 100), THREE, None, QUIET).status is Status.VALID


def test_drift_is_what_the_nearest_sentinels_saw():
    """Slow at the start of round 2, usual beside the run: one noisy visit accuses nobody."""
    beside = [*sentinels(50, 50, 50), run(80, 2, 1), run(50, 2, 20)]
    late = [run(100, 0), run(100, 1), run(100, 2, position=10)]
    assert judge(late, THREE, beside).status is Status.VALID
    slow = [*sentinels(50, 50), run(50, 2, 0), run(80, 2, 9), run(80, 2, 20)]
    assert "drifted +60.0%" in judge(late, THREE, slow).reasons[0]


def test_no_sentinel_in_a_round_is_said():
    found = judge(runs(100, 100, 100), THREE, sentinels(50, 50)).reasons
    assert found[0] == "round 2: no sentinel run in this round"


def test_a_failed_sentinel_is_no_sentinel():
    failed = [*sentinels(50, 50), Run(2, 0, error="gone")]
    assert "no sentinel run" in judge(runs(100, 101, 102), THREE, failed).reasons[0]


@settings(deadline=None)
@given(figures, st.lists(st.floats(1, 1e6), max_size=9))
def test_later_rounds_of_the_sentinel_never_change_a_verdict(values, later):
    beside = sentinels(*[50.0] * len(values))
    more = [*beside, *(run(us, len(values) + i, 0) for i, us in enumerate(later))]
    assert judge(runs(*values), THREE, more) == judge(runs(*values), THREE, beside)


# Measurements


def test_measurement_keeps_every_run_and_counts_all_of_them():
    measured = [*runs(130, 104, 100, 102), Run(4, 0, error="gone")]
    result = measurement("k", DEVICE, measured, THREE)
    assert result.runs == tuple(measured)
    assert (result.centre_us, result.count) == (103, 8)
    assert result.spread == pytest.approx(0.3)
    assert result.verdict == judge(measured, THREE)
    low, high = result.interval_us
    assert low * high == pytest.approx(103**2)
    assert high / 103 - 1 == pytest.approx(result.half_width)


def test_a_failed_measurement_has_no_number():
    result = measurement("k", DEVICE, [Run(0, 0, error="gone")], THREE)
    assert (result.centre_us, result.spread, result.count) == (None, None, 0)
    assert result.half_width is result.interval_us is None


def test_a_measurement_that_one_run_stands_on_has_no_interval():
    result = measurement("k", DEVICE, runs(100), THREE)
    assert result.verdict.status is Status.UNSTABLE
    assert result.interval_us == (0, math.inf)
    counts = replace(THREE, rounds=1, extra_rounds=0)  # a second run would say the same
    exact = measurement("k", DEVICE, runs(100), counts)
    assert (exact.verdict.status, exact.half_width) == (Status.VALID, 0)


def test_measurements_share_one_clock_and_leave_the_sentinel_out():
    """Two models of 50 probes each, measured while the core was slow and while it was fast."""
    slow = [run(50 * 5.0, n, clock_us=5.0) for n in range(3)]
    fast = [run(50 * 4.0, n, clock_us=4.0) for n in range(3)]
    watch = [run(20.0, n, at, clock_us=4.0) for n in range(3) for at in (0, 2)]
    stored = {"slow": slow, "fast": fast, "watch": watch}
    result = measurements(DEVICE, stored, THREE, "watch")
    assert list(result) == ["slow", "fast"]
    assert [result[key].centre_us for key in result] == pytest.approx([200, 200])
    assert {result[key].verdict.status for key in result} == {Status.VALID}
    again = measurements(DEVICE, stored, THREE, "watch", clock_us=5.0)
    assert again["fast"].centre_us == pytest.approx(250)
