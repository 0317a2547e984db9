"""The virtual ARM phone over the real adb server and adbd."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mnasfpn.android_harness.device import Job, RunSettings
from mnasfpn.android_harness.host.native_build import build_runner
from mnasfpn.android_harness.measurement import Run
from mnasfpn.android_harness.phone.android import AndroidDevice
from mnasfpn.errors import StableDeviceError
from mnasfpn.latency.kernels.execution import execution_plan
from mnasfpn.latency.profiling.head_graph import head_graph
from mnasfpn.latency.profiling.packing import pack, step_latencies_us
from mnasfpn.latency.profiling.sampled_heads import random_heads
from mnasfpn.latency.profiling.space_kernels import space_kernels
from mnasfpn.models.space import MNASFPN
from mnasfpn.models.tflite.writer import write_tflite
from mnasfpn.tests.android_harness.phone.adbd_phone import Phone
from mnasfpn.tests.android_harness.phone.virtual_arm import (
    ABI,
    CPUS,
    VirtualCpu,
    make_launcher,
    what_is_missing,
)
from mnasfpn.tests.android_harness.phone.virtual_phone import virtual_phone

pytestmark = [pytest.mark.phone, pytest.mark.xdist_group("phone")]
if missing := what_is_missing():
    pytest.skip(missing, allow_module_level=True)

ONCE = RunSettings(warmup_runs=1, runs=1, max_s=60, timeout_s=60)
PROFILED = RunSettings(warmup_runs=1, runs=1, max_s=60, timeout_s=60, op_profile=True)


@pytest.fixture
def started(adb_server: int, tmp_path: Path) -> Iterator[Callable[[VirtualCpu], Phone]]:
    import adbutils

    phones: list[Phone] = []

    def start(cpu: VirtualCpu) -> Phone:
        phones.append(virtual_phone(tmp_path / f"phone{len(phones)}", cpu).start())
        adbutils.AdbClient().connect(phones[-1].serial, timeout=10)
        return phones[-1]

    yield start
    for phone in phones:
        adbutils.AdbClient().disconnect(phone.serial)
        phone.stop()


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Job:
    genotype = random_heads(MNASFPN, 1, seed=3)[0].genotype
    path = tmp_path_factory.mktemp("models") / "head.tflite"
    path.write_bytes(write_tflite(head_graph(genotype, input_size=64)))
    return Job("head", path)


def measure(device: AndroidDevice, job: Job, settings: RunSettings, round_number: int = 0) -> Run:
    ((_, run),) = device.run_round([job], settings, round_number)
    assert not run.error
    return run


@pytest.mark.parametrize("cpu", CPUS.values(), ids=CPUS)
def test_a_simulated_phone_says_so_wherever_it_is_named(
    cpu: VirtualCpu, started: Callable[[VirtualCpu], Phone]
) -> None:
    device = AndroidDevice(started(cpu).serial, make_launcher(cpu))
    info = device.describe()
    assert info.provenance == "simulated"
    assert info.model == f"mnasfpn virtual phone (simulated {cpu.name})"
    assert info.soc == f"simulated {cpu.name}"
    assert info.cores == tuple(range(8))


def test_over_adb_a_model_takes_the_same_time_in_every_process(
    head: Job, started: Callable[[VirtualCpu], Phone]
) -> None:
    for cpu in CPUS.values():
        device = AndroidDevice(started(cpu).serial, make_launcher(cpu))
        first, second = (measure(device, head, ONCE, number) for number in (0, 1))
        assert first.stats_us == second.stats_us
        assert first.init_us == second.init_us


def test_the_operator_profile_of_a_head_adds_up_to_its_latency(
    head: Job, started: Callable[[VirtualCpu], Phone]
) -> None:
    """Every kernel has its row, and beside them there is only the call of the interpreter."""
    cpu = CPUS["cortex-a76"]
    device = AndroidDevice(started(cpu).serial, make_launcher(cpu))
    run = measure(device, head, PROFILED)
    genotype = random_heads(MNASFPN, 1, seed=3)[0].genotype
    plan = execution_plan(head_graph(genotype, input_size=64))
    kernels_us = sum(step_latencies_us(plan, run.op_profile))
    assert kernels_us < run.stats_us["min"] < 1.25 * kernels_us


def test_packed_kernels_come_back_from_the_phone(
    tmp_path: Path, started: Callable[[VirtualCpu], Phone]
) -> None:
    cpu = CPUS["cortex-a53"]
    device = AndroidDevice(started(cpu).serial, make_launcher(cpu))
    (found,) = pack(space_kernels(MNASFPN, input_size=64)[::8])
    path = tmp_path / "pack.tflite"
    path.write_bytes(write_tflite(found.graph))
    first, second = (
        found.latencies_us(measure(device, Job("pack", path), PROFILED, number).op_profile)
        for number in (0, 1)
    )
    assert first == second
    assert set(first) == set(found.kernels)


def test_a_program_of_the_phones_real_abi_is_refused_with_the_reason(
    head: Job, started: Callable[[VirtualCpu], Phone]
) -> None:
    """The launcher stands for it: without binfmt_misc an AArch64 program cannot be executed."""
    cpu = CPUS["cortex-a76"]
    with pytest.raises(StableDeviceError, match="built for another processor"):
        measure(AndroidDevice(started(cpu).serial, build_runner(ABI)), head, ONCE)


def test_started_by_hand_it_says_how_to_use_and_stop_it(adb_server: int) -> None:
    script = Path(__file__).parent / "virtual_phone.py"
    process = subprocess.Popen(
        [sys.executable, script, "--cpu", "cortex-a53"],
        stdout=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
    )
    assert process.stdout
    lines = []
    while not lines or "Ctrl-C" not in lines[-1]:
        lines.append(process.stdout.readline())
        assert lines[-1], "it ended by itself"
    text = "".join(lines)
    assert "simulated cortex-a53" in text
    found = re.search(r"serial: (\S+)", text)
    assert found
    device = AndroidDevice(found[1], make_launcher(CPUS["cortex-a53"]))
    assert device.describe().serial == "virtual-cortex-a53"
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    assert process.stdout.read() == "stopped\n"
    process.stdout.close()
