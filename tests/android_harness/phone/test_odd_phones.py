"""Old, odd and twin phones, over the real adb server and adbd."""

from __future__ import annotations

import shlex
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from adbd_phone import Phone
from cable import Cable, OtherNames

from mnasfpn.android_harness.campaign import campaign
from mnasfpn.android_harness.device import Job, RunSettings
from mnasfpn.android_harness.identity import is_same_device
from mnasfpn.android_harness.measurement import DeviceInfo, Run
from mnasfpn.android_harness.phone.android import AndroidDevice
from mnasfpn.android_harness.phone.visit import end_left_over
from mnasfpn.android_harness.protocol import PHONE_PROTOCOL
from mnasfpn.errors import StableDeviceError
from mnasfpn.latency.profiling.store import MeasurementStore
from mnasfpn.tests.android_harness.phone.trouble import Row

pytestmark = [pytest.mark.phone, pytest.mark.xdist_group("phone")]
TOOL = Path(__file__).parent / "recorded_benchmark_model"
SETTINGS = RunSettings(warmup_runs=1, runs=20, min_s=0.0, max_s=5, timeout_s=60)
PROTOCOL = replace(PHONE_PROTOCOL, rounds=1, extra_rounds=0, retry_wait_s=0.1, sentinel_every=9)
CLONE = "0123456789ABCDEF"


def job(folder: Path, key: str, does: str) -> Job:
    path = folder / f"{key}.tflite"
    path.write_text(f"{does}\n{key}\n")
    return Job(key, path)


def runs(device: AndroidDevice, jobs: list[Job], settings: RunSettings = SETTINGS) -> list[Run]:
    return [run for _, run in device.run_round(jobs, settings, 0)]


def described(serial: str) -> DeviceInfo:
    return AndroidDevice(serial, TOOL).describe()


def lacks(phone: Phone, *programs: str) -> None:
    for name in programs:
        (phone.folder / "system/bin" / name).unlink()


def script(phone: Phone, name: str, *lines: str) -> None:
    """A program of the phone; one that is there is replaced."""
    path = phone.folder / "system/bin" / name
    path.unlink(missing_ok=True)
    path.write_text("\n".join(("#!/system/bin/sh", *lines, "")))
    path.chmod(0o755)


# Which phone it is


@pytest.fixture
def second_way(phone: Phone) -> Iterator[Cable]:
    """Another connection to the one phone, under another name."""
    import adbutils

    between = Cable(phone.port)
    adbutils.AdbClient().connect(between.serial, timeout=10)
    yield between
    adbutils.AdbClient().disconnect(between.serial)
    between.close()


@pytest.mark.parametrize("android_id", ["9a1b2c3d4e5f6071", ""])
def test_one_phone_over_two_connections(phone: Phone, second_way: Cable, android_id: str) -> None:
    """Also where Android does not say which installation it is."""
    phone.set_properties({"ro.serialno": "EX0042", "ro.boot.qemu": ""})
    if android_id:
        phone.set_state("settings/secure/android_id", android_id)
    first, second = described(phone.serial), described(second_way.serial)
    assert first == second
    assert first.serial == "EX0042"
    assert first.unit
    assert android_id not in first.unit or not android_id


MDNS = "adb-EX0042-aBcDeF{}._adb-tls-connect._tcp"


def test_a_campaign_goes_on_over_another_connection(
    adb_server: int, phone: Phone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By address, by mDNS name, by that of a reconnect, and named by its own serial."""
    phone.set_properties({"ro.serialno": "EX0042"})
    measured = [job(tmp_path, "a", "us=1200")]
    with MeasurementStore(tmp_path / "m.db") as store:
        for count, (listed, asked) in enumerate(
            (
                (phone.serial, phone.serial),
                (MDNS.format(""), MDNS.format("")),
                (MDNS.format(" (2)"), MDNS.format(" (2)")),
                (MDNS.format(""), "EX0042"),
            )
        ):
            server = OtherNames(adb_server, {phone.serial: listed})
            monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(server.port))
            device = AndroidDevice(asked, TOOL)
            assert device.adb.serial == listed
            info = device.describe()
            assert len(store.runs(info).get("a", ())) == count
            store.append(info, "a", runs(device, measured)[0])
            assert len(store.devices()) == 1
            server.close()


def test_a_phone_whose_name_gets_a_number_is_followed(
    adb_server: int, phone: Phone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = OtherNames(adb_server, {phone.serial: MDNS.format("")})
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(server.port))
    device = AndroidDevice(MDNS.format(""), TOOL, reconnect_s=2)
    jobs, sentinel = [job(tmp_path, "a", "us=1200")], job(tmp_path, "sentinel", "us=500")
    visited = []
    for at, run in campaign(device, jobs, PROTOCOL, 0, SETTINGS, sentinel=sentinel):
        server.names[phone.serial] = MDNS.format(" (2)")
        assert not run.error
        visited.append(at.key)
    assert visited == ["sentinel", "a", "sentinel"]
    server.close()


def test_a_restarted_phone_is_itself(phone: Phone) -> None:
    device = AndroidDevice(phone.serial, TOOL)
    phone.stop()
    phone.start()
    device.adb.wait(30)
    assert described(phone.serial) == device.describe()


@pytest.mark.parametrize("android_ids", [("9a1b2c3d4e5f6071", "0f1e2d3c4b5a6978"), ("", "")])
def test_two_phones_with_one_serial(
    new_phone: Callable[..., Phone], android_ids: tuple[str, str]
) -> None:
    phones = [new_phone(properties={"ro.serialno": CLONE}) for _ in android_ids]
    for phone, android_id in zip(phones, android_ids, strict=True):
        if android_id:
            phone.set_state("settings/secure/android_id", android_id)
    first, second = (described(phone.serial) for phone in phones)
    assert (first.serial, second.serial) == (CLONE, CLONE)
    assert not is_same_device(first, second)
    assert not is_same_device(second, first)


def test_a_core_that_is_switched_off_makes_no_other_phone(phone: Phone) -> None:
    cpus = phone.folder / "sys/devices/system/cpu"
    (cpus / "present").write_text("0-7\n")
    before = described(phone.serial)
    assert before.cores == (4, 5, 6, 7)
    (cpus / "cpu6/cpufreq").unlink()
    (cpus / "online").write_text("0-5,7\n")
    assert described(phone.serial) == before


# What it says


HOSTILE = {
    "ro.product.cpu.abi": "../../../../../../tmp/evil",
    "ro.product.cpu.abilist": "../../../../../../tmp/evil,`touch evil`",
    "ro.product.model": "\x1b[31mred $(touch /data/evil); rm -rf '",
    "ro.serialno": "../../evil",
}


def test_what_a_phone_says_becomes_no_path_and_no_command(
    phone: Phone, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cache = tmp_path / "a/b/c/cache"
    monkeypatch.setenv("MNASFPN_CACHE", str(cache))
    phone.set_properties(HOSTILE)
    with pytest.raises(StableDeviceError, match=r"runs programs for .*expected one of arm64-v8a"):
        AndroidDevice(phone.serial)
    assert not cache.exists()
    info = described(phone.serial)
    assert info.model == "Example [31mred $(touch /data/evil); rm -rf '"
    assert info.serial == HOSTILE["ro.serialno"]
    assert not (phone.folder / "data/evil").exists()


def test_a_value_of_several_lines_shifts_no_other(phone: Phone) -> None:
    script(
        phone,
        "getprop",
        'case "$1" in',
        "ro.product.model) printf 'two\\nlines\\n' ;;",
        "ro.soc.model) echo SoC ;;",
        "ro.product.cpu.abi) echo arm64-v8a ;;",
        "sys.boot_completed) echo 1 ;;",
        "esac",
    )
    info = described(phone.serial)
    assert (info.model, info.soc, info.abi) == ("unreadable two lines", "SoC", "arm64-v8a")


# What it lacks


@pytest.mark.parametrize(
    "missing",
    [("sha256sum",), ("sha256sum", "sha1sum"), ("sha256sum", "sha1sum", "md5sum", "getconf")],
    ids=["7", "6", "4"],
)
def test_a_phone_too_old_for_digests(
    phone: Phone, tmp_path: Path, missing: tuple[str, ...]
) -> None:
    lacks(phone, *missing)
    device = AndroidDevice(phone.serial, TOOL)
    jobs = [job(tmp_path, "a", "us=1200"), job(tmp_path, "b", "us=3400")]
    assert [run.stats_us["min"] for run in runs(device, jobs)] == [1200, 3400]
    models = sorted((phone.tmp / "mnasfpn/models").iterdir())
    stamps = [path.stat().st_mtime_ns for path in models]
    assert not runs(device, jobs[:1])[0].error
    assert [path.stat().st_mtime_ns for path in models] == stamps
    models[0].write_text("us=9999\n")
    models[1].write_text("us=9999\n")
    assert [run.stats_us["min"] for run in runs(device, jobs)] == [1200, 3400]


def elf(machine: int, page_bytes: int) -> bytes:
    """A 64-bit program of nothing but its headers."""
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQI", 2, machine, 1, 0, 64, 0, 0)
    head += struct.pack("<6H", 64, 56, 1, 0, 0, 0)
    return head + struct.pack("<2I6Q", 1, 5, 0, 0, 0, 120, 120, page_bytes)


def test_the_kernel_has_large_pages(phone: Phone, tmp_path: Path, row: Row) -> None:
    """It is refused before anything is pushed."""
    program = tmp_path / "benchmark_model"
    program.write_bytes(elf(183, 4096))
    assert AndroidDevice(phone.serial, program)
    script(phone, "getconf", '[ "$1" = PAGE_SIZE ] && echo 16384')
    with pytest.raises(StableDeviceError) as caught:
        AndroidDevice(phone.serial, program)
    row.seen_in(str(caught.value))
    assert not (phone.tmp / "mnasfpn").exists()
    program.write_bytes(elf(183, 16384))
    assert AndroidDevice(phone.serial, program)


def test_a_32_bit_program_on_a_64_bit_phone(phone: Phone, tmp_path: Path) -> None:
    program = tmp_path / "benchmark_model"
    program.write_bytes(elf(40, 65536))
    phone.set_properties({"ro.product.cpu.abilist": "arm64-v8a,armeabi-v7a,armeabi"})
    assert AndroidDevice(phone.serial, program).describe().abi == "armeabi-v7a"
    phone.set_properties({"ro.product.cpu.abilist": "arm64-v8a"})
    with pytest.raises(StableDeviceError, match="armeabi-v7a but the phone runs arm64-v8a; get"):
        AndroidDevice(phone.serial, program)
    program.write_bytes(elf(183, 65536))
    phone.set_properties(
        {"ro.product.cpu.abi": "armeabi-v7a", "ro.product.cpu.abilist": "armeabi-v7a,armeabi"}
    )
    with pytest.raises(StableDeviceError, match="arm64-v8a but the phone runs armeabi-v7a and"):
        AndroidDevice(phone.serial, program)


def test_settings_that_the_maker_does_not_let_us_write(phone: Phone, tmp_path: Path) -> None:
    script(
        phone,
        "settings",
        '[ "$1" = get ] && [ "$2" = global ] && echo 0 && exit',
        "echo 'java.lang.SecurityException: Permission denial' >&2; exit 255",
    )
    device = AndroidDevice(phone.serial, TOOL)
    with pytest.warns(RuntimeWarning, match=r"refuses `settings put global stay_on.*Stay awake"):
        device.__enter__()
    assert phone.get_state("wakefulness") == "Awake"
    assert not runs(device, [job(tmp_path, "a", "us=1200")])[0].error
    device.__exit__(None, None, None)
    assert phone.get_state("wakefulness") == "Asleep"
    assert not (phone.tmp / "mnasfpn/restore").exists()


# Folders and files


def end_left_over_ends_only_ours(phone: Phone, device: AndroidDevice, folder: str) -> None:
    """A number in ``run.pid`` may by now be somebody else's process."""
    at = shlex.quote(folder)
    for where, ours in (("/", False), (at, True)):
        device.adb.shell(f"cd {where}; sleep 60 >/dev/null 2>&1 & echo $! >{at}/run.pid")
        assert end_left_over(device.adb, folder) is ours
    assert [line for line in phone.processes() if line.startswith("sleep")] == ["sleep 60"]


@pytest.mark.parametrize("name", ["my phone's $HOME; `id`", 'äß 中 "x" [*]?', "-rf & #\\n$(x)"])
def test_a_folder_with_an_odd_name(phone: Phone, tmp_path: Path, name: str) -> None:
    folder = f"/data/local/tmp/{name}"
    with AndroidDevice(phone.serial, TOOL, folder=folder) as device:
        jobs = [job(tmp_path, "a", "us=1200"), job(tmp_path, "b", "us=3400")]
        found = runs(device, jobs, replace(SETTINGS, op_profile=True))
        assert [run.error for run in found] == ["", ""]
        assert [run.stats_us["min"] for run in found] == [1200, 3400]
        assert [len(run.op_profile) for run in found] == [2, 2]
        end_left_over_ends_only_ours(phone, device, folder)
    left = {path.name for path in (phone.tmp / name).iterdir()}
    assert left <= {"benchmark_model", "run.affinity"}
    assert {path.name for path in phone.tmp.iterdir()} <= {name, "mnasfpn.unit"}


def test_an_operator_profile_of_an_earlier_run_is_never_read(phone: Phone, tmp_path: Path) -> None:
    """The second model's program writes none."""
    device = AndroidDevice(phone.serial, TOOL)
    profile = replace(SETTINGS, op_profile=True)
    (run,) = runs(device, [job(tmp_path, "a", "us=1200")], profile)
    assert run.op_profile
    silent = tmp_path / "silent"
    silent.write_text(TOOL.read_text().replace('>"$csv"', ">/dev/null"))
    device = AndroidDevice(phone.serial, silent)
    (run,) = runs(device, [job(tmp_path, "b", "us=1200")], profile)
    assert "wrote no operator profile" in run.error


# What a program prints


def talker(folder: Path, words: str, exit_code: int) -> Path:
    """A benchmark program that says something of the model ``talks`` and fails."""
    path = folder / f"talker{exit_code}"
    lines = TOOL.read_text().replace(
        "case $model in\n", f"case $model in\n    talks) echo '{words}' >&2; exit {exit_code} ;;\n"
    )
    path.write_text(lines)
    return path


@pytest.mark.parametrize(
    "words",
    [
        "ERROR: /data/local/cache: Permission denied",
        "ERROR: CANNOT LINK EXECUTABLE in a plug-in",
        "ERROR: not executable: delegate",
        "ERROR: No space left on device for the weight cache",
        "taskset: is what I say",
    ],
)
def test_the_words_of_one_model_end_no_campaign(phone: Phone, tmp_path: Path, words: str) -> None:
    device = AndroidDevice(phone.serial, talker(tmp_path, words, 1))
    jobs = [job(tmp_path, "bad", "talks"), job(tmp_path, "good", "us=1200")]
    sentinel = job(tmp_path, "sentinel", "us=500")
    found = {
        at.key: run for at, run in campaign(device, jobs, PROTOCOL, 0, SETTINGS, sentinel=sentinel)
    }
    assert not found["good"].error
    assert "exit code 1" in found["bad"].error


def test_the_shells_own_exit_code_ends_it(phone: Phone, tmp_path: Path) -> None:
    device = AndroidDevice(phone.serial, talker(tmp_path, "no words of ours", 126))
    with pytest.raises(StableDeviceError, match=r"cannot be started: no words of ours"):
        runs(device, [job(tmp_path, "good", "us=1200"), job(tmp_path, "bad", "talks")])


def test_the_program_is_for_linux(phone: Phone, tmp_path: Path, row: Row) -> None:
    """The shell says 'not found' of its loader, and pushing it again does not help."""
    program = tmp_path / "benchmark_model"
    program.write_text("#!/lib/ld-of-another-system.so.1\n")
    with pytest.raises(StableDeviceError) as caught:
        runs(AndroidDevice(phone.serial, program), [job(tmp_path, "a", "us=1200")])
    row.seen_in(str(caught.value))
