"""The simulated phone by itself: heat by its equation, time from the model, and its name."""

from __future__ import annotations

import math
import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mnasfpn.android_harness.campaign import campaign
from mnasfpn.android_harness.device import Job, RunSettings
from mnasfpn.android_harness.measurement import Run, Status
from mnasfpn.android_harness.phone.adb import AdbDevice
from mnasfpn.android_harness.phone.android import AndroidDevice
from mnasfpn.android_harness.protocol import PHONE_PROTOCOL
from mnasfpn.android_harness.tool_output.benchmark_output import parse_output
from mnasfpn.android_harness.verdict import judge
from mnasfpn.models.graph.graph import Graph
from mnasfpn.models.tflite.writer import write_tflite
from mnasfpn.tests.android_harness.phone.simulated_phone import (
    MODEL,
    Physics,
    SimulatedPhone,
    convolution,
    cycles,
    simulated_tool,
)
from mnasfpn.tests.android_harness.phone.virtual_arm import CPUS, make_launcher, what_is_missing

pytestmark = [pytest.mark.phone, pytest.mark.xdist_group("phone")]
QUIET = Physics(noise=0.0)
SETTINGS = RunSettings(warmup_runs=1, runs=20, min_s=0.0, max_s=100)
NewPhone = Callable[..., SimulatedPhone]


def measure(phone: SimulatedPhone, graph: Graph, folder: Path, **settings: float) -> Run:
    path = folder / "model.tflite"
    path.write_bytes(write_tflite(graph))
    device = AndroidDevice(phone.serial, simulated_tool())
    ((_, run),) = device.run_round([Job("model", path)], replace(SETTINGS, **settings), 0)
    return run


@pytest.fixture
def phone(new_phone: NewPhone) -> SimulatedPhone:
    return new_phone(kind=SimulatedPhone, physics=QUIET)


def test_it_says_what_it_is(phone: SimulatedPhone, tmp_path: Path) -> None:
    info = AndroidDevice(phone.serial, simulated_tool()).describe()
    assert (info.provenance, info.model, info.soc) == ("simulated", MODEL, "simulated")
    measure(phone, convolution(8), tmp_path)
    folder = "/data/local/tmp/mnasfpn"
    said = AdbDevice(phone.serial).shell(f"cd {folder}; ./benchmark_model --graph=models/*").stdout
    assert f"SIMULATED device: {MODEL}. Its times are computed, not measured." in said


def test_time_follows_from_the_model(phone: SimulatedPhone, tmp_path: Path) -> None:
    """The invented core: 8 multiply-adds a cycle, and 4000 cycles for the one operator."""
    for channels in (8, 64):
        graph = convolution(channels)
        run = measure(phone, graph, tmp_path)
        assert run.stats_us["median"] == pytest.approx(cycles(graph) / 2457.6, abs=1)


def test_a_slow_phone_takes_20_times_as_long(phone: SimulatedPhone, tmp_path: Path) -> None:
    fast = measure(phone, convolution(64), tmp_path).stats_us["median"]
    phone.set_physics(replace(QUIET, slowness=20))
    slow = measure(phone, convolution(64), tmp_path).stats_us["median"]
    assert slow == pytest.approx(20 * fast, rel=0.01)


def test_rest_cools_it_by_newtons_law(phone: SimulatedPhone, tmp_path: Path) -> None:
    measure(phone, convolution(96), tmp_path, min_s=20.0)
    cold_c = QUIET.ambient_c + QUIET.c_per_w * QUIET.idle_w
    begin_c, begin_s = phone.core_c, phone.now_s
    assert begin_c > cold_c + 10
    phone.rest(50)
    assert phone.now_s == pytest.approx(begin_s + 50)
    left = math.exp(-50 / QUIET.time_constant_s)
    assert phone.core_c - cold_c == pytest.approx((begin_c - cold_c) * left)


def test_work_heats_it_and_heat_slows_its_clock(phone: SimulatedPhone, tmp_path: Path) -> None:
    """In the sun the steady state at full clock would be above the throttling temperature."""
    phone.set_physics(replace(QUIET, ambient_c=45))
    cool = measure(phone, convolution(64), tmp_path)
    hot = measure(phone, convolution(64), tmp_path, min_s=99.0)
    assert phone.core_c == pytest.approx(QUIET.throttle_c, abs=QUIET.hysteresis_c + 1)
    assert hot.stats_us["max"] > 1.05 * cool.stats_us["median"]
    assert isinstance(hot.after.thermal_status, int)
    assert hot.after.thermal_status >= 1
    phone.rest(600)
    again = measure(phone, convolution(64), tmp_path)
    assert again.stats_us["median"] == pytest.approx(cool.stats_us["median"], rel=0.01)
    assert again.after.thermal_status == 0


def test_a_model_larger_than_its_memory_is_killed(phone: SimulatedPhone, tmp_path: Path) -> None:
    """The tensors of this one take 2 x 1.02 MB and its weights 0.15 MB."""
    graph = convolution(64, size=63)
    phone.set_physics(replace(QUIET, memory_mb=2.5))
    assert not measure(phone, graph, tmp_path).error
    phone.set_physics(replace(QUIET, memory_mb=2.0))
    assert re.search("ended by signal 9.*out of memory", measure(phone, graph, tmp_path).error)


def test_a_core_that_is_off_is_off(phone: SimulatedPhone) -> None:
    adb = AdbDevice(phone.serial)
    phone.switch_core(7, False)
    pinned = "taskset f0 sh -c 'taskset -p $$'"
    assert adb.shell(pinned).stdout.endswith(" 70\n")
    phone.switch_cores((4, 5, 6), False)
    assert adb.shell(pinned).returncode == 1
    assert "policy4" not in adb.shell("ls /sys/devices/system/cpu/cpufreq").stdout
    phone.switch_cores((4, 5, 6, 7), True)
    assert adb.shell(pinned).stdout.endswith(" f0\n")
    assert "policy4" in adb.shell("ls /sys/devices/system/cpu/cpufreq").stdout


def test_a_file_that_is_no_model_is_refused(phone: SimulatedPhone, tmp_path: Path) -> None:
    good = write_tflite(convolution(8))
    adb = AdbDevice(phone.serial)
    adb.push(simulated_tool().read_bytes(), "/data/local/tmp/tool", 0o755)
    for content in (b"", b"hello", good[:40], good[: len(good) // 2]):
        adb.push(content, "/data/local/tmp/m")
        refused = adb.shell("/data/local/tmp/tool --graph=/data/local/tmp/m --num_threads=1")
        assert refused.returncode == 1
        assert refused.stderr.endswith("Benchmarking failed.\n")


@pytest.mark.slow
def test_arm_kernels_heat_it_too(new_phone: NewPhone, tmp_path: Path) -> None:
    """A campaign by the protocol of real phones: LiteRT for AArch64, its instructions counted, on
    cores so slow that a hundred thousand of them heat the phone."""
    if missing := what_is_missing():
        pytest.skip(missing)
    physics = Physics(slowness=2000, ambient_c=30)
    phone = new_phone(kind=SimulatedPhone, physics=physics)
    jobs = []
    for key, channels in {"sentinel": 8, "model": 12}.items():
        jobs.append(Job(key, tmp_path / f"{key}.tflite"))
        jobs[-1].model.write_bytes(write_tflite(convolution(channels, 8)))
    launcher = make_launcher(CPUS["cortex-a76"])
    device = AndroidDevice(phone.serial, launcher)
    cold_c, begin_s = phone.core_c, phone.now_s
    done = list(campaign(device, jobs[1:], PHONE_PROTOCOL, 0, sentinel=jobs[0], sleep=phone.rest))
    runs = {job.key: [run for at, run in done if at is job] for job in jobs}
    assert {run.error for each in runs.values() for run in each} == {""}
    assert judge(runs["model"], PHONE_PROTOCOL, runs["sentinel"]).status is Status.VALID
    assert cold_c + 2 < phone.core_c < cold_c + PHONE_PROTOCOL.cooldown_c + 10
    assert phone.now_s - begin_s > 5
    flags = ("--num_threads=1", "--warmup_min_secs=0", "--min_secs=0", "--num_runs=20")
    alone = subprocess.run(
        [launcher, f"--graph={jobs[1].model}", *flags], capture_output=True, text=True, check=True
    )
    counted_us = parse_output(alone.stdout, alone.stderr, 0).measured.avg_us
    assert runs["model"][0].stats_us["median"] == pytest.approx(2000 * counted_us, rel=0.05)
