"""What every device can do, whatever it is: describe itself, report its state, run a round."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from .measurement import DeviceInfo, Run, Telemetry


@dataclass(frozen=True, slots=True)
class Job:
    """A model file to be measured, under a key that names it in the store.

    ``key`` also says which file it is, by a digest; it is never parsed by the harness.
    """

    key: str
    model: Path


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How one visit to a model goes; echoed by the tool and compared with what was asked.

    Warm-up: ``warmup_runs`` inferences and ``warmup_min_s`` seconds at least. Repeats: until there
    are ``runs`` and ``min_s`` has passed. Each ends early when ``max_s`` has passed, so the slowest
    models have fewer repeats than asked for. A visit that takes ``timeout_s`` in all is ended.
    """

    warmup_runs: int = 3
    warmup_min_s: float = 0.0
    runs: int = 5
    min_s: float = 0.0
    max_s: float = 30.0
    xnnpack: bool = True
    op_profile: bool = False
    timeout_s: float = 120.0


class Device(Protocol):
    """A place where models are timed, one thread, batch 1."""

    def describe(self) -> DeviceInfo: ...

    def telemetry(self) -> Telemetry: ...

    def run_round(
        self, jobs: Sequence[Job], settings: RunSettings, round_number: int
    ) -> Iterator[tuple[Job, Run]]:
        """Visit every job once in the given order; yield each as soon as it is done.

        A generator: the device rests while the caller does not ask for the next run, which is how
        a campaign lets it cool down. It starts by making sure that the device can be reached, so
        calling it again with the jobs that are left is a reconnect.
        A job that fails for a reason of its own yields a Run with ``error``; the round goes on.

        Raises:
            TransientDeviceError: the device was lost; ``under_way`` says whether while a model ran.
            StableDeviceError: the device cannot go on.
        """
        ...
