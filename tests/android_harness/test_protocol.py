"""Limits of a campaign, and the presets."""

from __future__ import annotations

import random
from dataclasses import fields, replace

import msgspec
import numpy as np
import pytest

from mnasfpn.android_harness.device import RunSettings
from mnasfpn.android_harness.interval import UsualNoise
from mnasfpn.android_harness.measurement import DeviceInfo, Run, Status
from mnasfpn.android_harness.protocol import (
    HOST_PROTOCOL,
    PHONE_PROTOCOL,
    SIMULATED_PROTOCOL,
    STATISTICS,
    MeasuringProtocol,
    protocol_for,
    quick,
)
from mnasfpn.android_harness.verdict import judge, measurement
from mnasfpn.errors import InvalidInput

THREE = MeasuringProtocol("three", statistics=("median",), rounds=3, runs=2)
DEVICE = DeviceInfo("host", "m", "s", "o", "x86_64", "r")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"statistics": ()}, "expected one or more of min, p5"),
        ({"statistics": ("mode",)}, "mode"),
        ({"rounds": 0}, "rounds is 0; expected 1 or more"),
        ({"runs": 0}, "runs is 0"),
        ({"sentinel_every": 0}, "sentinel_every"),
        ({"error_runs": 0}, "error_runs"),
        ({"max_half_width": -0.01}, "max_half_width is -0.01; expected 0 or more"),
        ({"max_sentinel_drift": float("nan")}, "max_sentinel_drift is nan"),
        ({"quantile": 1.5}, "quantile is 1.5; expected 0 to 1"),
        ({"max_s": 0.0}, "max_s is 0.0"),
        ({"max_s": 70.0}, "at most half of timeout_s, 60.0"),
        ({"retries": -1}, "retries"),
    ],
)
def test_protocol_names_the_limit_that_is_out_of_range(change, words):
    with pytest.raises(InvalidInput, match=words):
        replace(THREE, **change)


@pytest.mark.parametrize("protocol", [HOST_PROTOCOL, PHONE_PROTOCOL])
def test_presets_measure_in_at_least_three_processes_and_survive_json(protocol):
    assert protocol.rounds >= 3
    assert protocol.max_half_width == 0.05
    assert msgspec.json.decode(msgspec.json.encode(protocol), type=MeasuringProtocol) == protocol


def test_settings_of_a_visit_are_the_protocols():
    settings = HOST_PROTOCOL.run_settings(xnnpack=False, op_profile=True)
    shared = {field.name for field in fields(HOST_PROTOCOL)} & {
        field.name for field in fields(settings)
    }
    assert shared == {"warmup_runs", "warmup_min_s", "runs", "min_s", "max_s", "timeout_s"}
    assert all(getattr(settings, name) == getattr(HOST_PROTOCOL, name) for name in shared)
    assert (settings.xnnpack, settings.op_profile) == (False, True)


def test_the_host_and_a_phone_have_their_own_protocol():
    assert protocol_for(DEVICE) is HOST_PROTOCOL
    assert protocol_for(replace(DEVICE, serial="8A1X0")) is PHONE_PROTOCOL
    assert (
        protocol_for(replace(DEVICE, serial="8A1X0", provenance="simulated")) is SIMULATED_PROTOCOL
    )


def written(value):
    """A limit as the document has it, without its unit."""
    return ", ".join(value) if isinstance(value, tuple) else value


def read_limit(cell: str):
    """``5 %`` -> 0.05, ``0.5 s`` -> 0.5, ``host`` -> itself."""
    number, _, unit = cell.partition(" ")
    try:
        return float(number) / (100 if unit == "%" else 1)
    except ValueError:
        return cell


def test_the_limits_in_the_docs_are_the_codes(pytestconfig):
    text = (pytestconfig.rootpath / "docs/protocol.md").read_text()
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| `")]
    found = {row[0].strip(" `"): [read_limit(cell.strip()) for cell in row[1:3]] for row in rows}
    assert found == {
        field.name: [
            written(getattr(protocol, field.name)) for protocol in (HOST_PROTOCOL, PHONE_PROTOCOL)
        ]
        for field in fields(MeasuringProtocol)
    }


def visit(first_s: float, latency_s: float, settings: RunSettings) -> tuple[int, float]:
    """Repeats, and seconds of a visit, by the rule that the benchmark tool follows."""

    def phase(runs: int, min_s: float, first_s: float) -> tuple[int, float]:
        done, spent_s = 0, 0.0
        while (done < runs or spent_s < min_s) and spent_s <= settings.max_s:
            spent_s += latency_s if done else first_s
            done += 1
        return done, spent_s

    _, warmup_s = phase(settings.warmup_runs, settings.warmup_min_s, first_s)
    repeats, spent_s = phase(settings.runs, settings.min_s, latency_s)
    return repeats, warmup_s + spent_s


@pytest.mark.parametrize("protocol", [HOST_PROTOCOL, PHONE_PROTOCOL])
@pytest.mark.parametrize("latency_s", [0.001, 0.05, 0.5, 2.0, 6.0])
def test_slow_models_have_enough_repeats_in_time(protocol, latency_s):
    """Also when the first inference takes 10 s more: it reads the file and packs the weights."""
    repeats, spent_s = visit(latency_s + 10, latency_s, protocol.run_settings())
    assert repeats >= protocol.runs == 5
    assert spent_s < protocol.timeout_s / 2
    enough = [
        Run(number, 1, stats_us={"p5": 1e6, "median": 1e6, "count": repeats})
        for number in range(protocol.rounds)
    ]
    usual = UsualNoise(0.005, 100)
    assert judge(enough, protocol, None, usual).status is Status.VALID


@pytest.mark.parametrize("protocol", [HOST_PROTOCOL, PHONE_PROTOCOL])
@pytest.mark.parametrize("latency_s", [12.0, 25.0])
def test_the_slowest_have_a_number_and_the_reason_why_it_is_unstable(protocol, latency_s):
    repeats, spent_s = visit(latency_s + 10, latency_s, protocol.run_settings())
    assert 1 <= repeats < 5
    assert spent_s < protocol.timeout_s
    few = [
        Run(number, 1, stats_us={"p5": 1e6, "median": 1e6, "count": repeats})
        for number in range(protocol.rounds)
    ]
    found = measurement("slow", DEVICE, few, protocol)
    assert found.centre_us == 1e6
    assert f"round 0: {repeats} repeats of 5" in found.verdict.reasons


def test_statistics_of_samples_match_numpy():
    samples = tuple(random.Random(0).uniform(1, 9) for _ in range(37))
    expected = {
        "min": np.min(samples),
        "p5": np.percentile(samples, 5),
        "median": np.median(samples),
        "p95": np.percentile(samples, 95),
        "avg": np.mean(samples),
    }
    assert {name: of(samples) for name, of in STATISTICS.items()} == pytest.approx(expected)


def test_a_quick_protocol_never_asks_for_more():
    assert (quick(HOST_PROTOCOL).rounds, quick(HOST_PROTOCOL).runs) == (4, 3)
    assert quick(HOST_PROTOCOL).min_cpu_per_wall == HOST_PROTOCOL.min_cpu_per_wall
    few = replace(THREE, runs=3, extra_rounds=1, warmup_runs=1)
    assert replace(quick(few), name=few.name) == few
