"""A device that answers from a script, and campaigns on it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from mnasfpn.android_harness.campaign import campaign
from mnasfpn.android_harness.device import Job
from mnasfpn.android_harness.measurement import DeviceInfo, Run, Telemetry
from mnasfpn.android_harness.protocol import MeasuringProtocol
from mnasfpn.errors import TransientDeviceError

PROTOCOL = MeasuringProtocol(
    "test", statistics=("min",), rounds=3, extra_rounds=2, runs=1, sentinel_every=4
)
SENTINEL = Job("sentinel", Path("sentinel.tflite"))


def jobs(count: int) -> list[Job]:
    return [Job(f"job{index}", Path(f"{index}.tflite")) for index in range(count)]


class ScriptedDevice:
    """Answers from a script; records what it was asked.

    Args:
        figures: key -> what its visits give in turn, the last for ever: microseconds, or the text
            of an error. Keys that are not named cost 100 us.
        faults: number of the visit, counted over all -> what is raised in its place.
    """

    def __init__(self, figures=None, faults=None, temperatures=None):
        self.figures = {key: iter(values) for key, values in (figures or {}).items()}
        self.last = {}
        self.faults = dict(faults or {})
        self.temperatures = iter(temperatures or ())
        self.visits: list[tuple[int, str]] = []
        self.asked: list[list[str]] = []

    def describe(self):
        return DeviceInfo("scripted", "m", "s", "o", "a", "r", provenance="simulated")

    def telemetry(self):
        return Telemetry(temperature_c={"skin": next(self.temperatures, 30.0)})

    def run_round(self, jobs, settings, round_number):
        self.asked.append([job.key for job in jobs])
        for position, job in enumerate(jobs):
            number = len(self.visits)
            if number in self.faults:
                raise self.faults.pop(number)
            self.visits.append((round_number, job.key))
            value = next(self.figures.get(job.key, iter(())), self.last.get(job.key, 100.0))
            self.last[job.key] = value
            after = self.telemetry()
            if isinstance(value, str):
                yield job, Run(round_number, position, error=value, after=after)
            else:
                yield job, Run(round_number, position, samples_us=(value,), after=after)


def lost(why: str, under_way: bool | None) -> TransientDeviceError:
    error = TransientDeviceError(why)
    error.under_way = under_way
    return error


def no_sleep(seconds: float) -> None:
    pass


def measure(device, work, protocol=PROTOCOL, seed=0, sleep=no_sleep, already=None):
    return list(
        campaign(device, work, protocol, seed, sentinel=SENTINEL, sleep=sleep, already=already)
    )


def go_on(stored, device, work, **asked):
    """A campaign with what is stored, to which every run is added before the next."""
    for job, run in campaign(
        device, work, PROTOCOL, 0, sentinel=SENTINEL, already=stored, sleep=no_sleep, **asked
    ):
        stored.setdefault(job.key, []).append(run)


def by_key(results):
    stored: dict[str, list[Run]] = {}
    for job, run in results:
        stored.setdefault(job.key, []).append(run)
    return stored


def visits_by_key(device):
    return Counter(key for _, key in device.visits)
