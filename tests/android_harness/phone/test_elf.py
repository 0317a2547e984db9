"""What a program says of itself in its header, against the ABI's layout and real compilers."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnasfpn.android_harness.phone.benchmark_tool import find_tool
from mnasfpn.android_harness.phone.elf import Elf, read_elf
from mnasfpn.errors import InvalidInput, StableDeviceError

PT_LOAD, PT_DYNAMIC, PT_GNU_STACK = 1, 2, 0x6474E551


def elf(
    machine: int, headers: list[tuple[int, int]], bits: int = 64, order: str = "<", at: int = 0
) -> bytes:
    """A program of nothing but headers.

    Args:
        headers: type and alignment of each program header.
        at: bytes between the ELF header and these.
    """
    head, word = (52, "I") if bits == 32 else (64, "Q")
    size = 32 if bits == 32 else 56
    content = b"\x7fELF" + bytes([bits // 32, 1 if order == "<" else 2, 1]) + bytes(9)
    content += struct.pack(f"{order}HHI{word}{word}{word}I", 2, machine, 1, 0, head + at, 0, 0)
    content += struct.pack(f"{order}HHHHHH", head, size, len(headers), 0, 0, 0)
    assert len(content) == head
    content += bytes(at)
    for kind, alignment in headers:
        if bits == 32:  # type, offset, two addresses, two sizes, flags, alignment
            content += struct.pack(f"{order}8I", kind, 0, 9, 9, 9, 9, 5, alignment)
        else:  # type, flags, offset, two addresses, two sizes, alignment
            content += struct.pack(f"{order}2I6Q", kind, 5, 0, 9, 9, 9, 9, alignment)
    return content


@given(
    headers=st.lists(
        st.tuples(
            st.sampled_from([PT_LOAD, PT_DYNAMIC, PT_GNU_STACK]),
            st.sampled_from([0, 1, 8, 4096, 16384, 65536]),
        ),
        max_size=9,
    ),
    bits=st.sampled_from([32, 64]),
    order=st.sampled_from("<>"),
    at=st.integers(0, 64),
)
def test_the_smallest_page_that_something_loaded_is_aligned_to(
    tmp_path_factory: pytest.TempPathFactory,
    headers: list[tuple[int, int]],
    bits: int,
    order: str,
    at: int,
) -> None:
    path = tmp_path_factory.mktemp("elf") / "program"
    path.write_bytes(elf(183, headers, bits, order, at))
    loaded = [alignment for kind, alignment in headers if kind == PT_LOAD]
    assert read_elf(path) == Elf("arm64-v8a", min(loaded) if loaded else None)


@given(cut=st.integers(4, 170))
def test_a_program_that_ends_too_early_is_damaged(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("elf") / "program"
    path.write_bytes(elf(183, [(PT_LOAD, 4096), (PT_LOAD, 4096)])[:cut])
    with pytest.raises(InvalidInput, match="damaged program of"):
        read_elf(path)


def test_a_script_is_no_elf_file(tmp_path: Path) -> None:
    path = tmp_path / "program"
    path.write_text("#!/system/bin/sh\n")
    assert read_elf(path) is None
    assert find_tool("arm64-v8a", path, 16384).abi is None


@pytest.mark.parametrize("page_bytes", [4096, 16384, 65536])
def test_as_a_linker_writes_it(tmp_path: Path, page_bytes: int) -> None:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if not compiler:
        pytest.skip("needs a C compiler")
    source, program = tmp_path / "m.c", tmp_path / "m"
    source.write_text("int data = 7;\nint main(void) { return data; }\n")
    subprocess.run(
        [compiler, source, "-o", program, f"-Wl,-z,max-page-size={page_bytes}"], check=True
    )
    found = read_elf(program)
    assert found
    assert found.page_bytes == page_bytes


TOOL_4K, TOOL_16K = elf(183, [(PT_LOAD, 4096)]), elf(183, [(PT_LOAD, 16384)])


def test_a_program_for_small_pages_on_a_kernel_with_large_ones(tmp_path: Path) -> None:
    path = tmp_path / "program"
    for content, page_bytes in ((TOOL_4K, 4096), (TOOL_16K, 4096), (TOOL_16K, 16384)):
        path.write_bytes(content)
        assert find_tool("arm64-v8a", path, page_bytes)
    path.write_bytes(TOOL_4K)
    assert find_tool("arm64-v8a", path, None)
    with pytest.raises(StableDeviceError, match=re.escape("max-page-size=16384")) as caught:
        find_tool("arm64-v8a", path, 16384)
    assert "pages of 4096 bytes but the phone's kernel has pages of 16384" in str(caught.value)


@pytest.mark.parametrize(
    ("machine", "abis", "runs"),
    [
        (40, ("arm64-v8a", "armeabi-v7a", "armeabi"), True),
        (40, ("arm64-v8a",), False),
        (183, ("arm64-v8a",), True),
        (183, ("armeabi-v7a", "armeabi"), False),
        (62, ("arm64-v8a", "armeabi-v7a"), False),
        (183, ("unreadable",), True),
    ],
)
def test_a_phone_runs_the_programs_of_its_list(
    tmp_path: Path, machine: int, abis: tuple[str, ...], runs: bool
) -> None:
    """64-bit phones may have no 32-bit system any more; a 32-bit system runs no 64-bit program."""
    path = tmp_path / "program"
    path.write_bytes(elf(machine, [(PT_LOAD, 65536)], 32 if machine == 40 else 64))
    if runs:
        assert find_tool(abis, path).path == path
        return
    with pytest.raises(StableDeviceError, match=rf"phone runs .*get the build for {abis[0]}"):
        find_tool(abis, path)
