"""Builds the C parts of the harness on demand, and keeps them until their sources change."""

from __future__ import annotations

import hashlib
import importlib.util
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ...errors import JobFailed, StableDeviceError
from ...storage.atomic import whole_or_nothing
from ...storage.cache import cache_folder

RUNNER_SOURCES = Path(__file__).parents[1] / "native"
FLAGS = ("-std=gnu11", "-O2", "-Wall", "-Wextra")

#: ABI -> compilers that make programs for it on any machine, and Debian's package of the first.
CROSS_COMPILERS: dict[str, tuple[str, ...]] = {
    "x86_64": ("x86_64-linux-gnu-gcc",),
    "aarch64": ("aarch64-linux-gnu-gcc",),
}
NATIVE_COMPILERS = ("cc", "gcc", "clang")
PACKAGES = {"x86_64": "gcc", "aarch64": "gcc-aarch64-linux-gnu"}


def find_compiler(abi: str) -> tuple[str, ...]:
    """The command of a C compiler for Linux on ``abi``.

    A system compiler if there is one, else PyPI's ``ziglang``.

    Raises:
        StableDeviceError: there is none; the message says what to install.
    """
    candidates = CROSS_COMPILERS.get(abi, ())
    if abi == platform.machine():
        candidates = NATIVE_COMPILERS + candidates
    for name in candidates:
        if found := shutil.which(name):
            return (found,)
    if importlib.util.find_spec("ziglang"):
        return (sys.executable, "-m", "ziglang", "cc", "-target", f"{abi}-linux-gnu")
    raise StableDeviceError(
        f"found no C compiler for {abi} (looked for {', '.join(candidates) or 'nothing'} and the "
        f"Python package ziglang); install one: `apt-get install {PACKAGES.get(abi, 'gcc')}` or "
        "`pip install ziglang`"
    )


def build(name: str, sources: Sequence[Path], abi: str, options: Sequence[str] = ()) -> Path:
    """Compile and link C files to the program or library ``name``, unless that was done before.

    Args:
        name: file name of the result.
        sources: every file it depends on; headers are recognised by their suffix.
        abi: machine name as ``platform.machine()`` gives it.
        options: for the compiler, after the sources (``-shared``, ``-ldl``).

    Raises:
        StableDeviceError: no compiler.
        JobFailed: the compiler refused; the message holds what it said.
    """
    compiler = find_compiler(abi)
    folder = cache_folder("native", _key(sources, (*compiler, *FLAGS, *options)))
    result = folder / name
    if result.exists():
        return result
    units = [str(source) for source in sources if source.suffix != ".h"]
    # Two processes may build at once; the last one to finish replaces an equal file.
    with whole_or_nothing(result) as built:
        command = [*compiler, *FLAGS, *units, *options, "-o", str(built)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise JobFailed(
                f"could not build {name} for {abi}: {done.stderr.strip()}; "
                f"the command was: {' '.join(command)}"
            )
    return result


def build_runner(abi: str | None = None) -> Path:
    """mnasfpn's benchmark runner for this PC, or for Linux on another ``abi`` (``aarch64``).

    It takes the flags of TensorFlow Lite's ``benchmark_model`` and prints in its format; it needs
    the ``libLiteRt.so`` of the same ABI at run time (``$LITERT_LIBRARY``, or the loader's path).
    """
    sources = sorted((*RUNNER_SOURCES.glob("*.c"), *RUNNER_SOURCES.glob("*.h")))
    return build("benchmark_runner", sources, abi or platform.machine(), ("-ldl", "-lm"))


def litert_library() -> Path:
    """``libLiteRt.so`` of the installed ai-edge-litert package.

    Raises:
        StableDeviceError: the package is absent, or too old to have the library.
    """
    found = importlib.util.find_spec("ai_edge_litert")
    if found is not None and found.submodule_search_locations:
        for folder in found.submodule_search_locations:
            for name in ("libLiteRt.so", "libLiteRt.dylib"):
                if (library := Path(folder) / name).exists():
                    return library
    raise StableDeviceError(
        "found no libLiteRt.so; operator profiles need the package ai-edge-litert 2.1.6 or newer: "
        "run `pip install --upgrade ai-edge-litert`"
    )


def _key(sources: Sequence[Path], command: Sequence[str]) -> str:
    digest = hashlib.sha256("\0".join(command).encode())
    for source in sources:
        digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()[:16]
