"""What an Android program says of itself in its ELF header: which phones can run it.

Source: System V ABI, chapters "ELF header" and "Program header".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from ...errors import InvalidInput

_MAGIC = b"\x7fELF"
#: Machine in the header: the Android ABI that runs it.
_ABIS = {183: "arm64-v8a", 40: "armeabi-v7a", 62: "x86_64", 3: "x86", 243: "riscv64"}
ABIS = tuple(_ABIS.values())
_PT_LOAD = 1
#: By class, 32 or 64 bit: end of the header; then (where it is, its form) of: offset, size and
#: number of program headers; of their fields type and alignment.
_LAYOUT = {
    1: (52, (28, "I"), (42, "HH"), (0, "I"), (28, "I")),
    2: (64, (32, "Q"), (54, "HH"), (0, "I"), (48, "Q")),
}


@dataclass(frozen=True, slots=True)
class Elf:
    """Of one program.

    Args:
        abi: Android's name for the processor, or ``ELF machine N``.
        page_bytes: largest memory page of a kernel that can load it; None if it loads nothing.
    """

    abi: str
    page_bytes: int | None


def read_elf(path: Path) -> Elf | None:
    """The header of a program; None for anything else, such as a script.

    Raises:
        InvalidInput: an ELF file that ends too early.
    """
    content = path.read_bytes()
    if content[:4] != _MAGIC:
        return None
    try:
        return _read(content)
    except (struct.error, KeyError, ValueError) as error:
        raise InvalidInput(
            f"{path} is a damaged program of {len(content)} bytes; expected a whole ELF file: "
            "download it again"
        ) from error


def _read(content: bytes) -> Elf:
    width, endian = content[4:6]
    end, at_offset, at_count, at_type, at_align = _LAYOUT[width]
    order = {1: "<", 2: ">"}[endian]
    if len(content) < end:
        raise struct.error(f"a header has {end} bytes")

    def field(place: tuple[int, str], base: int = 0) -> tuple[int, ...]:
        return struct.unpack_from(order + place[1], content, base + place[0])

    (machine,), (offset,), (size, count) = field((18, "H")), field(at_offset), field(at_count)
    headers = (offset + size * number for number in range(count))
    aligned = [field(at_align, base)[0] for base in headers if field(at_type, base)[0] == _PT_LOAD]
    return Elf(_ABIS.get(machine, f"ELF machine {machine}"), min(aligned, default=None))
