"""One run of the benchmark program on a phone: the shell script around it, and what came of it.

The script pins the program to cores and reads the mask back, reads the clocks of these cores right
before and right after, ends the program on the phone itself when its time is up, and notes CPU time
and wall time. Its pid stays in a file, so that whoever comes next can end a program whose caller
died.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from ...errors import StableDeviceError, TransientDeviceError
from ..clocks import clock_command, core_clocks
from ..measurement import CoreClock
from .adb import AdbDevice
from .cores import affinity_mask, named

#: The connection may be silent this much longer than the program may run.
_GRACE_S = 30.0
#: Times are read to 10 ms: below this their ratio means nothing.
_SHORT_S = 0.2
_MARK = "@@mnasfpn-visit "
_MARKED = re.compile(rf"{_MARK}(\w+) ?(.*)\n?")
_REPORT = re.compile(
    r"rc=(?P<rc>\d+) begun=(?P<begun>[\d.]*) ended=(?P<ended>[\d.]*) late=(?P<late>\w*)"
)
_TIME = re.compile(r"(\d+)m([\d.]+)s")

#: Placeholders in capitals; POSIX shell, as Android's mksh understands it. The program, when it
#: ends, ends the sleep that limits its time; a sleep that ends by itself has the program killed. So
#: neither outlives the other; a lost connection (adbd then sends SIGHUP) changes nothing about it.
#: Both ``times`` leave out what reading the clocks costs.
_SCRIPT = """cd FOLDER || exit 1
trap '' HUP
rm -f run.csv
begun= ended= late=
sleep SECONDS </dev/null >/dev/null 2>&1 &
time_is_up=$!
echo "MARKbefore"
CLOCKS
times
echo "MARKprogram"
read begun rest 2>/dev/null </proc/uptime
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
echo "MARKafter"
times
CLOCKS
rm -f run.pid
echo "MARKended rc=$rc begun=$begun ended=$ended late=$late"
exit 0
"""
#: Says on which cores taskset put it, then becomes the program.
_PINNED = 'echo "MARKpinned $(taskset -p $$ 2>&1)"; exec "$0" "$@"'
_END_LEFT_OVER = """cd FOLDER 2>/dev/null || exit 0
[ -e run.pid ] && read -r pid <run.pid && [ /proc/$pid/cwd -ef . ] && kill -9 $pid && echo ended
rm -f run.pid
"""


@dataclass(frozen=True, slots=True)
class Visit:
    """What the program printed and how it ended. Times in seconds.

    ``affinity`` is what ``taskset`` said of its mask; empty where it was not asked.
    """

    stdout: str
    stderr: str
    returncode: int
    too_long: bool
    affinity: str
    wall_s: float | None
    cpu_s: float | None
    clocks: tuple[CoreClock, ...] = ()

    @property
    def cpu_per_wall(self) -> float | None:
        if self.wall_s is None or self.cpu_s is None or self.wall_s < _SHORT_S:
            return None
        return self.cpu_s / self.wall_s


def visit(
    device: AdbDevice,
    folder: str,
    arguments: Sequence[str],
    cores: Sequence[int],
    timeout_s: float,
    sysfs: str = "/sys",
) -> Visit:
    """Run ``./benchmark_model`` in ``folder`` on the phone.

    Args:
        cores: to pin it to; none where the phone does not pin.

    Raises:
        TransientDeviceError, StableDeviceError: the connection was lost, the cores are switched
            off, or the program cannot be started at all.
    """
    line = " ".join(map(shlex.quote, ["./benchmark_model", *arguments]))
    if cores:
        pinned = _filled(_PINNED, MARK=_MARK)
        line = f"taskset {affinity_mask(cores)} sh -c {shlex.quote(pinned)} {line}"
    clocks = clock_command(cores, sysfs) if cores else ":"
    script = _filled(
        _SCRIPT,
        FOLDER=shlex.quote(folder),
        COMMAND=line,
        CLOCKS=clocks,
        SECONDS=f"{timeout_s:.0f}",
        MARK=_MARK,
    )
    result = device.shell(script, timeout_s=timeout_s + _GRACE_S)
    first, *marked = _MARKED.split(result.stdout)
    said = dict(zip(marked[::3], marked[1::3], strict=True))
    text = dict(zip(marked[::3], marked[2::3], strict=True))
    found = _REPORT.fullmatch(said.get("ended", ""))
    if not found or not {"before", "program", "after"} <= said.keys():
        raise TransientDeviceError(
            f"{device.serial} ended the run without a report, after {result.stdout[-80:]!r}; "
            "it will be tried again"
        )
    done = Visit(
        stdout=first + text["program"] + text.get("pinned", ""),
        stderr=result.stderr,
        returncode=int(found["rc"]),
        too_long=found["late"] == "yes",
        affinity=said.get("pinned", ""),
        wall_s=_elapsed_s(found["begun"], found["ended"]),
        cpu_s=_children_s(text["after"].splitlines()[:2])
        - _children_s(text["before"].splitlines()[-2:]),
        clocks=core_clocks(text["before"], text["after"]),
    )
    if cores and "pinned" not in said and not done.too_long:
        why = (done.stderr + done.stdout).strip().splitlines() or ["nothing"]
        raise _not_begun(
            f"{device.serial} runs nothing on {named(cores)} now: {why[-1]}; they may be switched "
            "off: let it cool down. It will be tried again"
        )
    if not done.too_long:
        _check_started(device, folder, done)
    return done


def _not_begun(why: str) -> TransientDeviceError:
    """No model was running yet: none is to blame."""
    error = TransientDeviceError(why)
    error.under_way = False
    return error


def end_left_over(device: AdbDevice, folder: str) -> bool:
    """End a program that an earlier caller left running; True if there was one."""
    return "ended" in device.shell(_filled(_END_LEFT_OVER, FOLDER=shlex.quote(folder))).stdout


def _elapsed_s(begun: str, ended: str) -> float | None:
    """None where the phone did not tell one of the two."""
    return float(ended) - float(begun) if begun and ended else None


def _children_s(times: Sequence[str]) -> float:
    """CPU time of ended programs: the second line of what the shell's ``times`` prints."""
    found = _TIME.findall(times[-1]) if times else []
    return sum(60 * int(minutes) + float(s) for minutes, s in found)


def _filled(script: str, **values: str) -> str:
    """In one pass, so that no value is looked through for the name of another."""
    return re.sub("|".join(values), lambda name: values[name[0]], script)


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
    there = not device.shell(f"[ -e {shlex.quote(folder)}/benchmark_model ]").returncode
    if not there:
        raise _not_begun(
            f"the benchmark program is gone from {device.serial}: {said[-1]}; it will be pushed "
            "again"
        )
    raise StableDeviceError(
        f"the benchmark program is on {device.serial} and cannot be started: {said[-1]}; get the "
        "build for Android, not the one for Linux, whose loader no phone has"
    )
