"""A phone from cable to runs, over the real adb server and adbd."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from adbd_phone import PROPERTIES, Phone

from mnasfpn.android_harness.device import Job, RunSettings
from mnasfpn.android_harness.devices import find_devices, opened
from mnasfpn.android_harness.measurement import Run
from mnasfpn.android_harness.phone.android import FOLDER, AndroidDevice
from mnasfpn.errors import DeviceError, InvalidInput, StableDeviceError

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
    spent = {
        khz: ticks - first.before.time_in_state["policy4"][khz]
        for khz, ticks in first.after.time_in_state["policy4"].items()
    }
    assert spent == {"710400": 0, "1612800": 0, "2457600": 30}


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


def test_without_taskset_nothing_is_pinned_and_nothing_claimed(
    phone: Phone, tmp_path: Path
) -> None:
    (phone.folder / "system/bin/taskset").unlink()
    device = AndroidDevice(phone.serial, TOOL)
    assert device.describe().cores == ()
    assert runs(device, [job(tmp_path, "a", "us=1200")])[0].stats_us["min"] == 1200
    with pytest.raises(StableDeviceError, match="does not pin to cores"):
        AndroidDevice(phone.serial, TOOL, cores=[7])


def test_cores_can_be_chosen(phone: Phone, tmp_path: Path) -> None:
    device = AndroidDevice(phone.serial, TOOL, cores=[0])
    assert device.describe().cores == (0,)
    assert not runs(device, [job(tmp_path, "a", "us=1200")])[0].error


def test_two_phones_and_no_serial(new_phone: Callable[..., Phone]) -> None:
    serials = {new_phone().serial, new_phone().serial}
    with pytest.raises(InvalidInput, match="expected exactly one phone or --device") as caught:
        AndroidDevice(None, TOOL)
    assert all(serial in str(caught.value) for serial in serials)


def test_one_phone_needs_no_serial(phone: Phone) -> None:
    assert AndroidDevice(None, TOOL).adb.serial == phone.serial
    with opened("phone", TOOL) as by_word, opened(phone.serial, TOOL) as by_serial:
        assert by_word.describe() == by_serial.describe()


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
    assert "Benchmarking failed" in bad.error
