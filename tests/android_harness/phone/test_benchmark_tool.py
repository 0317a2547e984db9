"""Where the benchmark program comes from, and how it is called."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from mnasfpn.android_harness.device import RunSettings
from mnasfpn.android_harness.phone.benchmark_tool import (
    OFFICIAL,
    arguments,
    fetch_tool,
    find_tool,
    flags_known,
    load_tool,
)
from mnasfpn.cli.main import main
from mnasfpn.errors import InvalidInput, JobFailed, StableDeviceError


def elf(machine: int) -> bytes:
    return b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHI", 2, machine, 1) + bytes(40)


PROGRAM = elf(183)


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("MNASFPN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Storage(HTTPServer):
    """Serves PROGRAM the way Google's storage does: with its MD5 in x-goog-hash."""

    body = PROGRAM
    md5: bytes | None = hashlib.md5(PROGRAM).digest()
    announced = len(PROGRAM)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/benchmark_model"


class Handler(BaseHTTPRequestHandler):
    server: Storage

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(self.server.announced))
        self.send_header("x-goog-hash", "crc32c=AAAAAA==")
        if self.server.md5:
            self.send_header("x-goog-hash", f"md5={base64.b64encode(self.server.md5).decode()}")
        self.end_headers()
        self.wfile.write(self.server.body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def storage() -> Iterator[Storage]:
    with Storage(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


def test_fetched_once_and_found_ever_after(storage: Storage) -> None:
    fetched = fetch_tool("arm64-v8a", url=storage.url)
    assert fetched.path.read_bytes() == PROGRAM
    assert find_tool("arm64-v8a") == fetched
    assert fetched.sha256 == hashlib.sha256(PROGRAM).hexdigest()


def test_fetched_with_the_sha256_that_was_asked_for(storage: Storage) -> None:
    storage.md5 = None
    digest = hashlib.sha256(PROGRAM).hexdigest()
    assert fetch_tool("arm64-v8a", digest.upper(), storage.url).sha256 == digest


def test_another_sha256_is_not_kept(storage: Storage, cache: Path) -> None:
    with pytest.raises(JobFailed, match=r"has sha256 \w{64}, expected 0000; nothing was kept"):
        fetch_tool("arm64-v8a", "0000", storage.url)
    assert not list(cache.rglob("benchmark_model*/*/*"))


def test_damaged_on_the_way(storage: Storage) -> None:
    storage.body = PROGRAM[:-1] + b"x"
    with pytest.raises(JobFailed, match="damaged on the way"):
        fetch_tool("arm64-v8a", url=storage.url)


def test_broken_off(storage: Storage) -> None:
    storage.announced += 1000
    with pytest.raises(JobFailed, match="cannot fetch"):
        fetch_tool("arm64-v8a", url=storage.url)


def test_without_any_checksum(storage: Storage) -> None:
    storage.md5 = None
    with pytest.raises(JobFailed, match="without a checksum; give the sha256"):
        fetch_tool("arm64-v8a", url=storage.url)


def test_offline() -> None:
    with pytest.raises(JobFailed, match=r"cannot fetch .*--binary PATH"):
        fetch_tool("arm64-v8a", url="http://127.0.0.1:1/benchmark_model")


def test_the_command_fetches_for_the_common_abi(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(OFFICIAL, "arm64-v8a", storage.url)
    digest = hashlib.sha256(PROGRAM).hexdigest()
    for words in ([], ["arm64-v8a"], ["--sha256", digest]):
        done = CliRunner().invoke(main, ["devices", "--json", "--fetch-tool", *words])
        assert json.loads(done.stdout)["tool"]["sha256"] == digest
    assert find_tool("arm64-v8a").sha256 == digest
    done = CliRunner().invoke(main, ["devices", "--fetch-tool", "--sha256", "0000"])
    assert done.exit_code == 1
    assert "expected 0000; nothing was kept" in done.stderr
    done = CliRunner().invoke(main, ["devices", "--sha256", "0000"])
    assert done.exit_code == 2
    assert "give --fetch-tool as well" in done.stderr


def test_an_abi_nobody_builds_for() -> None:
    with pytest.raises(InvalidInput, match="'riscv64', only for arm64-v8a"):
        fetch_tool("riscv64")


def test_official_addresses_are_googles_and_encrypted() -> None:
    assert all(url.startswith("https://storage.googleapis.com/") for url in OFFICIAL.values())


def test_none_given_and_none_fetched() -> None:
    with pytest.raises(StableDeviceError, match=r"--binary PATH or run 'mnasfpn devices"):
        find_tool("arm64-v8a")


def test_the_cached_program_was_damaged_since(storage: Storage) -> None:
    fetch_tool("arm64-v8a", url=storage.url).path.write_bytes(PROGRAM + b"!")
    with pytest.raises(JobFailed, match="the file was damaged"):
        find_tool("arm64-v8a")


def test_an_empty_record_of_the_cached_program_is_damage_too(storage: Storage) -> None:
    tool = fetch_tool("arm64-v8a", url=storage.url)
    tool.path.with_suffix(".sha256").write_text("")
    with pytest.raises(JobFailed, match="was damaged"):
        find_tool("arm64-v8a")


def test_a_cache_that_cannot_be_written(storage: Storage, cache: Path) -> None:
    in_the_way = cache / "benchmark_model" / "arm64-v8a" / "benchmark_model"
    (in_the_way / "full").mkdir(parents=True)
    with pytest.raises(JobFailed, match=r"could not write .*; free some space"):
        fetch_tool("arm64-v8a", url=storage.url)
    assert [path.name for path in in_the_way.parent.iterdir()] == ["benchmark_model"]


def test_a_program_for_another_processor(tmp_path: Path) -> None:
    path = tmp_path / "tool"
    path.write_bytes(elf(62))
    with pytest.raises(StableDeviceError, match=r"built for x86_64 but the phone runs arm64-v8a"):
        find_tool("arm64-v8a", path)
    path.write_text("#!/system/bin/sh\n")
    assert find_tool("arm64-v8a", path).abi is None


def test_a_32_bit_program_is_used_on_a_64_bit_phone_only_when_it_is_given(
    storage: Storage,
) -> None:
    both = ("arm64-v8a", "armeabi-v7a")
    fetched = fetch_tool("armeabi-v7a", url=storage.url).path
    with pytest.raises(StableDeviceError, match="no benchmark program for arm64-v8a: give"):
        find_tool(both)
    fetched.write_bytes(elf(40))
    assert find_tool(both, fetched).abi == "armeabi-v7a"


@pytest.mark.parametrize("abis", ["../../etc", ("", "a/b"), "unreadable", ()])
def test_what_a_phone_calls_its_abi_becomes_no_path(abis: str, cache: Path) -> None:
    with pytest.raises(StableDeviceError, match=r"expected one of arm64-v8a, .*--binary PATH"):
        find_tool(abis)
    assert not cache.exists()


@pytest.mark.parametrize("content", [None, b""])
def test_a_program_that_is_not_there(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "tool"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidInput, match=r"cannot read|is empty"):
        load_tool(path)


CLASSIC = flags_known("")
LITERT2 = flags_known(
    "\t--num_runs=50 int\n\t--num_threads=-1 int\n\t--warmup_runs=1\n\t--use_cpu=true bool\n"
)
SETTINGS = RunSettings(warmup_runs=3, warmup_min_s=0.1, runs=20, min_s=0.2, max_s=10)


def test_every_default_that_has_drifted_is_explicit() -> None:
    assert arguments("/data/m.tflite", SETTINGS, CLASSIC) == [
        "--graph=/data/m.tflite",
        "--num_threads=1",
        "--warmup_runs=3",
        "--warmup_min_secs=0.1",
        "--num_runs=20",
        "--min_secs=0.2",
        "--max_secs=10",
        "--use_xnnpack=true",
    ]
    assert arguments("m", RunSettings(xnnpack=False), CLASSIC)[-1] == "--use_xnnpack=false"


def test_operator_profiles_go_to_a_file_where_the_program_can() -> None:
    settings = RunSettings(op_profile=True)
    assert arguments("m", settings, CLASSIC, "/data/p.csv")[-3:] == [
        "--enable_op_profiling=true",
        "--op_profiling_output_mode=csv",
        "--op_profiling_output_file=/data/p.csv",
    ]
    older = CLASSIC - {"op_profiling_output_file"}
    assert arguments("m", settings, older, "p.csv")[-1] == "--enable_op_profiling=true"


def test_litert2_has_another_flag_for_xnnpack_and_no_profile() -> None:
    assert arguments("m", SETTINGS, LITERT2)[-1] == "--use_cpu=true"
    with pytest.raises(StableDeviceError, match="cannot be told xnnpack=false"):
        arguments("m", RunSettings(xnnpack=False), LITERT2)
    with pytest.raises(StableDeviceError, match="no operator profile"):
        arguments("m", RunSettings(op_profile=True), LITERT2)
