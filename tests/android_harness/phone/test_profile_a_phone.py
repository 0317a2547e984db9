"""A phone from cable to runs, over the real adb server and adbd."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from adbd_phone import PROPERTIES, Phone

from mnasfpn.android_harness.device import Job, RunSettings
from mnasfpn.android_harness.devices import find_devices, opened
from mnasfpn.android_harness.measurement import (
    CoreClock,
    Run,
    Status,
    Telemetry,
    effective_mhz,
)
from mnasfpn.android_harness.phone.android import FOLDER, AndroidDevice
from mnasfpn.android_harness.protocol import PHONE_PROTOCOL
from mnasfpn.android_harness.telemetry import PhoneState
from mnasfpn.android_harness.verdict import judge
from mnasfpn.errors import DeviceError, InvalidInput, StableDeviceError, TransientDeviceError

pytestmark = [pytest.mark.phone, pytest.mark.xdist_group("phone")]
TOOL = Path(__file__).parent / "recorded_benchmark_model"
SETTINGS = RunSettings(warmup_runs=1, runs=20, min_s=0.0, max_s=5, timeout_s=60)


def job(folder: Path, key: str, does: str) -> Job:
    path = folder / f"{key}.tflite"
    path.write_text(does + "\n")
    return Job(key, path)


def runs(device: AndroidDevice, jobs: list[Job], settings: RunSettings = SETTINGS) -> list[Run]:
    return [run for _, run in device.run_round(jobs, settings, 0)]


def test_the_phone_describes_itself(phone: Phone) -> None:
    info = AndroidDevice(phone.serial, TOOL).describe()
    assert (info.model, info.soc) == ("Example Phone of Files", "EX100")
    assert (info.os, info.abi) == ("Android 13 (EX1A.230101.001)", "arm64-v8a")
    assert info.cores == (4, 5, 6, 7)
    assert info.provenance == "simulated"
    assert info.runtime.startswith("benchmark_model ")


def test_the_list_of_devices_says_what_a_phone_is(phone: Phone) -> None:
    (found,) = (row for row in find_devices() if row.serial == phone.serial)
    assert (found.state, found.fix) == ("device", "")
    assert found.what == (
        "Example Phone of Files, EX100, Android 13, arm64-v8a, cores: 4 at 1.77 GHz, 4 at 2.46 GHz"
    )
    shutil.rmtree(phone.folder / "sys/devices")
    phone.set_properties(dict.fromkeys(PROPERTIES, ""))
    (found,) = (row for row in find_devices() if row.serial == phone.serial)
    assert found.what.count("unreadable") == 6


def test_a_real_phone_is_not_simulated(new_phone: Callable[..., Phone]) -> None:
    phone = new_phone(properties={"ro.boot.qemu": "", "ro.serialno": "EX0042"})
    info = AndroidDevice(phone.serial, TOOL).describe()
    assert (info.provenance, info.serial) == ("measured", "EX0042")


def test_a_round(phone: Phone, tmp_path: Path) -> None:
    device = AndroidDevice(phone.serial, TOOL)
    first, second = runs(device, [job(tmp_path, "a", "us=1200"), job(tmp_path, "b", "us=3400")])
    assert first.stats_us["min"] == 1200
    assert second.stats_us["avg"] == 3401
    assert second.stats_us["median"] == 3401
    assert second.stats_us["count"] == 20
    assert (first.position, second.position) == (0, 1)
    assert first.init_us == 2500
    assert first.before.battery_percent == 87
    # 30 ticks at the highest frequency went by during the run, none at the others.
    assert first.clocks == (CoreClock((4, 5, 6, 7), pytest.approx(2457.6), "time_in_state"),)
    assert (first.unpinned, first.core_doubts) == ("", ())


def test_the_clock_is_read_around_the_program_alone(phone: Phone, tmp_path: Path) -> None:
    """Between our commands the phone is elsewhere; the other cluster never counts."""
    device = AndroidDevice(phone.serial, TOOL)
    cpus = phone.folder / "sys/devices/system/cpu/cpufreq"

    class Restless(PhoneState):
        def now(self) -> Telemetry:
            (cpus / "policy4/stats/time_in_state").write_text("710400 1\n2457600 1\n")
            seen = super().now()
            for policy in ("policy0", "policy4"):
                table = cpus / policy / "stats/time_in_state"
                rows = [line.split() for line in table.read_text().splitlines()]
                table.write_text("".join(f"{khz} {int(n) + 999}\n" for khz, n in rows))
            return seen

    device._state = Restless(device.adb, "/sys")
    phone.set_state("khz", "710400")
    (run,) = runs(device, [job(tmp_path, "a", "us=1200")])
    assert run.clocks == (CoreClock((4, 5, 6, 7), pytest.approx(710.4), "time_in_state"),)


def without_policies(phone: Phone) -> Path:
    """Its kernel is a Pixel 1's 3.18: the first core of a cluster has the folder, others a link."""
    cpus = phone.folder / "sys/devices/system/cpu"
    for core in range(8):
        link, first = cpus / f"cpu{core}/cpufreq", 4 * (core // 4)
        link.unlink()
        if core == first:
            shutil.copytree(cpus / f"cpufreq/policy{first}", link)
        else:
            link.symlink_to(f"../cpu{first}/cpufreq")
    shutil.rmtree(cpus / "cpufreq")
    return cpus


def test_a_kernel_without_policies(phone: Phone, tmp_path: Path) -> None:
    cpus = without_policies(phone)
    device = AndroidDevice(phone.serial, TOOL)
    phone.set_state("khz", "1612800")
    (run,) = runs(device, [job(tmp_path, "a", "us=1200")])
    assert device.describe().cores == (4, 5, 6, 7)
    assert run.before.frequency_mhz == {
        f"cpu{core}": pytest.approx(1766.4 if core < 4 else 2457.6) for core in range(8)
    }
    assert run.clocks == (CoreClock((4, 5, 6, 7), pytest.approx(1612.8), "time_in_state"),)
    shutil.rmtree(cpus / "cpu4/cpufreq/stats")
    (run,) = runs(device, [job(tmp_path, "a", "us=1200")])
    assert run.clocks == (CoreClock((4, 5, 6, 7), pytest.approx(2457.6), "scaling_cur_freq"),)
    (cpus / "cpu4/cpufreq/scaling_cur_freq").unlink()
    (run,) = runs(device, [job(tmp_path, "a", "us=1200")])
    assert (run.clocks, effective_mhz(run)) == ((), None)


def test_reading_clocks_costs_the_run_no_cpu_time(phone: Phone, tmp_path: Path) -> None:
    """A run of one thread would look like one of more."""
    grep = phone.folder / "system/bin/grep"
    toybox = grep.readlink()
    grep.unlink()
    grep.write_text(
        "#!/system/bin/sh\ni=0; while [ $i -lt 200000 ]; do i=$((i + 1)); done\n"
        f'exec {toybox} grep "$@"\n'
    )
    grep.chmod(0o755)
    (run,) = runs(AndroidDevice(phone.serial, TOOL), [job(tmp_path, "a", "slow")])
    assert run.clocks
    assert run.cpu_per_wall is not None
    assert run.cpu_per_wall < 0.1  # it sleeps for a second


def test_an_operator_profile_comes_from_the_csv_file(phone: Phone, tmp_path: Path) -> None:
    device = AndroidDevice(phone.serial, TOOL)
    settings = RunSettings(runs=20, min_s=0, op_profile=True)
    (run,) = runs(device, [job(tmp_path, "a", "us=1000")], settings)
    assert [(row.op, row.mean_us) for row in run.op_profile] == [
        ("Convolution (NHWC, F32) GEMM", 750),
        ("Add (ND, F32)", 250),
    ]


def test_program_and_models_are_pushed_once(phone: Phone, tmp_path: Path) -> None:
    jobs = [job(tmp_path, "a", "us=1200")]
    device = AndroidDevice(phone.serial, TOOL)
    runs(device, jobs)
    on_phone = phone.folder / "data/local/tmp/mnasfpn"
    files = sorted(on_phone.rglob("*"))
    stamps = {path: path.stat().st_mtime_ns for path in files if path.suffix == ".tflite"}
    assert len(stamps) == 1
    runs(device, jobs)
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps


def test_a_file_of_the_same_size_on_the_phone_is_not_taken_for_ours(
    phone: Phone, tmp_path: Path
) -> None:
    jobs = [job(tmp_path, "a", "us=1200")]
    device = AndroidDevice(phone.serial, TOOL)
    runs(device, jobs)
    (model,) = (phone.folder / "data/local/tmp/mnasfpn/models").iterdir()
    model.write_text("us=1300\n")
    (run,) = runs(device, jobs)
    assert run.stats_us["min"] == 1200


def test_without_taskset_nothing_is_pinned_and_every_run_says_so(
    phone: Phone, tmp_path: Path
) -> None:
    (phone.folder / "system/bin/taskset").unlink()
    with pytest.warns(RuntimeWarning, match=r"not pinned: taskset refuses cores 4-7: .*not found"):
        device = AndroidDevice(phone.serial, TOOL)
    assert device.describe().cores == ()
    (run,) = runs(device, [job(tmp_path, "a", "us=1200")])
    assert run.stats_us["min"] == 1200
    assert run.unpinned.startswith("not pinned: taskset refuses cores 4-7")
    verdict = judge([run], PHONE_PROTOCOL)
    assert verdict.status is Status.UNSTABLE
    assert f"round 0: {run.unpinned}" in verdict.reasons
    with pytest.raises(StableDeviceError, match="does not pin to core 7"):
        AndroidDevice(phone.serial, TOOL, cores=[7])


def test_a_run_that_is_moved_to_other_cores_says_so(phone: Phone, tmp_path: Path) -> None:
    device = AndroidDevice(phone.serial, TOOL)
    taskset = phone.folder / "system/bin/taskset"
    taskset.write_text(taskset.read_text().replace('mask: $mask"', 'mask: 0x0000000f"'))
    (run,) = runs(device, [job(tmp_path, "a", "us=1200")])
    assert run.unpinned == "not pinned to cores 4-7: ran on cores 0-3"
    assert run.stats_us["min"] == 1200


def test_masks_are_compared_as_numbers(phone: Phone, tmp_path: Path) -> None:
    taskset = phone.folder / "system/bin/taskset"
    taskset.write_text(taskset.read_text().replace('mask: $mask"', 'mask: 0x000000$mask"'))
    device = AndroidDevice(phone.serial, TOOL)
    assert device.describe().cores == (4, 5, 6, 7)
    (run,) = runs(device, [job(tmp_path, "a", "us=1200")])
    assert (run.error, run.unpinned) == ("", "")


def turn(phone: Phone, online: str) -> None:
    (phone.folder / "sys/devices/system/cpu/online").write_text(online + "\n")


def test_big_cores_that_are_off_are_said_and_taken_when_the_screen_brings_them(
    phone: Phone, tmp_path: Path
) -> None:
    """A hot-plug kernel: with the screen off the big cores are off, and so is their cpufreq."""
    cpus = phone.folder / "sys/devices/system/cpu"
    (cpus / "present").write_text("0-7\n")
    links = {core: (cpus / f"cpu{core}/cpufreq").readlink() for core in range(4, 8)}
    turn(phone, "0-3")
    for core in links:
        (cpus / f"cpu{core}/cpufreq").unlink()
    with pytest.warns(RuntimeWarning, match="cores 4-7 switched off and bigger than cores 0-3"):
        device = AndroidDevice(phone.serial, TOOL)
    (run,) = runs(device, [job(tmp_path, "a", "us=1200")])
    assert device.describe().cores == (0, 1, 2, 3)
    assert "cores 4-7 switched off and bigger than cores 0-3" in run.core_doubts[0]
    assert "cores 4-7 switched off" in next(
        row.what for row in find_devices() if row.serial == phone.serial
    )
    turn(phone, "0-7")
    for core, target in links.items():
        (cpus / f"cpu{core}/cpufreq").symlink_to(target)
    with device:
        assert device.describe().cores == (4, 5, 6, 7)
        (run,) = runs(device, [job(tmp_path, "a", "us=1200")])
        assert run.core_doubts == ()


def test_cores_that_are_lost_in_a_campaign_are_waited_for(phone: Phone, tmp_path: Path) -> None:
    """The kernel refuses a mask of cores that are all off; later they are back."""
    device = AndroidDevice(phone.serial, TOOL)
    taskset = phone.folder / "system/bin/taskset"
    works = taskset.read_text()
    refuses = 'echo "taskset: failed to set pid $$\'s affinity: Invalid argument" >&2; exit 1\n'
    taskset.write_text(f"#!/system/bin/sh\n{refuses}")
    with pytest.raises(TransientDeviceError, match=r"runs nothing on cores 4-7 now: .*Invalid"):
        runs(device, [job(tmp_path, "a", "us=1200")])
    taskset.write_text(works)
    assert not runs(device, [job(tmp_path, "a", "us=1200")])[0].error


def test_cores_can_be_chosen(phone: Phone, tmp_path: Path) -> None:
    with opened(phone.serial, TOOL, [2, 0]) as device:
        assert device.describe().cores == (0, 2)
        ((_, run),) = device.run_round([job(tmp_path, "a", "us=1200")], SETTINGS, 0)
        assert (run.error, run.unpinned) == ("", "")
        assert run.clocks[0].cores == (0, 2)
    with pytest.raises(InvalidInput, match="numbered from 0, got -1"):
        AndroidDevice(phone.serial, TOOL, cores=[-1])
    with pytest.raises(InvalidInput, match="--cores is for phones"), opened("host", None, [1]):
        pass


def test_two_phones_and_no_serial(new_phone: Callable[..., Phone]) -> None:
    serials = {new_phone().serial, new_phone().serial}
    with pytest.raises(InvalidInput, match="expected exactly one phone or --device") as caught:
        AndroidDevice(None, TOOL)
    assert all(serial in str(caught.value) for serial in serials)


def test_one_phone_needs_no_serial(phone: Phone) -> None:
    assert AndroidDevice(None, TOOL).adb.serial == phone.serial
    with opened("phone", TOOL) as device:
        by_word = device.describe()
    with opened(phone.serial, TOOL) as device:
        assert device.describe() == by_word


def test_settings_are_put_back(phone: Phone) -> None:
    with AndroidDevice(phone.serial, TOOL):
        assert phone.get_state("settings/global/stay_on_while_plugged_in") == "7"
        assert (phone.folder / "data/local/tmp/mnasfpn/restore").exists()
    assert phone.get_state("settings/global/stay_on_while_plugged_in") == "0"
    assert phone.get_state("wakefulness") == "Asleep"
    assert not (phone.folder / "data/local/tmp/mnasfpn/restore").exists()


def test_settings_that_cannot_be_noted_are_not_changed(phone: Phone) -> None:
    device = AndroidDevice(phone.serial, TOOL)
    (phone.folder / "data/local/tmp/mnasfpn/restore.part").mkdir(parents=True)
    with pytest.raises(DeviceError, match="none were changed"):
        device.__enter__()
    assert phone.get_state("settings/global/stay_on_while_plugged_in") == "0"


def test_a_setting_that_was_never_set_is_deleted_again(phone: Phone) -> None:
    setting = phone.folder / "data/phone/settings/global/stay_on_while_plugged_in"
    setting.unlink()
    with AndroidDevice(phone.serial, TOOL):
        assert setting.read_text() == "7\n"
    assert not setting.exists()


def test_nothing_of_ours_but_the_program_stays(phone: Phone, tmp_path: Path) -> None:
    with AndroidDevice(phone.serial, TOOL) as device:
        runs(device, [job(tmp_path, "a", "us=1200")])
    left = {path.name for path in (phone.folder / "data" / FOLDER[len("/data/") :]).iterdir()}
    assert left <= {"benchmark_model", "run.affinity"}
    assert phone.becomes_idle()


def test_a_phone_too_old_for_separate_streams(phone: Phone, tmp_path: Path) -> None:
    """Before Android 7 adb gives neither exit codes nor stderr apart."""
    device = AndroidDevice(phone.serial, TOOL)
    device.adb._features = frozenset({"cmd"})
    result = device.adb.shell("echo out; echo err >&2; exit 7")
    assert (result.returncode, result.stderr) == (7, "")
    assert sorted(result.stdout.split()) == ["err", "out"]
    good, bad = runs(device, [job(tmp_path, "a", "us=1200"), job(tmp_path, "b", "reject")])
    assert good.stats_us["min"] == 1200
    assert "CONV_2D" in bad.error
