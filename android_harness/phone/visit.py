"""One run of the benchmark program on a phone: the shell script around it, and what came of it.

The script pins the program to cores and reads the mask back, ends it on the phone itself when its
time is up, and notes CPU time and wall time. Its pid stays in a file, so that whoever comes next
can end a program whose caller died.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from ...errors import StableDeviceError, TransientDeviceError
from .adb import AdbDevice

#: The connection may be silent this much longer than the program may run.
_GRACE_S = 30.0
#: Times are read to 10 ms: below this their ratio means nothing.
_SHORT_S = 0.2
_MARK = "@@mnasfpn-visit"
_REPORT = re.compile(
    rf"{_MARK} rc=(?P<rc>\d+) begun=(?P<begun>[\d.]*) ended=(?P<ended>[\d.]*) late=(?P<late>\w*) "
    r"affinity=(?P<affinity>[^\n]*)\n[^\n]*\n(?P<times>[^\n]*)\n?\Z"
)
_CLOCK = re.compile(r"(\d+)m([\d.]+)s")

#: Placeholders in capitals; POSIX shell, as Android's mksh understands it. The program, when it
#: ends, ends the sleep that limits its time; a sleep that ends by itself has the program killed. So
#: neither outlives the other; a lost connection (adbd then sends SIGHUP) changes nothing about it.
_SCRIPT = """cd FOLDER || exit 1
trap '' HUP
rm -f run.affinity run.csv
begun= ended= late= affinity=
read begun rest 2>/dev/null </proc/uptime
sleep SECONDS </dev/null >/dev/null 2>&1 &
time_is_up=$!
(
    COMMAND </dev/null &
    echo $! >run.pid
    wait $! 2>/dev/null
    rc=$?
    kill -9 $time_is_up
    exit $rc
) &
runner=$!
wait $time_is_up 2>/dev/null && late=yes && read -r tool <run.pid && kill -9 $tool
wait $runner
rc=$?
read ended rest 2>/dev/null </proc/uptime
[ -e run.affinity ] && read -r affinity <run.affinity
rm -f run.pid
echo "MARK rc=$rc begun=$begun ended=$ended late=$late affinity=$affinity"
times
exit 0
"""
_END_LEFT_OVER = """cd FOLDER 2>/dev/null || exit 0
[ -e run.pid ] && read -r pid <run.pid && [ /proc/$pid/cwd -ef . ] && kill -9 $pid && echo ended
rm -f run.pid
"""


@dataclass(frozen=True, slots=True)
class Visit:
    """What the program printed and how it ended. Times in seconds."""

    stdout: str
    stderr: str
    returncode: int
    too_long: bool
    affinity: str
    wall_s: float | None
    cpu_s: float | None

    @property
    def cpu_per_wall(self) -> float | None:
        if self.wall_s is None or self.cpu_s is None or self.wall_s < _SHORT_S:
            return None
        return self.cpu_s / self.wall_s


def visit(
    device: AdbDevice, folder: str, arguments: Sequence[str], mask: str, timeout_s: float
) -> Visit:
    """Run ``./benchmark_model`` in ``folder`` on the phone.

    Args:
        mask: for taskset; empty where the phone has none.

    Raises:
        TransientDeviceError, StableDeviceError: the connection was lost, or the program cannot be
            started at all.
    """
    line = " ".join(map(shlex.quote, ["./benchmark_model", *arguments]))
    if mask:
        inner = shlex.quote('taskset -p $$ >run.affinity 2>&1; exec "$0" "$@"')
        line = f"taskset {mask} sh -c {inner} {line}"
    script = _filled(_SCRIPT, folder).replace("COMMAND", line)
    script = script.replace("SECONDS", f"{timeout_s:.0f}").replace("MARK", _MARK)
    result = device.shell(script, timeout_s=timeout_s + _GRACE_S)
    printed, mark, _ = result.stdout.partition(_MARK)
    found = _REPORT.fullmatch(result.stdout[len(printed) :])
    if not mark or not found:
        raise TransientDeviceError(
            f"{device.serial} ended the run without a report, after {result.stdout[-80:]!r}; "
            "it will be tried again"
        )
    done = Visit(
        stdout=printed,
        stderr=result.stderr,
        returncode=int(found["rc"]),
        too_long=found["late"] == "yes",
        affinity=found["affinity"].rpartition(":")[2].strip(),
        wall_s=_elapsed_s(found["begun"], found["ended"]),
        cpu_s=sum(60 * int(minutes) + float(s) for minutes, s in _CLOCK.findall(found["times"])),
    )
    if not done.too_long:
        _check_started(device, folder, done)
    return done


def end_left_over(device: AdbDevice, folder: str) -> bool:
    """End a program that an earlier caller left running; True if there was one."""
    return "ended" in device.shell(_filled(_END_LEFT_OVER, folder)).stdout


def _elapsed_s(begun: str, ended: str) -> float | None:
    """None where the phone did not tell one of the two."""
    return float(ended) - float(begun) if begun and ended else None


def _filled(script: str, folder: str) -> str:
    return script.replace("FOLDER", shlex.quote(folder))


#: What the shell, the linker or the kernel says of a program that no phone like this can run.
_UNABLE = (
    ("not executable: ", "it is built for another processor: get the build for this phone's ABI"),
    ("Exec format error", "it is built for another processor: get the build for this phone's ABI"),
    ("program alignment", "it is linked for smaller memory pages: get a newer build"),
    ("CANNOT LINK EXECUTABLE", "a library is missing: use the statically linked build"),
    ("Permission denied", "the phone does not let it run: see that the folder allows programs"),
)


def check_runs(device: AdbDevice, done: Visit) -> None:
    """By what was said when the program was started without a model.

    Raises:
        StableDeviceError: it cannot be started on this phone at all.
    """
    said = (done.stderr + done.stdout).splitlines()
    for words, fix in _UNABLE:
        if line := next((line for line in said if words in line), ""):
            raise StableDeviceError(
                f"the benchmark program cannot run on {device.serial}: {line.strip()}; {fix}"
            )


def _check_started(device: AdbDevice, folder: str, done: Visit) -> None:
    """The shell's own exit codes say that no model can run: 126 not started, 127 not found.

    With any other, what was printed is about the model, whatever its words.
    """
    if done.returncode not in (126, 127):
        return
    check_runs(device, done)
    said = (done.stderr + done.stdout).strip().splitlines() or ["nothing"]
    gone = device.shell(f"[ -e {shlex.quote(folder)}/benchmark_model ]").returncode
    if done.returncode == 127 and gone:
        raise TransientDeviceError(
            f"the benchmark program is gone from {device.serial}: {said[-1]}; it will be pushed "
            "again"
        )
    raise StableDeviceError(
        f"the benchmark program cannot run on {device.serial}: {said[-1]}; it is there, but not "
        "what loads it: get the build for Android, not the one for Linux"
    )
