"""Session: visits to one device, every run kept in a store; what is VALID is not visited again.

A PC's clock differs by percent from one minute to the next. What sessions of one device keep in
one store - kernels, heads, whole files - is brought to one clock, and may be compared.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from ...android_harness.campaign import campaign, check_keys
from ...android_harness.device import Device, Job
from ...android_harness.measurement import Measurement, Run
from ...android_harness.protocol import MeasuringProtocol, protocol_for
from ...android_harness.verdict import condensed, is_valid, measurements
from ...errors import JobFailed
from ...models.graph.graph import Graph
from ...models.tflite.writer import write_tflite
from ...progress import Progress
from ..kernels.kernel import Kernel, kernel_graph
from ..kernels.runtimes import XNNPACK, Runtime
from .store import MeasurementStore, digest, name_of, run_key

#: Measured throughout a campaign to see the device drift: all caches and vector units at work.
SENTINEL = Kernel.parse("conv 1x20x20x96 -> 1x20x20x96 k3x3 s1x1 relu6")
SENTINEL_NAME = "sentinel"
PACK_SENTINEL_NAME = "sentinel of packs"  # the operator profile costs time of its own


class Session:
    """A device, the store of its runs, and how it is measured.

    Args:
        protocol: by default the one for this kind of device.
        seed: of the order of the visits.
        runtime: that executes the models.
        progress: called after every visit but the sentinel's, with the visits done, those at least
            needed, and the key.

    Attributes:
        info: the device as the store knows it: with and without a delegate are two.
        keys: name of each model that was asked for, the sentinel among them -> its runs' key in the
            store, which holds a digest of the file.
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
    ) -> None:
        known = device.describe()
        self.info = replace(known, runtime=f"{known.runtime} {runtime.name}")
        self.protocol = protocol or protocol_for(self.info)
        self.device, self.store = device, store
        self.seed, self.runtime, self.progress = seed, runtime, progress
        self.keys: dict[str, str] = {}

    def measure(
        self,
        models: Mapping[str, Graph | Path],
        sentinel: str = SENTINEL_NAME,
        *,
        op_profile: bool = False,
    ) -> None:
        """Visit what is not VALID in the store yet; every run is in it before the next begins.

        Args:
            models: name -> a graph, or a .tflite. Another file under the same name is another
                model, which what was measured of the first says nothing about.
            sentinel: name of the sentinel's runs; what is measured with other settings has another.
            op_profile: with the runtime's operator profile.

        Raises:
            InvalidInput: a model has the sentinel's name.
            DeviceError: the device cannot go on; what was measured is kept.
            JobFailed: a model cannot be read, or a model or the store cannot be written.
        """
        check_keys((*models, sentinel))
        protocol = self.protocol
        already = {
            key: [condensed(run, protocol) for run in runs] for key, runs in self._stored().items()
        }
        settings = protocol.run_settings(xnnpack=self.runtime is XNNPACK, op_profile=op_profile)
        with tempfile.TemporaryDirectory(prefix="mnasfpn-") as made:
            folder = Path(made)
            (beside,) = self._jobs({sentinel: kernel_graph(SENTINEL)}, folder, lambda key: True)
            jobs = self._jobs(
                models, folder, lambda key: not is_valid(key, already, protocol, beside.key)
            )
            names = {self.keys[name]: name for name in models}
            visits = {key: len(already.get(key, ())) for key in names}
            done = sum(min(count, protocol.rounds) for count in visits.values())
            for job, run in campaign(
                self.device, jobs, protocol, self.seed, settings, sentinel=beside, already=already
            ):
                self.store.append(self.info, job.key, run)
                if job is beside:
                    continue
                done += visits[job.key] < protocol.rounds
                visits[job.key] += 1
                if self.progress:
                    self.progress(done, len(models) * protocol.rounds, names[job.key])

    def _jobs(
        self, models: Mapping[str, Graph | Path], folder: Path, is_due: Callable[[str], bool]
    ) -> list[Job]:
        """A job for each model that is due, its file in the folder; :attr:`keys` of all of them.

        Each content is written once, however often it is measured. Files that are given are copied:
        what is measured stays what the digest is of.
        """
        jobs = []
        digests: dict[int, str] = {}  # many megabytes each: only one content is held at a time
        for name, model in models.items():
            content = b""
            if id(model) not in digests:
                content = _content(model)
                digests[id(model)] = digest(content)
            key = self.keys[name] = run_key(name, digests[id(model)])
            if not is_due(key):
                continue
            path = folder / f"{digests[id(model)].partition(':')[2]}.tflite"
            if not path.exists():
                _write(content or _content(model), path)
            jobs.append(Job(key, path))
        return jobs

    def _stored(self) -> dict[str, tuple[Run, ...]]:
        """Every run of the device whose key tells which file was measured, by key."""
        return {key: runs for key, runs in self.store.runs(self.info).items() if name_of(key)}

    def runs(self) -> dict[str, tuple[Run, ...]]:
        """By name, the runs of all that this session was asked for and the store has."""
        stored = self._stored()
        return {name: stored[key] for name, key in self.keys.items() if key in stored}

    @property
    def runs_without_digest(self) -> int:
        """How many of the device's runs are kept in the store and not used.

        Before 0.2 a run was stored under a name alone. Which file was measured cannot be told: a
        head of 320 pixels and one of 640 had the same, and a kernel's file is made by a writer that
        changes from version to version.
        """
        runs = self.store.runs(self.info)
        return sum(len(runs[key]) for key in runs if name_of(key) is None)

    def measurements(self) -> dict[str, Measurement]:
        """By name, all that this session was asked for beside :data:`SENTINEL_NAME`.

        At one common clock with everything of the device in the store.
        """
        found = measurements(self.info, self._stored(), self.protocol, self.keys.get(SENTINEL_NAME))
        return {name: found[key] for name, key in self.keys.items() if key in found}


def _content(model: Graph | Path) -> bytes:
    if isinstance(model, Graph):
        return write_tflite(model)
    try:
        return model.read_bytes()
    except OSError as error:
        raise JobFailed(
            f"could not read {model} to measure it: {error.strerror}; what was measured is kept"
        ) from error


def _write(content: bytes, path: Path) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise JobFailed(
            f"could not write a model to be measured into {path.parent}: {error.strerror}; free "
            "some space there or set TMPDIR to another folder; what was measured is kept"
        ) from error
