"""What a run and a measurement refuse, and that they survive JSON."""

from __future__ import annotations

import msgspec
import pytest

from mnasfpn.android_harness.measurement import (
    DeviceInfo,
    Measurement,
    OpTiming,
    Run,
    Status,
    Telemetry,
    Verdict,
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
        after=Telemetry(
            frequency_mhz={"cpu1": "unreadable"}, time_in_state={"cpu1": {"800000": 1}}
        ),
        op_profile=(OpTiming("CONV_2D", "conv", 1.5),),
        clock_us=70.5,
    )
    verdict = Verdict(Status.UNSTABLE, ("why",))
    whole = Measurement("k", DEVICE, (run,), 1.5, 0.1, 2, verdict)
    assert msgspec.json.decode(msgspec.json.encode(whole), type=Measurement) == whole
