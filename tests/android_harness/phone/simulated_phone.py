"""A phone with a body, simulated: work heats it, heat slows its clocks, and rest cools it.

Its benchmark program is mnasfpn's own runner with two parts exchanged: in place of LiteRT a count
of the operations in the .tflite that it is given, in place of the clock the phone's own. That clock
stands still unless the phone works or rests, so an hour of cooling costs nothing here; everything
is the same in every run of a test. None of its constants are of a real phone, and it says
``simulated`` wherever it is named.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path

from mnasfpn.android_harness.host.native_build import RUNNER_SOURCES, build
from mnasfpn.models.graph.builder import GraphBuilder
from mnasfpn.models.graph.costs import cost
from mnasfpn.models.graph.graph import Graph
from mnasfpn.storage.atomic import write_atomically
from mnasfpn.storage.cache import cache_folder
from mnasfpn.tests.android_harness.phone.adbd_phone import Phone
from mnasfpn.tests.android_harness.phone.kernel_files import Cluster, write_zones

PHYSICS = Path(__file__).parent / "physics"
MODEL = "mnasfpn phone (simulated, with heat)"
CLUSTERS = (
    Cluster(0, 3, (300_000, 1_036_800, 1_766_400), per_cycle=0.4, watts=0.5),
    Cluster(
        4,
        7,
        (710_400, 1_056_000, 1_401_600, 1_612_800, 1_804_800, 2_016_000, 2_227_200, 2_457_600),
    ),
)


@dataclass(frozen=True)
class Zone:
    """A thermal zone: how much of the core's rise above the room it feels, units per degree; one
    that is ``stuck`` says the same for ever."""

    share: float = 1.0
    unit: float = 1000.0
    stuck: int | None = None


ZONES = {
    "cpu-1-0": Zone(),
    "soc-thermal": Zone(0.6),
    "battery": Zone(0.2),
    "socd": Zone(stuck=93),  # not heat: percent of the battery that is used up
}


def convolution(channels: int, size: int = 20) -> Graph:
    """A model of one 3x3 convolution, of which everybody can count the multiply-adds."""
    builder = GraphBuilder()
    name = builder.input("in", (1, size, size, channels))
    return builder.graph([builder.conv("conv", name, channels, kernel=3)])


def cycles(graph: Graph) -> float:
    """Of the biggest core, for a model of one convolution; as ``physics/model_work.c`` counts."""
    return cost(graph).madds / 8 + 4000


@dataclass(frozen=True)
class Physics:
    """Constants of a phone's body; the equations are in ``physics/physics.h``.

    Args:
        slowness: of every core; 20 is a phone of which each inference takes 20 times as long.
        noise: sigma of the logarithm of a repeat's time.
        restlessness: and of what all repeats of one process have in common, as of other programs.
        memory_mb: for all tensors of a model at once.
        out_of_memory: the program is killed (``kill``), or the phone has to ``restart``.
        ambient_c: of the room.
        c_per_w: heat resistance from core to room; 3.8 W end 46 degrees above it.
        j_per_c: heat capacity; with the resistance a time constant of 36 s.
        idle_w: of a phone that does nothing.
        throttle_c: above it the clock is lowered, step by step ...
        hysteresis_c: ... until it is this much colder.
    """

    slowness: float = 1.0
    noise: float = 0.004
    restlessness: float = 0.0
    memory_mb: float = 4000.0
    out_of_memory: str = "kill"
    ambient_c: float = 25.0
    c_per_w: float = 12.0
    j_per_c: float = 3.0
    idle_w: float = 0.3
    throttle_c: float = 75.0
    hysteresis_c: float = 3.0

    @property
    def time_constant_s(self) -> float:
        return self.c_per_w * self.j_per_c


@dataclass
class SimulatedPhone(Phone):
    """See the module; the rest is as of :class:`.adbd_phone.Phone`."""

    clusters: tuple[Cluster, ...] = CLUSTERS
    physics: Physics = Physics()
    zones: Mapping[str, Zone] = field(default_factory=lambda: ZONES)

    def __post_init__(self) -> None:
        self.properties = {
            "ro.product.manufacturer": "mnasfpn",
            "ro.product.model": MODEL.removeprefix("mnasfpn "),
            "ro.soc.model": "simulated",
            "ro.serialno": "simulated-1",
            **self.properties,
        }
        super().__post_init__()
        shutil.rmtree(self.folder / "sys/class/thermal")
        at_rest = {kind: zone.stuck if zone.stuck is not None else 0 for kind, zone in
                   self.zones.items()}  # fmt: skip
        write_zones(self.folder / "sys", at_rest)
        self.set_physics(self.physics)

    def set_physics(self, physics: Physics) -> None:
        """From now on; how warm it is and how long it has been on stays."""
        self.physics = physics
        lines = [f"{each.name} {getattr(physics, each.name)}" for each in fields(physics)]
        for cluster in self.clusters:
            folder = cluster.clocks_folder(self.policies)
            khz = " ".join(map(str, cluster.khz))
            lines.append(
                f"cluster {cluster.first} {cluster.last} {cluster.per_cycle} {cluster.watts} "
                f"{folder} {khz}"
            )
        lines += [
            f"zone thermal_zone{number}/temp {zone.share} {zone.unit}"
            for number, zone in enumerate(self.zones.values())
            if zone.stuck is None
        ]
        (self.folder / "data/phone/physics").write_text("\n".join(lines) + "\n")
        shutil.copy2(_rest(), self.folder / "data/phone/rest")  # for its dumpsys
        self.rest(0)

    def rest(self, seconds: float) -> None:
        """Stand idle for so long by its own clock: what a campaign's ``sleep`` means here."""
        subprocess.run([_rest(), self.folder, str(seconds)], check=True)

    @contextmanager
    def switched_on_again(self, booting_s: float = 0.5) -> Iterator[list[float]]:
        """Meanwhile, whenever it has switched itself off, it starts; yields when that was, by its
        own clock."""
        restarts: list[float] = []
        over = threading.Event()

        def watch() -> None:
            while not over.wait(0.05):
                if self.process and self.process.poll() is not None:
                    restarts.append(self.now_s)
                    self.set_properties({**self.properties, "sys.boot_completed": ""})
                    self.start()
                    over.wait(booting_s)
                    self.set_properties(self.properties)

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            yield restarts
        finally:
            over.set()
            watcher.join()

    @property
    def now_s(self) -> float:
        """By its own clock, since it was switched on."""
        return float(self._state()[0])

    @property
    def core_c(self) -> float:
        return float(self._state()[1])

    def _state(self) -> list[str]:
        return (self.folder / "data/phone/state").read_text().split()


def simulated_tool(name: str = "benchmark_model") -> Path:
    """What is pushed as ``benchmark_model`` onto a :class:`SimulatedPhone`."""
    swapped = ("litert.c", "model.c", "op_profile.c")
    runner = [path for path in sorted(RUNNER_SOURCES.iterdir()) if path.name not in swapped]
    sources = [*runner, *(path for path in sorted(PHYSICS.iterdir()) if path.name != "rest.c")]
    program = build("simulated_runner", sources, "x86_64", (f"-I{RUNNER_SOURCES}", "-lm"))
    launcher = cache_folder("simulated_phone") / name
    text = f"""#!/system/bin/sh
# {MODEL}: counts the operations of a model, and computes their time from them.
MNASFPN_SIMULATED_DEVICE={shlex.quote(MODEL)} exec {shlex.quote(str(program))} "$@"
"""
    if not launcher.exists() or launcher.read_text() != text:
        write_atomically(launcher, text)
        launcher.chmod(0o755)
    return launcher


def _rest() -> Path:
    sources = [PHYSICS / name for name in ("rest.c", "physics.c", "physics.h")]
    return build("rest", sources, "x86_64", ("-lm",))
