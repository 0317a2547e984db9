"""The benchmark program: where it comes from, how it gets onto the phone, how it is called.

Google documents its builds at https://developers.google.com/edge/litert/models/measurement and
https://developers.google.com/edge/litert/next/benchmark. They are nightly builds without published
checksums: what was fetched is identified by its own sha256 ever after, and the transfer is checked
against the MD5 that the storage server sends along (``x-goog-hash``).
"""

from __future__ import annotations

import base64
import hashlib
import re
import shlex
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPException
from itertools import zip_longest
from pathlib import Path

from ...errors import InvalidInput, JobFailed, StableDeviceError, TransientDeviceError
from ...storage.atomic import whole_or_nothing
from ...storage.cache import cache_folder
from ..device import RunSettings
from ..measurement import UNREADABLE
from .adb import AdbDevice
from .digests import RemoteDigests
from .elf import ABIS, read_elf

_NIGHTLY = (
    "https://storage.googleapis.com/tensorflow-nightly-public/prod/tensorflow/release/lite/tools/"
    "nightly/latest/"
)
#: Android ABI: Google's nightly build of TensorFlow Lite's benchmark_model for it.
OFFICIAL = {
    "arm64-v8a": f"{_NIGHTLY}android_aarch64_benchmark_model",
    "armeabi-v7a": f"{_NIGHTLY}android_arm_benchmark_model",
}
#: Flags every build since 2019 knows; what is asked where ``--help`` says nothing.
_CLASSIC_FLAGS = frozenset(
    ("num_threads", "warmup_runs", "warmup_min_secs", "num_runs", "min_secs", "max_secs")
) | {"use_xnnpack", "enable_op_profiling", "op_profiling_output_mode", "op_profiling_output_file"}
_HELP_FLAG = re.compile(r"--([a-z0-9_]+)=")
_PUSH_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Tool:
    """A benchmark program on this computer, identified by its content."""

    path: Path
    sha256: str

    @property
    def abi(self) -> str | None:
        """The ABI in its ELF header; None for anything else, such as a script."""
        elf = read_elf(self.path)
        return elf.abi if elf else None


def load_tool(path: Path) -> Tool:
    """A program given by hand.

    Raises:
        InvalidInput: no such file, or an empty one.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidInput(
            f"cannot read the benchmark program {path}: {error.strerror}; expected Google's "
            "benchmark_model for Android (see docs/profile-a-phone.md)"
        ) from error
    if not content:
        raise InvalidInput(f"the benchmark program {path} is empty; download it again")
    return Tool(path, _sha256(content))


def find_tool(
    abis: str | Sequence[str], binary: Path | None = None, page_bytes: int | None = None
) -> Tool:
    """The program given, or the one fetched earlier for the phone's best ABI.

    Args:
        abis: that the phone runs, best first (``ro.product.cpu.abilist``): a 64-bit phone may run
            programs of 32 bit too. Nothing is known of a phone that says none.
        page_bytes: of the phone's kernel; None where it does not say.

    Raises:
        InvalidInput: given but unreadable or damaged.
        StableDeviceError: none given and none fetched, it is for another ABI, or linked for smaller
            memory pages than the phone has.
        JobFailed: the fetched one was damaged since.
    """
    abis = [abi for abi in ([abis] if isinstance(abis, str) else abis) if abi != UNREADABLE]
    tool = load_tool(binary) if binary else _fetched_tool(abis)
    elf = read_elf(tool.path)
    if elf is None:
        return tool
    if abis and elf.abi not in abis:
        raise StableDeviceError(
            f"{tool.path} is built for {elf.abi} but the phone runs {' and '.join(abis)}; "
            f"get the build for {abis[0]}: {OFFICIAL.get(abis[0], 'none is published')}"
        )
    if page_bytes and elf.page_bytes is not None and elf.page_bytes < page_bytes:
        raise StableDeviceError(
            f"{tool.path} is linked for memory pages of {elf.page_bytes} bytes but the phone's "
            f"kernel has pages of {page_bytes}, so it cannot be loaded; get a newer build, or link "
            f"it with -Wl,-z,max-page-size={page_bytes}"
        )
    return tool


def fetch_tool(abi: str, sha256: str | None = None, url: str | None = None) -> Tool:
    """Download the official build for an ABI into the cache.

    Args:
        sha256: of the build that is wanted; None takes the nightly build of today, checked against
            the server's own MD5.
        url: another address of it.

    Raises:
        InvalidInput: nothing is published for this ABI.
        JobFailed: no connection, or what came is not what was announced.
    """
    if url is None and abi not in OFFICIAL:
        known = ", ".join(OFFICIAL)
        raise InvalidInput(f"no benchmark_model is published for {abi!r}, only for {known}")
    url = url or OFFICIAL[abi]
    content, md5 = _download(url)
    got = _sha256(content)
    if sha256 and got != sha256.lower():
        raise JobFailed(f"{url} has sha256 {got}, expected {sha256}; nothing was kept")
    if md5 and hashlib.md5(content, usedforsecurity=False).digest() != md5:
        raise JobFailed(f"{url} was damaged on the way: another MD5 was announced; fetch it again")
    if not (sha256 or md5):
        raise JobFailed(f"{url} came without a checksum; give the sha256 that is expected")
    path = cache_folder("benchmark_model", abi) / "benchmark_model"
    _write(path, content)
    _write(path.with_suffix(".sha256"), f"{got}  {url}\n".encode())
    return Tool(path, got)


def flags_known(help_text: str) -> frozenset[str]:
    """Names of the flags that a program's ``--help`` lists, or the classic ones."""
    flags = frozenset(_HELP_FLAG.findall(help_text))
    return flags if {"num_runs", "num_threads"} <= flags else _CLASSIC_FLAGS


def arguments(
    graph: str, settings: RunSettings, known: frozenset[str], csv: str | None = None
) -> list[str]:
    """The command line for one run on one thread; every default that has drifted is explicit.

    Raises:
        StableDeviceError: the program cannot do what is asked.
    """
    wanted: dict[str, object] = {
        "graph": graph,
        "num_threads": 1,
        "warmup_runs": settings.warmup_runs,
        "warmup_min_secs": settings.warmup_min_s,
        "num_runs": settings.runs,
        "min_secs": settings.min_s,
        "max_secs": settings.max_s,
    }
    if "use_xnnpack" in known:
        wanted["use_xnnpack"] = _lower(settings.xnnpack)
    elif "use_cpu" in known and settings.xnnpack:
        wanted["use_cpu"] = "true"  # LiteRT 2: its CPU accelerator is XNNPACK
    else:
        raise StableDeviceError(
            f"this benchmark program cannot be told xnnpack={_lower(settings.xnnpack)}; "
            "use TensorFlow Lite's benchmark_model"
        )
    if settings.op_profile:
        if "enable_op_profiling" not in known:
            raise StableDeviceError(
                "this benchmark program has no operator profile; use TensorFlow Lite's "
                "benchmark_model, or measure one file per kernel"
            )
        wanted["enable_op_profiling"] = "true"
        if csv and "op_profiling_output_file" in known:
            wanted |= {"op_profiling_output_mode": "csv", "op_profiling_output_file": csv}
    return [f"--{name}={_plain(value)}" for name, value in wanted.items()]


def place(device: AdbDevice, files: dict[str, Path], mode: int = 0o644) -> int:
    """Make sure that files are on the phone with exactly this content.

    Args:
        files: path on the phone: file here. Content decides, not size or date.

    Returns:
        how many were pushed.

    Raises:
        StableDeviceError: the phone refuses, such as a full disk.
        TransientDeviceError: a push kept being cut short.
    """
    digests = RemoteDigests(device)
    wanted = {remote: digests.of(local.read_bytes()) for remote, local in files.items()}
    there = zip_longest(wanted, digests.there(list(wanted)))
    missing = [remote for remote, got in there if got != wanted[remote]]
    for remote in missing:
        _push_verified(device, files[remote].read_bytes(), remote, digests, mode)
    return len(missing)


def _push_verified(
    device: AdbDevice, content: bytes, remote: str, digests: RemoteDigests, mode: int
) -> None:
    """Under another name first, so that a push cut short never looks like the file."""
    part, wanted, got = f"{remote}.part", digests.of(content), ""
    for attempt in range(1, _PUSH_ATTEMPTS + 1):
        try:
            device.push(content, part, mode)
            (got,) = digests.there([part])
        except TransientDeviceError:
            if attempt == _PUSH_ATTEMPTS:
                raise
            device.wait()
            continue
        if got == wanted:
            from_, to = shlex.quote(part), shlex.quote(remote)
            done = device.shell(f"chmod {mode:o} {from_} && mv {from_} {to}")
            if done.returncode:
                raise StableDeviceError(
                    f"{device.serial} cannot put {remote} in place: {done.stderr.strip()}; "
                    "see that the folder belongs to the adb shell user"
                )
            return
    raise TransientDeviceError(
        f"pushed {remote} {_PUSH_ATTEMPTS} times but the phone has {digests.algorithm} "
        f"{got or 'of nothing'}, expected {wanted}; try another cable or port"
    )


def _fetched_tool(abis: Sequence[str]) -> Tool:
    """For the phone's best ABI; programs of 32 bit on a 64-bit phone must be given by hand.

    What a phone says becomes a path only if it is a word that we know.
    """
    abi = next((abi for abi in abis if abi in ABIS), None)
    if abi is None:
        raise StableDeviceError(
            f"the phone runs programs for {' '.join(abis) or UNREADABLE}; expected one of "
            f"{', '.join(ABIS)}: give --binary PATH"
        )
    path = cache_folder("benchmark_model", abi) / "benchmark_model"
    record = path.with_suffix(".sha256")
    if not (path.exists() and record.exists()):
        raise StableDeviceError(
            f"no benchmark program for {abi}: give --binary PATH or run "
            f"'mnasfpn devices --fetch-tool {abi}' while online"
        )
    tool = load_tool(path)
    expected = record.read_text().partition(" ")[0].strip()
    if tool.sha256 != expected:
        raise JobFailed(
            f"{path} has sha256 {tool.sha256}, fetched was {expected}: the file was damaged; "
            f"run 'mnasfpn devices --fetch-tool {abi}' again"
        )
    return tool


def _download(url: str) -> tuple[bytes, bytes | None]:
    """Content and the MD5 that Google's storage sends in ``x-goog-hash``."""
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            content: bytes = answer.read()
            hashes = ",".join(answer.headers.get_all("x-goog-hash") or [])
    except (OSError, HTTPException, ValueError) as error:
        raise JobFailed(
            f"cannot fetch {url}: {error}; see that this computer is online, or download it by "
            "hand and give --binary PATH"
        ) from error
    found = re.search(r"md5=([A-Za-z0-9+/=]+)", hashes)
    return content, base64.b64decode(found[1]) if found else None


def _write(path: Path, content: bytes) -> None:
    try:
        with whole_or_nothing(path) as made:
            made.write_bytes(content)
    except OSError as error:
        raise JobFailed(
            f"could not write {path}: {error.strerror}; free some space there, or set "
            "MNASFPN_CACHE to a folder that can be written"
        ) from error


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _lower(flag: bool) -> str:
    return "true" if flag else "false"


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
