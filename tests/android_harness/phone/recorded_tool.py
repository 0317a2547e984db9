"""Models of words for the recorded benchmark program, and one round of visits to them."""

from __future__ import annotations

from pathlib import Path

from mnasfpn.android_harness.device import Job, RunSettings
from mnasfpn.android_harness.measurement import Run
from mnasfpn.android_harness.phone.android import AndroidDevice

TOOL = Path(__file__).parent / "recorded_benchmark_model"
SETTINGS = RunSettings(warmup_runs=1, runs=20, min_s=0.0, max_s=5, timeout_s=60)


def job(folder: Path, key: str, does: str) -> Job:
    """Args:
    does: what happens when it is run; see ``recorded_benchmark_model``.
    """
    path = folder / f"{key}.tflite"
    path.write_text(f"{does}\n{key}\n")
    return Job(key, path)


def good_jobs(folder: Path, count: int) -> list[Job]:
    return [job(folder, f"model {number}", f"us={1000 + number}") for number in range(count)]


def runs(device: AndroidDevice, jobs: list[Job], settings: RunSettings = SETTINGS) -> list[Run]:
    return [run for _, run in device.run_round(jobs, settings, 0)]
