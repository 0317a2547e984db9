"""Everything that goes wrong with phones: each ends in a bounded retry or a clear stop."""

from __future__ import annotations

import os
import re
import signal
import struct
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from adbd_phone import Phone
from cable import Cable

from mnasfpn.android_harness.campaign import campaign
from mnasfpn.android_harness.device import Job, RunSettings
from mnasfpn.android_harness.measurement import Run
from mnasfpn.android_harness.phone.adb import AdbDevice
from mnasfpn.android_harness.phone.android import AndroidDevice
from mnasfpn.android_harness.phone.benchmark_tool import place
from mnasfpn.android_harness.protocol import PHONE_PROTOCOL
from mnasfpn.errors import StableDeviceError, TransientDeviceError

pytestmark = [pytest.mark.phone, pytest.mark.xdist_group("phone")]
TOOL = Path(__file__).parent / "recorded_benchmark_model"
SETTINGS = RunSettings(warmup_runs=1, runs=20, min_s=0.0, max_s=5, timeout_s=60)
HASTY = replace(SETTINGS, timeout_s=4)
PROTOCOL = replace(PHONE_PROTOCOL, rounds=1, extra_rounds=0, retry_wait_s=0.1, sentinel_every=2)


def job(folder: Path, key: str, does: str) -> Job:
    path = folder / f"{key}.tflite"
    path.write_text(f"{does}\n{key}\n")
    return Job(key, path)


def good_jobs(folder: Path, count: int) -> list[Job]:
    return [job(folder, f"model {number}", f"us={1000 + number}") for number in range(count)]


def runs(device: AndroidDevice, jobs: list[Job], settings: RunSettings = SETTINGS) -> list[Run]:
    return [run for _, run in device.run_round(jobs, settings, 0)]


def programs_on(phone: Phone) -> int:
    """Benchmark programs running on the phone."""
    return sum(line.startswith("sh ./benchmark_model --graph=") for line in phone.processes())


@pytest.fixture
def cable(phone: Phone) -> Iterator[Cable]:
    import adbutils

    between = Cable(phone.port)
    yield between
    adbutils.AdbClient().disconnect(between.serial)
    between.close()


@pytest.fixture
def device(phone: Phone) -> AndroidDevice:
    return AndroidDevice(phone.serial, TOOL, reconnect_s=20)


# The connection


def test_unplugged_in_the_middle_of_a_campaign(
    phone: Phone, device: AndroidDevice, tmp_path: Path
) -> None:
    """Plugged in again, it goes on with the model that was interrupted; nothing is lost."""
    jobs, sentinel = good_jobs(tmp_path, 4), job(tmp_path, "sentinel", "us=500")
    done: list[tuple[str, int]] = []
    for at, run in campaign(device, jobs, PROTOCOL, 0, SETTINGS, sentinel=sentinel):
        done.append((at.key, run.round))
        assert not run.error
        if len(done) == 3:
            phone.stop()
            threading.Timer(0.3, phone.start).start()
    assert [key for key, _ in done].count("sentinel") == 3
    assert sorted(key for key, _ in done if key != "sentinel") == [at.key for at in jobs]


def test_unplugged_for_good(phone: Phone, device: AndroidDevice, tmp_path: Path) -> None:
    device.reconnect_s = 0.5
    round_ = device.run_round(good_jobs(tmp_path, 2), SETTINGS, 0)
    next(round_)
    phone.stop()
    with pytest.raises(TransientDeviceError, match="lost"):
        next(round_)
    with pytest.raises(TransientDeviceError, match=r"did not come back within 0\.5 s.*cable"):
        runs(device, good_jobs(tmp_path, 2))


def test_adb_server_killed(phone: Phone, device: AndroidDevice, tmp_path: Path) -> None:
    import adbutils

    jobs, sentinel = good_jobs(tmp_path, 2), job(tmp_path, "sentinel", "us=500")
    keys = []
    for at, run in campaign(device, jobs, PROTOCOL, 0, SETTINGS, sentinel=sentinel):
        assert not run.error
        keys.append(at.key)
        if len(keys) == 2:
            adbutils.AdbClient().server_kill()
    assert sorted(keys) == sorted(at.key for at in [*jobs, sentinel, sentinel])


def test_the_phone_restarts(phone: Phone, device: AndroidDevice, tmp_path: Path) -> None:
    """It answers adb long before it has booted; until then it is waited for."""
    runs(device, good_jobs(tmp_path, 1))
    phone.stop()
    phone.set_properties({"sys.boot_completed": ""})
    phone.start()
    device.reconnect_s = 0.5
    with pytest.raises(TransientDeviceError, match="still booting"):
        runs(device, good_jobs(tmp_path, 1))
    threading.Timer(0.5, phone.set_properties, ({},)).start()
    device.reconnect_s = 20
    assert not runs(device, good_jobs(tmp_path, 1))[0].error


def test_a_push_cut_short_is_done_again(phone: Phone, cable: Cable, tmp_path: Path) -> None:
    device = AdbDevice(cable.serial)
    device.wait(10)
    model = tmp_path / "big.tflite"
    model.write_bytes(os.urandom(3_000_000))
    cable.break_after(1_000_000)
    assert place(device, {"/data/local/tmp/big.tflite": model}) == 1
    assert cable.breaks == 1
    assert (phone.tmp / "big.tflite").read_bytes() == model.read_bytes()


def test_a_push_that_is_always_cut_short_stops(phone: Phone, cable: Cable, tmp_path: Path) -> None:
    """And half a file is never found under the name of the whole."""
    device = AdbDevice(cable.serial)
    device.wait(10)
    wait = device.wait

    def broken_again(timeout_s: float = 60.0) -> None:
        wait(timeout_s)
        cable.break_after(1_000_000)

    device.wait = broken_again  # type: ignore[method-assign]
    cable.break_after(1_000_000)
    model = tmp_path / "big.tflite"
    model.write_bytes(os.urandom(3_000_000))
    with pytest.raises(TransientDeviceError):
        place(device, {"/data/local/tmp/big.tflite": model})
    assert cable.breaks == 3
    assert not (phone.tmp / "big.tflite").exists()


# The phone


def test_disk_full(new_phone: Callable[..., Phone], tmp_path: Path) -> None:
    phone = new_phone(disk="1m")
    device = AndroidDevice(phone.serial, TOOL)
    big = tmp_path / "big.tflite"
    big.write_bytes(b"us=1000\n" + bytes(2_000_000))
    with pytest.raises(StableDeviceError, match=r"No space left on device; free some space"):
        runs(device, [Job("big", big)])
    AdbDevice(phone.serial).shell("rm /data/local/tmp/mnasfpn/models/*")
    assert not runs(device, good_jobs(tmp_path, 1))[0].error


def test_disk_fills_up_while_the_program_runs(device: AndroidDevice, tmp_path: Path) -> None:
    with pytest.raises(StableDeviceError, match="No space left on device; free some space"):
        runs(device, [job(tmp_path, "a", "full_disk")])


def test_a_phone_that_is_hot_still_reports(
    phone: Phone, device: AndroidDevice, tmp_path: Path
) -> None:
    phone.set_state("thermal_status", "3")
    phone.set_state("khz", "710400")
    (run,) = runs(device, good_jobs(tmp_path, 1))
    assert run.after.thermal_status == 3
    states = run.after.time_in_state["policy4"]
    assert states["710400"] - run.before.time_in_state["policy4"]["710400"] == 30


# The program


def elf(machine: int) -> bytes:
    return b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHI", 2, machine, 1) + bytes(40)


def test_a_program_for_another_processor_is_seen_in_its_header(
    phone: Phone, tmp_path: Path
) -> None:
    program = tmp_path / "benchmark_model"
    program.write_bytes(elf(62))
    with pytest.raises(StableDeviceError, match=r"built for x86_64 but the phone runs arm64-v8a"):
        AndroidDevice(phone.serial, program)


def test_a_program_that_the_phone_cannot_execute(phone: Phone, tmp_path: Path) -> None:
    program = tmp_path / "benchmark_model"
    program.write_bytes(elf(183))
    device = AndroidDevice(phone.serial, program)
    with pytest.raises(StableDeviceError, match="another processor: get the build for"):
        runs(device, good_jobs(tmp_path, 1))


def test_a_program_that_vanishes_is_pushed_again(
    phone: Phone, device: AndroidDevice, tmp_path: Path
) -> None:
    jobs = good_jobs(tmp_path, 2)
    round_ = device.run_round(jobs, SETTINGS, 0)
    next(round_)
    (phone.tmp / "mnasfpn/benchmark_model").unlink()
    with pytest.raises(TransientDeviceError, match=r"is gone.*pushed again"):
        next(round_)
    assert not runs(device, jobs[1:])[0].error


def test_a_program_that_may_not_be_executed(
    phone: Phone, device: AndroidDevice, tmp_path: Path
) -> None:
    round_ = device.run_round(good_jobs(tmp_path, 2), SETTINGS, 0)
    next(round_)
    (phone.tmp / "mnasfpn/benchmark_model").chmod(0o644)
    with pytest.raises(StableDeviceError, match="Permission denied; the phone does not let it"):
        next(round_)


BAD_MODELS = {
    "reject": "exit code 1.*Didn't find op for builtin opcode",
    "not a model": "not a valid Flatbuffer",
    "crash": "ended by signal 11",
    "garbage": "did not get as far as measuring",
    "two_threads": r"Num threads: \[1\] but it says \[2\]",
    "hang": "had not finished after 4 s and was ended on the phone",
}


def test_a_bad_model_costs_one_run(phone: Phone, device: AndroidDevice, tmp_path: Path) -> None:
    jobs = [job(tmp_path, does, does) for does in BAD_MODELS]
    first, *bad, last = runs(device, [*good_jobs(tmp_path, 1), *jobs, job(tmp_path, "z", "us=7")],
                             HASTY)  # fmt: skip
    assert (first.error, last.error) == ("", "")
    for run, (does, says) in zip(bad, BAD_MODELS.items(), strict=True):
        assert re.search(says, run.error), does
    assert phone.becomes_idle()


def test_nothing_works(device: AndroidDevice, tmp_path: Path) -> None:
    """A campaign of a thousand models that all hang stops after three."""
    jobs = [job(tmp_path, f"bad {number}", "reject") for number in range(9)]
    round_ = device.run_round(jobs, SETTINGS, 0)
    assert [next(round_)[1].error[:5] for _ in range(2)] == ["the b"] * 2
    with pytest.raises(StableDeviceError, match=r"first 3 runs .* failed.*Didn't find op"):
        next(round_)


# Us


CHILD = """
import sys
from pathlib import Path
from mnasfpn.android_harness.phone.android import AndroidDevice
from mnasfpn.android_harness.device import Job, RunSettings

serial, tool, timeout_s, *models = sys.argv[1:]
settings = RunSettings(warmup_runs=1, runs=20, min_s=0, max_s=1, timeout_s=float(timeout_s))
with AndroidDevice(serial, Path(tool)) as device:
    jobs = [Job(model, Path(model)) for model in models]
    for job, run in device.run_round(jobs, settings, 0):
        print(run.stats_us["min"], flush=True)
"""


@pytest.fixture
def child(
    request: pytest.FixtureRequest, phone: Phone, tmp_path: Path
) -> Iterator[subprocess.Popen[str]]:
    """A campaign in a process of its own, in the middle of a model that hangs.

    Parametrised, it is the time that a visit may take, in seconds.
    """
    jobs = [job(tmp_path, "a", "us=1200"), job(tmp_path, "b", "hang")]
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, phone.serial, TOOL, str(getattr(request, "param", 60))]
        + [str(at.model) for at in jobs],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "1200.0\n"
    deadline = time.monotonic() + 60
    while not list((phone.folder / "data").glob("never.*")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    yield process
    process.kill()
    process.wait()


def test_kill_9_of_our_own_process(
    phone: Phone, child: subprocess.Popen[str], tmp_path: Path
) -> None:
    """The next campaign ends what was left running and puts back the settings of before."""
    child.kill()
    child.wait()
    assert programs_on(phone) == 1
    assert phone.get_state("settings/global/stay_on_while_plugged_in") == "7"
    with AndroidDevice(phone.serial, TOOL) as device:
        assert not runs(device, good_jobs(tmp_path, 1))[0].error
        assert phone.becomes_idle()
    assert phone.get_state("settings/global/stay_on_while_plugged_in") == "0"
    assert phone.get_state("wakefulness") == "Asleep"


@pytest.mark.parametrize("child", [8], indirect=True)
def test_a_program_nobody_waits_for_is_ended_on_the_phone(
    phone: Phone, child: subprocess.Popen[str]
) -> None:
    """Its time is up whether or not the connection still stands."""
    child.kill()
    child.wait()
    assert programs_on(phone) == 1
    assert phone.becomes_idle()


def test_ctrl_c(phone: Phone, child: subprocess.Popen[str]) -> None:
    child.send_signal(signal.SIGINT)
    assert child.wait(60) != 0
    assert child.stderr
    assert "KeyboardInterrupt" in child.stderr.read()
    assert phone.becomes_idle()
    assert phone.get_state("settings/global/stay_on_while_plugged_in") == "0"


def test_settings_of_a_phone_that_is_lost(phone: Phone, tmp_path: Path) -> None:
    """It says what to undo, and does it itself when the phone is measured on again."""
    device = AndroidDevice(phone.serial, TOOL).__enter__()
    device.patience_s = 0.2
    phone.stop()
    with pytest.warns(RuntimeWarning, match="settings delete global stay_on_while_plugged_in"):
        device.__exit__(None, None, None)
    phone.start()
    assert phone.get_state("settings/global/stay_on_while_plugged_in") == "7"
    with AndroidDevice(phone.serial, TOOL):
        pass
    assert phone.get_state("settings/global/stay_on_while_plugged_in") == "0"


def test_a_phone_that_comes_back_gets_its_settings(phone: Phone) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        with AndroidDevice(phone.serial, TOOL):
            phone.stop()
            threading.Timer(0.3, phone.start).start()
    assert phone.get_state("settings/global/stay_on_while_plugged_in") == "0"


def test_two_phones_at_once(new_phone: Callable[..., Phone], tmp_path: Path) -> None:
    """One campaign each, in parallel; each phone sees only its own."""
    phones = [new_phone(), new_phone()]
    jobs, sentinel = good_jobs(tmp_path, 3), job(tmp_path, "sentinel", "us=500")
    results: dict[str, list[tuple[str, float]]] = {}

    def measure(phone: Phone) -> None:
        device = AndroidDevice(phone.serial, TOOL)
        results[phone.serial] = [
            (at.key, run.stats_us["min"])
            for at, run in campaign(device, jobs, PROTOCOL, 0, SETTINGS, sentinel=sentinel)
        ]

    threads = [threading.Thread(target=measure, args=(phone,)) for phone in phones]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first, second = results.values()
    assert first == second
    assert len(first) == 3 + 3
