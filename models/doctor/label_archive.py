"""Files appended to a model as a zip archive: labels, score calibration.

Read as MediaPipe does (mediapipe/tasks/cc/metadata/utils/zip_utils.cc on minizip): the archive is
found from the end of the file, whatever stands behind or before it, nothing in it may be
compressed, and a file without an archive is one without labels.
"""

from __future__ import annotations

import struct

END, ENTRY, LOCAL = b"PK\x05\x06", b"PK\x01\x02", b"PK\x03\x04"
END_BYTES, ENTRY_BYTES, LOCAL_BYTES = 22, 46, 30
LATER = 8  # flag: checksum and sizes stand behind the file
FARTHEST = 0xFFFF  # that the end record is looked for from the file's end


class DamagedArchive(ValueError):
    """An archive that is there, but cannot be read."""


def read_archive(content: bytes) -> dict[str, bytes]:
    """Name -> bytes of every file; empty if there is no archive.

    Raises:
        DamagedArchive: an entry leads nowhere, or is compressed.
    """
    end = content.rfind(END, max(len(content) - FARTHEST, 0))
    if end < 0:
        return {}
    fields = content[end : end + END_BYTES].ljust(END_BYTES, b"\0")
    here, everywhere, size, offset = struct.unpack_from("<HHII", fields, 8)
    before = end - offset - size  # bytes of the model, where offsets do not count them
    if before < 0 or here != everywhere:
        return {}
    found = {}
    at = before + offset
    for _ in range(everywhere):
        name, data, length = _entry(content, at, before)
        found[name] = data
        at += length
    return found


def _entry(content: bytes, at: int, before: int) -> tuple[str, bytes, int]:
    """Name and bytes of a file, and how long its entry in the list is."""
    if content[at : at + 4] != ENTRY or at + ENTRY_BYTES > len(content):
        raise DamagedArchive(f"the archive's list is damaged at byte {at:,}")
    (method,) = struct.unpack_from("<H", content, at + 10)
    size, name_bytes, extra, comment = struct.unpack_from("<IHHH", content, at + 24)
    (offset,) = struct.unpack_from("<I", content, at + 42)
    name = content[at + ENTRY_BYTES : at + ENTRY_BYTES + name_bytes].decode(errors="replace")
    local = before + offset
    if content[local : local + 4] != LOCAL or local + LOCAL_BYTES > len(content):
        raise DamagedArchive(f"the archive says that {name!r} is at byte {local:,}; it is not")
    flags, local_method = struct.unpack_from("<HH", content, local + 6)
    # Checksum, both sizes and the name's length; the first three may stand behind the file.
    told = slice(12, 14) if flags & LATER else slice(0, 14)
    here, listed = content[local + 14 : local + 28], content[at + 16 : at + 30]
    if local_method != method or here[told] != listed[told]:
        raise DamagedArchive(f"the archive's list and its file {name!r} contradict each other")
    if method:
        raise DamagedArchive(f"{name!r} is compressed in the archive")
    (local_extra,) = struct.unpack_from("<H", content, local + 28)
    start = local + LOCAL_BYTES + name_bytes + local_extra
    return name, content[start : start + size], ENTRY_BYTES + name_bytes + extra + comment
