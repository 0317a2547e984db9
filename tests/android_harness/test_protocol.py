"""Limits of a campaign, and the presets."""

from __future__ import annotations

import random
from dataclasses import fields, replace

import msgspec
import numpy as np
import pytest

from mnasfpn.android_harness.measurement import DeviceInfo
from mnasfpn.android_harness.protocol import (
    HOST_PROTOCOL,
    PHONE_PROTOCOL,
    SIMULATED_PROTOCOL,
    STATISTICS,
    MeasuringProtocol,
    protocol_for,
    quick,
)
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


def test_every_limit_is_in_the_docs(pytestconfig):
    text = (pytestconfig.rootpath / "docs/protocol.md").read_text()
    missing = [field.name for field in fields(MeasuringProtocol) if f"`{field.name}`" not in text]
    assert not missing


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
