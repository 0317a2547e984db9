"""The part of a phone's ``/sys`` that is read: cores, their clocks, and thermal zones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

#: Thermal zones of a phone on which nothing happens: type and content of ``temp``.
ZONES = {"cpu-1-0": 41500, "battery": 285, "soc": 87}


@dataclass(frozen=True)
class Cluster:
    """Cores that share a clock.

    Args:
        first, last: cores.
        khz: clocks, ascending.
        per_cycle: work a cycle does, of what a cycle of the biggest core does.
        watts: of one core that is busy at the highest clock.
    """

    first: int
    last: int
    khz: tuple[int, ...]
    per_cycle: float = 1.0
    watts: float = 3.5

    @property
    def cores(self) -> range:
        return range(self.first, self.last + 1)

    def clocks_folder(self, policies: bool) -> str:
        """Below ``devices/system/cpu``; kernels before 4.3 keep it with the first core."""
        return f"cpufreq/policy{self.first}" if policies else f"cpu{self.first}/cpufreq"


def write_kernel_files(root: Path, clusters: Sequence[Cluster], policies: bool) -> None:
    """All cores on, all clocks at their highest."""
    cpus = root / "devices/system/cpu"
    power = {cluster: cluster.per_cycle * cluster.khz[-1] for cluster in clusters}
    for cluster in clusters:
        _write(
            cpus / cluster.clocks_folder(policies),
            {
                "cpuinfo_max_freq": cluster.khz[-1],
                "cpuinfo_min_freq": cluster.khz[0],
                "scaling_max_freq": cluster.khz[-1],
                "scaling_min_freq": cluster.khz[0],
                "scaling_cur_freq": cluster.khz[-1],
                "scaling_governor": "schedutil",
                "related_cpus": " ".join(map(str, cluster.cores)),
                "stats/time_in_state": "\n".join(f"{khz} 100" for khz in cluster.khz),
            },
        )
        for core in cluster.cores:
            capacity = round(1024 * power[cluster] / max(power.values()))
            _write(cpus / f"cpu{core}", {"cpu_capacity": capacity, "online": 1})
            link = cpus / f"cpu{core}/cpufreq"
            if not link.exists():
                link.symlink_to(f"../{cluster.clocks_folder(policies)}")
    every = f"0-{clusters[-1].last}"
    _write(cpus, {"possible": every, "present": every, "online": every})
    write_zones(root, ZONES)


def write_zones(root: Path, zones: Mapping[str, object]) -> None:
    for number, (kind, value) in enumerate(zones.items()):
        _write(root / f"class/thermal/thermal_zone{number}", {"type": kind, "temp": value})


def switch_core(root: Path, clusters: Sequence[Cluster], core: int, on: bool) -> None:
    """On or off, as kernels since 4.3 show it: a core that is off has no ``cpufreq``, and a cluster
    of which all are off no policy."""
    cpus = root / "devices/system/cpu"
    (cpus / f"cpu{core}/online").write_text(f"{on:d}\n")
    (cluster,) = (each for each in clusters if core in each.cores)
    policy, away = cpus / cluster.clocks_folder(True), cpus / f"cpufreq/.off{cluster.first}"
    link = cpus / f"cpu{core}/cpufreq"
    if on and not link.is_symlink():
        link.symlink_to(f"../{cluster.clocks_folder(True)}")
    elif not on:
        link.unlink(missing_ok=True)
    alive = any(_is_on(cpus, each) for each in cluster.cores)
    if alive and away.exists():
        away.rename(policy)
    elif not alive and policy.exists():
        policy.rename(away)
    every = [each for each_cluster in clusters for each in each_cluster.cores]
    (cpus / "online").write_text(",".join(str(each) for each in every if _is_on(cpus, each)) + "\n")


def _is_on(cpus: Path, core: int) -> bool:
    return (cpus / f"cpu{core}/online").read_text().strip() == "1"


def _write(folder: Path, files: Mapping[str, object]) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
