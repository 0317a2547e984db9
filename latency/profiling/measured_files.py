"""Measure model files beside a profile: in its store, at its clock, against the same sentinel."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ...android_harness.device import Device, Job
from ...android_harness.measurement import Measurement
from ...android_harness.protocol import MeasuringProtocol, protocol_for
from ...android_harness.verdict import measurements
from ...errors import InvalidInput
from ..kernels.runtimes import XNNPACK, Runtime
from .plan import SENTINEL_KEY
from .profile_device import Progress, measure_jobs, store_key
from .store import MeasurementStore


def measure_files(
    device: Device,
    files: Mapping[str, Path],
    store: MeasurementStore,
    *,
    runtime: Runtime = XNNPACK,
    protocol: MeasuringProtocol | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Measurement]:
    """Latency of whole .tflite files, with verdicts. Resumable like a profile.

    A PC's clock differs by percent from one minute to the next; with the runs of a profile in the
    same store, the results are at the same clock as its rows and may be compared with estimates.

    Args:
        files: key in the store -> file.

    Raises:
        InvalidInput: a file that is not there.
        DeviceError: the device cannot go on; what was measured is kept.
    """
    for key, path in files.items():
        if not path.is_file():
            raise InvalidInput(f"{key}: there is no file {path} to measure")
    info = store_key(device.describe(), runtime)
    protocol = protocol or protocol_for(info)
    jobs = [Job(key, path) for key, path in files.items()]
    settings = protocol.run_settings(xnnpack=runtime is XNNPACK)
    measure_jobs(device, info, jobs, SENTINEL_KEY, settings, seed, store, protocol, progress)
    found = measurements(info, store.runs(info), protocol, SENTINEL_KEY)
    return {key: found[key] for key in files}
