"""Measure model files beside a profile: in its store, at its clock, against the same sentinel."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ...android_harness.measurement import Measurement
from ...errors import InvalidInput
from .session import Session


def measure_files(session: Session, files: Mapping[str, Path]) -> dict[str, Measurement]:
    """Latency of whole .tflite files, with verdicts. Resumable like a profile.

    With the runs of a profile in the same store, the results are at the same clock as its rows and
    may be compared with estimates.

    Args:
        files: name -> file. Another file under the same name is measured anew.

    Raises:
        InvalidInput: a file that is not there.
        DeviceError: the device cannot go on; what was measured is kept.
    """
    for name, path in files.items():
        if not path.is_file():
            raise InvalidInput(f"{name}: there is no file {path} to measure")
    session.measure(files)
    found = session.measurements()
    return {name: found[name] for name in files}
