"""The real command line with two changes: ``host`` is simulated, and everything else is tiny.

    python simulated_host.py SECONDS_PER_VISIT ARGUMENTS_OF_MNASFPN...

The device reads the very files it is given and applies a law to the kernels in them. With ``real``
instead of a number, ``host`` is what it always is, and only the rest is tiny.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import mnasfpn.android_harness.host.host
import mnasfpn.models.space
import mnasfpn.search.search_request
import mnasfpn.search.search_space
from mnasfpn.android_harness.device import Job, RunSettings
from mnasfpn.android_harness.measurement import DeviceInfo, Run, Telemetry
from mnasfpn.cli.main import main
from mnasfpn.latency.kernels.execution import execution_plan
from mnasfpn.latency.kernels.kernel import Kernel
from mnasfpn.latency.profiling.store import digest
from mnasfpn.models.data.digits import DigitsSettings
from mnasfpn.models.space import Space
from mnasfpn.models.tflite.reader import read_tflite
from mnasfpn.models.training.pretrain import PretrainSettings
from mnasfpn.search.proxy.proxy_settings import ProxySettings
from mnasfpn.search.search_space import SearchSpace

TINY = Space("tiny", channels=(16,), kernels=(3, 5), expansions=(16, 32), internal_blocks=2)
DIGITS = DigitsSettings(train=24, validation=8, size=64)
PROXY = ProxySettings(input_size=64, steps=2, pretrain=PretrainSettings(steps=2, variants=1))
DISPATCH_US = 2.0


class SimulatedHost:
    seconds = 0.0

    def __init__(self) -> None:
        self.known: dict[str, float] = {}  # by the content of the file

    def describe(self) -> DeviceInfo:
        return DeviceInfo("host", "Simulated", "law", "none", "none", "law", provenance="simulated")

    def telemetry(self) -> Telemetry:
        return Telemetry()

    def run_round(
        self, jobs: Sequence[Job], settings: RunSettings, round_number: int
    ) -> Iterator[tuple[Job, Run]]:
        for position, job in enumerate(jobs):
            time.sleep(self.seconds)
            yield job, Run(round_number, position, (self.latency_us(job.model),) * settings.runs)

    def latency_us(self, path: Path) -> float:
        content = digest(path.read_bytes())
        if content not in self.known:
            kernels = execution_plan(read_tflite(path)).kernels
            self.known[content] = DISPATCH_US + sum(map(self.kernel_us, kernels))
        return self.known[content]

    @staticmethod
    def kernel_us(kernel: Kernel) -> float:
        traffic = kernel.bytes_in + kernel.bytes_out + kernel.bytes_weights
        return 0.2 + kernel.madds / 2e4 + traffic / 1e4


if __name__ == "__main__":
    seconds = sys.argv.pop(1)
    if seconds != "real":
        SimulatedHost.seconds = float(seconds)
        mnasfpn.android_harness.host.host.HostDevice = SimulatedHost
    mnasfpn.models.space.MNASFPN_SPACES["mnasfpn"] = TINY
    mnasfpn.search.search_space.search_space = lambda name, repeats=3: SearchSpace(TINY, repeats)
    mnasfpn.search.search_request.search_space = mnasfpn.search.search_space.search_space
    mnasfpn.search.search_request.SearchRequest = functools.partial(
        mnasfpn.search.search_request.SearchRequest, proxy=PROXY, digits=DIGITS, batch=4
    )
    main(prog_name="mnasfpn")
