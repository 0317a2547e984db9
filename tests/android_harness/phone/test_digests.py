"""Files on a phone of any age, in a folder of any name, by what its shell has."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shell_here import ODD_NAMES, ShellHere, put_programs, put_script

from mnasfpn.android_harness.phone.benchmark_tool import place
from mnasfpn.android_harness.phone.digests import RemoteDigests
from mnasfpn.errors import TransientDeviceError

#: A phone: what it has -> what is used of it.
PHONES = {
    ("sha256sum", "sha1sum", "md5sum"): "sha256",
    ("sha1sum", "md5sum"): "sha1",
    ("md5sum",): "md5",
    (): "sha256",
}


def phone(folder: Path, *has: str) -> ShellHere:
    return ShellHere(put_programs(folder / "bin", "chmod", "mv", *has))


def placed(device: ShellHere, folder: Path, content: bytes) -> int:
    local = folder / "local.tflite"
    local.write_bytes(content)
    return place(device, {str(folder / "on phone.tflite"): local})  # type: ignore[arg-type]


@pytest.mark.parametrize(("has", "algorithm"), PHONES.items(), ids=["8", "7", "6", "4"])
def test_what_a_phone_has_is_used(tmp_path: Path, has: tuple[str, ...], algorithm: str) -> None:
    device = phone(tmp_path, *has)
    assert RemoteDigests(device).algorithm == algorithm  # type: ignore[arg-type]
    assert placed(device, tmp_path, b"model") == 1
    assert placed(device, tmp_path, b"model") == 0
    assert placed(device, tmp_path, b"MODEL") == 1
    assert (tmp_path / "on phone.tflite").read_bytes() == b"MODEL"
    assert bool(device.pulled) == (not has)


@pytest.mark.parametrize("through", ["toybox", "busybox"])
def test_one_program_for_all(tmp_path: Path, through: str) -> None:
    device = phone(tmp_path)
    put_script(device.path, through, '[ "$1" = sha1sum ] && exec /usr/bin/sha1sum')
    assert RemoteDigests(device).algorithm == "sha1"  # type: ignore[arg-type]
    assert placed(device, tmp_path, b"model") == 1
    assert placed(device, tmp_path, b"model") == 0
    assert not device.pulled


def test_a_program_that_computes_something_else_is_not_believed(tmp_path: Path) -> None:
    device = phone(tmp_path, "md5sum")
    put_script(device.path, "sha256sum", f"echo {hashlib.sha256(b'x').hexdigest()}")
    put_script(device.path, "sha1sum", "echo 'usage: sha1sum FILE'", "echo")
    assert RemoteDigests(device).algorithm == "md5"  # type: ignore[arg-type]


@pytest.mark.parametrize("has", PHONES, ids=["8", "7", "6", "4"])
def test_what_arrives_damaged_is_told_with_the_digest_that_was_compared(
    tmp_path: Path, has: tuple[str, ...]
) -> None:
    device = phone(tmp_path, *has)
    push = device.push
    device.push = lambda content, path, mode=0o644: push(content[:-1], path, mode)  # type: ignore[method-assign]
    got = hashlib.new(PHONES[has], b"mode").hexdigest()
    with pytest.raises(TransientDeviceError, match=f"has {PHONES[has]} {got}, expected .*cable"):
        placed(device, tmp_path, b"model")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(name=ODD_NAMES, has=st.sampled_from(sorted(PHONES)))
def test_a_folder_of_any_name(
    tmp_path_factory: pytest.TempPathFactory, name: str, has: tuple[str, ...]
) -> None:
    folder = tmp_path_factory.mktemp("phone")
    device, odd = phone(folder, *has), folder / name
    odd.mkdir()
    there = odd / f"{name}.tflite"
    local = folder / "local"
    local.write_bytes(name.encode())
    other = odd / "other"
    files = {str(there): local, str(other): local}
    assert place(device, files) == 2  # type: ignore[arg-type]
    assert place(device, files) == 0  # type: ignore[arg-type]
    other.unlink()
    assert place(device, files) == 1  # type: ignore[arg-type]
    assert there.read_bytes() == other.read_bytes() == name.encode()
    assert sorted(odd.iterdir()) == sorted([there, other])
