"""A phone's cores: which there are, which are the big ones, and whether a program stays on them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from ...errors import InvalidInput, StableDeviceError
from .adb import AdbDevice

_FILE = re.compile(r"(?:cpu(\d+)/(?:cpufreq/)?)?(\w+):(.*)")
_PART = re.compile(r"^processor\s*:\s*(\d+)$(?:\n(?!processor).*)*?\nCPU part\s*:\s*(\w+)$", re.M)


def affinity_mask(cores: Iterable[int]) -> str:
    """The hexadecimal mask that ``taskset`` takes: cores 4 to 7 are ``f0``."""
    return f"{sum(1 << core for core in set(cores)):x}"


def cores_in_mask(text: str) -> tuple[int, ...]:
    """The cores of the mask at the end of what ``taskset -p`` says; none if it says none.

    ``f0``, ``0xf0`` and ``000000f0`` are one mask; programs differ in how they write it.
    """
    found = re.search(r"(?:^|[\s:])(?:0x)?([0-9a-f]+(?:,[0-9a-f]+)*)\s*$", text, re.IGNORECASE)
    mask = int(found[1].replace(",", ""), 16) if found else 0
    return tuple(core for core in range(mask.bit_length()) if mask >> core & 1)


def named(cores: Sequence[int]) -> str:
    """For people: ``core 7``, ``cores 4-7``, ``cores 0-3,6``."""
    spans: list[list[int]] = []
    for core in sorted(cores):
        if spans and core == spans[-1][1] + 1:
            spans[-1][1] = core
        else:
            spans.append([core, core])
    text = ",".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)
    return f"core{'s' if len(cores) > 1 else ''} {text}"


@dataclass(frozen=True, slots=True)
class Core:
    """One core; None is unreadable. A core that is off may have lost its cpufreq folder.

    Args:
        capacity: the kernel's own measure of a core's size, of 1024.
        cluster: the cores that share its clock, itself among them.
        part: number of its design, as ``/proc/cpuinfo`` has it while the core is on.
    """

    number: int
    online: bool
    max_khz: int | None = None
    capacity: int | None = None
    cluster: tuple[int, ...] | None = None
    part: str | None = None


@dataclass(frozen=True)
class Cores:
    """The cores of a phone, off ones included."""

    cores: tuple[Core, ...]

    @property
    def off(self) -> tuple[int, ...]:
        return tuple(core.number for core in self.cores if not core.online)

    @property
    def by_khz(self) -> dict[int, tuple[int, ...]]:
        """By maximum clock, slowest first; without those whose clock is unreadable."""
        found: dict[int, list[int]] = {}
        for core in self.cores:
            if core.max_khz is not None:
                found.setdefault(core.max_khz, []).append(core.number)
        return {khz: tuple(found[khz]) for khz in sorted(found)}

    @property
    def biggest(self) -> tuple[int, ...]:
        """The biggest cores of which one is on, by capacity, then by maximum clock.

        Of several clusters that nothing tells apart it is the last: its cores at least are alike.
        """
        ties = self._biggest_clusters
        chosen = ties[-1:] if self._indistinct else ties
        return tuple(sorted(core.number for cluster in chosen for core in cluster))

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why ``biggest`` may not be the big cores, for the reader of what is measured on them."""
        found, taken, used = [], named(self.biggest), self._size_used
        off = [cluster for cluster in self._clusters if not _on(cluster)]
        # One of equal clock may be bigger; one of equal capacity is not.
        rivals = [
            (core.number, size > used)
            for cluster in off
            for size in (self._size(cluster),)
            if used and (not size or size > used or (size == used and not self._by_capacity))
            for core in cluster
        ]
        if rivals:
            found.append(
                f"{named([number for number, _ in rivals])} switched off and "
                f"{'' if all(known for _, known in rivals) else 'maybe '}bigger than {taken}, used "
                "instead: let it cool down, keep it awake, end its battery saver"
            )
        if self._indistinct:
            everyone = [core.number for cluster in self._biggest_clusters for core in cluster]
            found.append(
                f"{named(everyone)} of one maximum clock and without capacities: which are big is "
                f"unknown; {taken} used: name others with --cores if these are small"
            )
        return tuple(found)

    @cached_property
    def _clusters(self) -> list[list[Core]]:
        """By shared clock, where the kernel does not tell by equal ones, and by capacity.

        A core that is off belongs where another names it, and is as big as that one.
        """
        of = {number: core.cluster for core in self.cores for number in core.cluster or ()}
        capacities: dict[object, int] = {}
        found: dict[object, list[Core]] = {}
        for core in sorted(self.cores, key=lambda core: (core.capacity is None, core.number)):
            shared = of.get(core.number) or (core.max_khz, core.online)
            if core.capacity is not None:
                capacities.setdefault(shared, core.capacity)
            capacity = capacities.get(shared) if core.capacity is None else core.capacity
            found.setdefault((shared, capacity), []).append(core)
        return sorted(found.values(), key=lambda cluster: min(core.number for core in cluster))

    @property
    def _size_used(self) -> tuple[int, ...]:
        return max((self._size(cluster) for cluster in self._clusters if _on(cluster)), default=())

    @property
    def _biggest_clusters(self) -> list[list[Core]]:
        used = self._size_used
        return [c for c in self._clusters if used and _on(c) and self._size(c) == used]

    @property
    def _indistinct(self) -> bool:
        """Whether the biggest may be of several kinds: clusters of one size, several designs, or
        all cores of one clock where the kernel does not tell who shares it."""
        ties = self._biggest_clusters
        parts = {core.part for cluster in ties for core in cluster if core.part}
        capacities = {core.capacity for core in self.cores}
        if len(parts) == 1 or (self._by_capacity and len(capacities) > 1):
            return False
        untold = len(self.cores) > 1 and len(self._clusters) == 1 and not self.cores[0].cluster
        return len(ties) > 1 or len(parts) > 1 or untold

    @property
    def _by_capacity(self) -> bool:
        """Capacities are used where every core that is on has one."""
        return all(core.capacity is not None for core in self.cores if core.online)

    def _size(self, cluster: Sequence[Core]) -> tuple[int, ...]:
        """Compares with other clusters'; empty where nothing is known of it."""
        sizes = [
            (core.capacity or 0 if self._by_capacity else 0, core.max_khz or 0)
            for core in cluster
            if (core.capacity if self._by_capacity else core.max_khz) is not None
        ]
        return max(sizes, default=())


def _on(cluster: Sequence[Core]) -> bool:
    return any(core.online for core in cluster)


def read_cores(device: AdbDevice, sysfs: str = "/sys") -> Cores:
    """Ask the phone for its cores; none where it tells of none.

    Raises:
        TransientDeviceError, StableDeviceError: the phone cannot be reached.
    """
    files = ("cpu_capacity", "cpufreq/cpuinfo_max_freq", "cpufreq/related_cpus")
    wanted = " ".join(("possible", "present", "online", *(f"cpu[0-9]*/{name}" for name in files)))
    folder = shlex.quote(f"{sysfs}/devices/system/cpu")
    said = device.shell(f"cd {folder} && grep -H . {wanted}; cat /proc/cpuinfo").stdout
    return parse_cores(said)


def parse_cores(text: str) -> Cores:
    """What ``grep -H`` says of the files of ``/sys/devices/system/cpu``, then ``/proc/cpuinfo``."""
    known: dict[int, dict[str, str]] = {}
    lists: dict[str, tuple[int, ...]] = {}
    for line in text.splitlines():
        if found := _FILE.fullmatch(line.strip()):
            number, name, content = found[1], found[2], found[3].strip()
            if number is not None:
                known.setdefault(int(number), {})[name] = content
            elif name in ("possible", "present", "online"):
                lists[name] = _numbers(content)
    parts = {int(number): part for number, part in _PART.findall(text)}
    clusters = {core: _numbers(files.get("related_cpus", "")) for core, files in known.items()}
    related = {core for cluster in clusters.values() for core in cluster}
    present = lists.get("present") or lists.get("possible") or tuple(known)
    online = lists.get("online") or tuple(
        number for number in present if "cpuinfo_max_freq" in known.get(number, {})
    )
    return Cores(
        tuple(
            Core(
                number,
                number in online,
                _whole(of_core.get("cpuinfo_max_freq", "")),
                _whole(of_core.get("cpu_capacity", "")),
                clusters.get(number) or None,
                parts.get(number),
            )
            for number in sorted({*present, *online, *known, *related})
            for of_core in (known.get(number, {}),)
        )
    )


def _whole(text: str) -> int | None:
    return int(text) if text.isdecimal() else None


def _numbers(text: str) -> tuple[int, ...]:
    """``0-3,6`` or ``0 1 2 3 6``; empty for anything else."""
    found: list[int] = []
    for word in re.split(r"[\s,]+", text.strip()):
        first, _, last = word.partition("-")
        if not first.isdecimal() or not (last or first).isdecimal():
            return ()
        found += range(int(first), int(last or first) + 1)
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Pinning:
    """The cores that programs are held to.

    Args:
        why_not: nothing is pinned, for this reason; then there are no cores.
        doubts: why they may not be the phone's biggest.
    """

    cores: tuple[int, ...]
    why_not: str = ""
    doubts: tuple[str, ...] = ()

    def unpinned(self, affinity: str) -> str:
        """Why a run was not held to the cores, by the mask read back inside; empty when it was.

        Cores that are switched off are missing from a mask that is read back.
        """
        if not self.cores:
            return self.why_not
        ran = cores_in_mask(affinity)
        if ran and set(ran) <= set(self.cores):
            return ""
        where = f"ran on {named(ran)}" if ran else f"its mask cannot be read: {affinity!r}"
        return f"not pinned to {named(self.cores)}: {where}"


def pin(device: AdbDevice, cores: Sequence[int] | None = None, sysfs: str = "/sys") -> Pinning:
    """Try to hold a program to the cores asked for, or to the biggest.

    Raises:
        InvalidInput: a core below 0.
        StableDeviceError: cores were asked for and the phone does not give them.
        TransientDeviceError: the phone cannot be reached.
    """
    found = read_cores(device, sysfs)
    wanted = tuple(sorted(set(cores or found.biggest)))
    if any(core < 0 for core in wanted):
        raise InvalidInput(f"cores are numbered from 0, got {wanted[0]}")
    if not wanted:
        return Pinning((), "not pinned: the phone does not tell which cores it has")
    made = Pinning(wanted, doubts=() if cores else found.doubts)
    result = device.shell(f"taskset {affinity_mask(wanted)} sh -c 'taskset -p $$'")
    said = f"{result.stdout} {result.stderr}".strip()
    if result.returncode == 0 and not made.unpinned(result.stdout):
        return made
    if cores:
        off = sorted(set(wanted) & set(found.off))
        why = f"{named(off)} switched off" if off else repr(said)
        raise StableDeviceError(
            f"{device.serial} does not pin to {named(wanted)}: {why}; name other cores"
        )
    return replace(made, cores=(), why_not=f"not pinned: taskset refuses {named(wanted)}: {said!r}")
