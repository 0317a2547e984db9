"""The clock of cores while a run lasted, from what cpufreq says right before and right after it.

Everything is read through ``cpuN/cpufreq``: newer kernels keep a link there to the core's policy,
older ones (Linux 3.18 of a Pixel 1) have nothing else. What cannot be read is left out.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from .measurement import ClockSource, CoreClock

TIME_IN_STATE, CURRENT = "stats/time_in_state", "scaling_cur_freq"
_LINE = re.compile(r"cpu(\d+)/cpufreq/([\w/]+):(.*)")


@dataclass(frozen=True, slots=True)
class ClockReading:
    """One core at one moment: time spent at each frequency since boot, and the frequency now."""

    ticks_at_khz: dict[int, int] = field(default_factory=dict)
    khz: int | None = None


def read_clock(table: Sequence[str], now: str) -> ClockReading:
    """Lines ``kHz ticks``, all of which must be such, and a frequency in kHz."""
    rows = [line.split() for line in table]
    whole = all(len(row) == 2 and all(word.isdecimal() for word in row) for row in rows)
    ticks = {int(khz): int(spent) for khz, spent in rows} if whole else {}
    return ClockReading(ticks, int(now) if now.strip().isdecimal() else None)


def mean_mhz(before: ClockReading, after: ClockReading) -> tuple[float, ClockSource] | None:
    """The mean between two readings of a core, else its clock at the second, and which it is.

    A table whose time stood still or ran backwards (a core that was off in between begins a new
    one) says nothing of the run. Right after it the core still has the run's clock; before it, the
    clock of a core at rest.
    """
    spent = {
        khz: ticks - before.ticks_at_khz.get(khz, 0) for khz, ticks in after.ticks_at_khz.items()
    }
    total = sum(spent.values())
    if before.ticks_at_khz and total > 0 and min(spent.values()) >= 0:
        return sum(khz * ticks for khz, ticks in spent.items()) / total / 1e3, "time_in_state"
    return None if after.khz is None else (after.khz / 1e3, "scaling_cur_freq")


def clock_command(cores: Iterable[int], sysfs: str = "/sys") -> str:
    """A shell command that prints what ``core_clocks`` reads; silent about what is not there."""
    names = (TIME_IN_STATE, CURRENT)
    files = " ".join(f"cpu{core}/cpufreq/{name}" for core in cores for name in names)
    folder = shlex.quote(f"{sysfs}/devices/system/cpu")
    return f"(cd {folder} && exec grep -H . {files}) 2>/dev/null"


def core_clocks(before: str, after: str) -> tuple[CoreClock, ...]:
    """The clocks of the cores that both outputs of ``clock_command`` tell of.

    Cores with equal readings share a clock, and are one entry.
    """
    first, second = _readings(before), _readings(after)
    cores_at: dict[tuple[float, ClockSource], list[int]] = {}
    for core in sorted(first.keys() & second.keys()):
        if clock := mean_mhz(first[core], second[core]):
            cores_at.setdefault(clock, []).append(core)
    return tuple(CoreClock(tuple(cores), *clock) for clock, cores in cores_at.items())


def _readings(text: str) -> dict[int, ClockReading]:
    tables: dict[int, list[str]] = {}
    now: dict[int, str] = {}
    for line in text.splitlines():
        if found := _LINE.fullmatch(line.strip()):
            core, name, content = int(found[1]), found[2], found[3]
            if name == TIME_IN_STATE:
                tables.setdefault(core, []).append(content)
            elif name == CURRENT:
                now[core] = content
    return {core: read_clock(tables.get(core, ()), now.get(core, "")) for core in tables | now}
