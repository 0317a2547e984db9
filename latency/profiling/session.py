"""Session: visits to one device, every run kept in a store; what is VALID is not visited again.

A PC's clock differs by percent from one minute to the next. What sessions of one device keep in
one store - kernels, heads, whole files - is brought to one clock, and may be compared.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from ...android_harness.campaign import campaign, check_keys
from ...android_harness.device import Device, Job
from ...android_harness.measurement import Measurement, Run
from ...android_harness.protocol import MeasuringProtocol, protocol_for
from ...android_harness.verdict import Judge, condensed, measurements
from ...errors import JobFailed
from ...models.graph.graph import Graph
from ...models.tflite.writer import write_tflite
from ...progress import Progress
from ..kernels.kernel import Kernel, kernel_graph
from ..kernels.runtimes import XNNPACK, Runtime
from .store import MeasurementStore

#: Measured throughout a campaign to see the device drift: all caches and vector units at work.
SENTINEL = Kernel.parse("conv 1x20x20x96 -> 1x20x20x96 k3x3 s1x1 relu6")
SENTINEL_KEY = "sentinel"
PACK_SENTINEL_KEY = "sentinel of packs"  # the operator profile costs time of its own


class Session:
    """A device, the store of its runs, and how it is measured.

    Args:
        protocol: by default the one for this kind of device.
        seed: of the order of the visits.
        runtime: that executes the models.
        progress: called after every visit but the sentinel's, with the visits done, those at least
            needed, and the key.
        afresh: what is not VALID although its rounds are used up begins anew, see ``campaign``.
        sleep: how a device rests; a simulated one may do that by a clock of its own.

    Attributes:
        info: the device as the store knows it: with and without a delegate are two.
    """

    def __init__(
        self,
        device: Device,
        store: MeasurementStore,
        protocol: MeasuringProtocol | None = None,
        *,
        seed: int = 0,
        runtime: Runtime = XNNPACK,
        progress: Progress | None = None,
        afresh: bool = False,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        known = device.describe()
        self.info = replace(known, runtime=f"{known.runtime} {runtime.name}")
        self.protocol = protocol or protocol_for(self.info)
        self.device, self.store = device, store
        self.seed, self.runtime, self.progress, self.afresh = seed, runtime, progress, afresh
        self.sleep = sleep

    def measure(
        self,
        models: Mapping[str, Graph | Path],
        sentinel_key: str = SENTINEL_KEY,
        *,
        op_profile: bool = False,
    ) -> None:
        """Visit what is not VALID in the store yet, up to the protocol's bound.

        Every run is in the store before the next begins.

        Args:
            models: key in the store -> a graph, or a .tflite.
            sentinel_key: of the sentinel's runs; what is measured with other settings has another.
            op_profile: with the runtime's operator profile.

        Raises:
            InvalidInput: a model has the sentinel's key.
            DeviceError: the device cannot go on; what was measured is kept.
            JobFailed: a model or the store cannot be written.
        """
        check_keys((*models, sentinel_key))
        protocol, runs = self.protocol, self.runs()
        already = {key: [condensed(run, protocol) for run in runs[key]] for key in runs}
        judges = Judge(already, protocol, sentinel_key)
        due = {
            key: model
            for key, model in models.items()
            if (self.afresh and judges.is_spent(key)) or judges.is_due(key)
        }
        if not due:
            return
        settings = protocol.run_settings(xnnpack=self.runtime is XNNPACK, op_profile=op_profile)
        visits = {key: len(already.get(key, ())) for key in models}
        done = sum(min(count, protocol.rounds) for count in visits.values())
        with tempfile.TemporaryDirectory(prefix="mnasfpn-") as folder:
            sentinel, *jobs = _jobs({sentinel_key: kernel_graph(SENTINEL), **due}, Path(folder))
            made = campaign(
                self.device,
                jobs,
                protocol,
                self.seed,
                settings,
                sentinel=sentinel,
                already=already,
                afresh=self.afresh,
                sleep=self.sleep,
            )
            for job, run in made:
                self.store.append(self.info, job.key, run)
                if job is sentinel:
                    continue
                done += visits[job.key] < protocol.rounds
                visits[job.key] += 1
                if self.progress:
                    self.progress(done, len(models) * protocol.rounds, job.key)

    def runs(self) -> dict[str, tuple[Run, ...]]:
        """Every run of the device in the store, by key."""
        return self.store.runs(self.info)

    def measurements(self, sentinel_key: str = SENTINEL_KEY) -> dict[str, Measurement]:
        """All that the store has of the device beside this sentinel, at one common clock."""
        return measurements(self.info, self.runs(), self.protocol, sentinel_key)


def _jobs(models: Mapping[str, Graph | Path], folder: Path) -> list[Job]:
    """A job for each key; graphs are written into the folder, each once however often measured."""
    paths: dict[int, Path] = {}
    jobs = []
    for key, model in models.items():
        if isinstance(model, Path):
            jobs.append(Job(key, model))
            continue
        if id(model) not in paths:
            paths[id(model)] = folder / f"{len(paths)}.tflite"
            _write(model, paths[id(model)])
        jobs.append(Job(key, paths[id(model)]))
    return jobs


def _write(graph: Graph, path: Path) -> None:
    try:
        path.write_bytes(write_tflite(graph))
    except OSError as error:
        raise JobFailed(
            f"could not write a model to be measured into {path.parent}: {error.strerror}; free "
            "some space there or set TMPDIR to another folder; what was measured is kept"
        ) from error
