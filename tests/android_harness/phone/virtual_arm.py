"""Virtual ARM phones: LiteRT for AArch64 under qemu-user, with a clock that counts instructions.

A phone is a folder with an arm64 root (the C library of Debian's cross compiler, libLiteRt.so of
the aarch64 ai-edge-litert wheel, an ARM /proc/cpuinfo, from which XNNPACK chooses its kernels), and
a launcher. The launcher is what is pushed to the phone as its ``benchmark_model``: a script that
runs mnasfpn's benchmark runner, built for AArch64, under QEMU. (Without binfmt_misc, which only
root can set up, an AArch64 program itself cannot be executed here; it gives the ``Exec format
error`` that a wrong ABI gives on a phone.)

Time is simulated: a fixed, invented cost per executed instruction of each class, no caches, no
pipeline. It is deterministic to the last digit and says nothing about a real phone's milliseconds.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from mnasfpn.android_harness.host.native_build import build, build_runner, find_compiler
from mnasfpn.errors import JobFailed, StableDeviceError
from mnasfpn.storage.atomic import write_atomically
from mnasfpn.storage.cache import cache_folder

ABI = "aarch64"
CLOCK_SOURCES = Path(__file__).parent / "virtual_clock"
#: The body of a simulated phone: on one, the clock is also a matter of heat.
PHYSICS = Path(__file__).parent / "physics"
#: Where Debian's gcc-aarch64-linux-gnu and libstdc++6-arm64-cross put the arm64 libraries.
CROSS_LIBRARIES = Path("/usr/aarch64-linux-gnu/lib")
NEEDED_LIBRARIES = ("ld-linux-aarch64.so.1", "libc.so.6", "libm.so.6", "libstdc++.so.6")
PACKAGES = "qemu-user gcc gcc-aarch64-linux-gnu libc6-dev-arm64-cross libstdc++6-arm64-cross"
#: Oldest first: pip accepts a wheel for any of them.
WHEEL_PLATFORMS = tuple(
    f"{name}_aarch64"
    for name in ("manylinux2014", "manylinux_2_27", "manylinux_2_28", "manylinux_2_31")
)


@dataclass(frozen=True)
class VirtualCpu:
    """One kind of virtual phone.

    Args:
        name: as QEMU's ``-cpu`` has it.
        part: CPU part number in /proc/cpuinfo; Arm's technical reference manuals give it.
        max_khz: what the phone says its highest frequency is.
        features: of /proc/cpuinfo.
        costs_ps: picoseconds per instruction of each class of ``clock_plugin.c``. Invented, in the
            proportions of a wide out-of-order and of a narrow in-order core.
    """

    name: str
    part: str
    max_khz: int
    features: str
    costs_ps: dict[str, int]

    @property
    def model(self) -> str:
        """What the phone calls itself."""
        return f"mnasfpn virtual phone (simulated {self.name})"

    @property
    def cpuinfo(self) -> str:
        """/proc/cpuinfo of one core."""
        return (
            "processor\t: 0\nBogoMIPS\t: 38.40\n"
            f"Features\t: {self.features}\n"
            "CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\n"
            f"CPU part\t: {self.part}\nCPU revision\t: 4\n\n"
        )


_V8_0 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid"
_V8_2 = f"{_V8_0} atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp"

CPUS = {
    cpu.name: cpu
    for cpu in (
        VirtualCpu(
            "cortex-a76", "0xd0b", 2_400_000, _V8_2,
            {
                "scalar": 140, "branch": 250, "memory": 210,
                "vector_memory": 210, "vector": 210, "vector_fma": 210,
            },
        ),
        VirtualCpu(
            "cortex-a53", "0xd03", 1_500_000, _V8_0,
            {
                "scalar": 400, "branch": 670, "memory": 670,
                "vector_memory": 1330, "vector": 670, "vector_fma": 1000,
            },
        ),
    )
}  # fmt: skip


def what_is_missing() -> str:
    """Why no virtual phone can run here, with the remedy; empty when one can."""
    lacking = [] if shutil.which("qemu-aarch64") else ["qemu-aarch64"]
    lacking += [
        str(CROSS_LIBRARIES / name)
        for name in NEEDED_LIBRARIES
        if not (CROSS_LIBRARIES / name).exists()
    ]
    for abi in (ABI, "x86_64"):
        try:
            find_compiler(abi)
        except StableDeviceError as error:
            lacking.append(str(error))
    if not lacking:
        return ""
    return (
        f"a virtual ARM phone needs {', '.join(lacking)}: run tests/phone/install or "
        f"`apt-get install {PACKAGES}`"
    )


def make_launcher(cpu: VirtualCpu) -> Path:
    """The phone's ``benchmark_model``, with all that it starts; built once, then from the cache.

    Raises:
        StableDeviceError: something is not installed here.
        JobFailed: building failed, or the aarch64 wheel could not be had.
    """
    if missing := what_is_missing():
        raise StableDeviceError(missing)
    launcher = _root(cpu) / "benchmark_model"
    _write(launcher, script(cpu, build_runner(ABI), {"LITERT_LIBRARY": str(_litert())}))
    launcher.chmod(0o755)
    return launcher


def script(cpu: VirtualCpu, program: Path, environment: dict[str, str]) -> str:
    """A shell script that runs an AArch64 program on the virtual CPU, with its clock."""
    plugin = build(
        "clock_plugin.so", [CLOCK_SOURCES / "clock_plugin.c"], "x86_64", ("-shared", "-fPIC")
    )
    sources = [CLOCK_SOURCES / "clock_guest.c", PHYSICS / "physics.c", PHYSICS / "physics.h"]
    options = ("-shared", "-fPIC", f"-I{PHYSICS}", "-lm")
    guest = build("clock_guest.so", sources, ABI, options)
    costs = "".join(f",{name}={value}" for name, value in cpu.costs_ps.items())
    environment = environment | {"LD_PRELOAD": str(guest), "MNASFPN_SIMULATED_DEVICE": cpu.model}
    settings = " ".join(f"-E {name}={shlex.quote(value)}" for name, value in environment.items())
    root = shlex.quote(str(_root(cpu)))
    return f"""#!/bin/sh
# {cpu.model}: not a phone, its times are computed from instruction counts.
folder=/data/local/tmp # of the phone, which has process numbers of its own
[ -w $folder ] || folder=${{TMPDIR:-/tmp}}
clock=$folder/mnasfpn-clock.$$
exec {shutil.which("qemu-aarch64")} -cpu {cpu.name} -L {root} \\
  -plugin {shlex.quote(str(plugin))},clock="$clock"{costs} \\
  -E MNASFPN_CLOCK="$clock" {settings} \\
  {shlex.quote(str(program))} "$@"
"""


def _root(cpu: VirtualCpu) -> Path:
    """What QEMU lays over this PC's file system: paths that exist in it are taken from it."""
    root = cache_folder("virtual_phone", cpu.name)
    system = root / "sys/devices/system/cpu"
    _write(root / "proc/cpuinfo", cpu.cpuinfo)
    for name in ("possible", "present", "online"):
        _write(system / name, "0\n")
    _write(system / "cpu0/cpufreq/cpuinfo_max_freq", f"{cpu.max_khz}\n")
    _write(system / "cpu0/topology/core_id", "0\n")
    if not (root / "lib").exists():
        (root / "lib").symlink_to(CROSS_LIBRARIES)
    return root


def _write(path: Path, text: str) -> None:
    """Unless it is so already: another process may be running on this root."""
    if path.exists() and path.read_text() == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text)


def _litert() -> Path:
    """libLiteRt.so for AArch64 of the version installed here, fetched by pip once."""
    version = metadata.version("ai-edge-litert")
    folder = cache_folder("virtual_phone", f"litert-{version}")
    library = folder / "libLiteRt.so"
    if library.exists():
        return library
    platforms = [text for name in WHEEL_PLATFORMS for text in ("--platform", name)]
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
                *("--only-binary=:all:", *platforms, "--dest", scratch),
                f"ai-edge-litert=={version}",
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        wheels = list(Path(scratch).glob("*.whl"))
        if done.returncode != 0 or not wheels:
            raise JobFailed(
                f"could not fetch ai-edge-litert {version} for {ABI}: "
                f"{done.stderr.strip()[-500:]}; "
                "the virtual phone needs that wheel from the package index once"
            )
        with zipfile.ZipFile(wheels[0]) as wheel:
            extracted = wheel.extract("ai_edge_litert/libLiteRt.so", scratch)
        Path(extracted).replace(library)
    return library
