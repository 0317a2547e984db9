"""One tree of exceptions. Every message says what was got, what was expected, and what to do.

``MnasFpnError`` and its children are for people: the command line prints the message without a
traceback. Anything else that escapes is a bug of ours.
"""

from __future__ import annotations


class MnasFpnError(Exception):
    """Root of every error this package raises on purpose."""

    #: Exit code of the command line: 2 for bad input, 1 for a job that failed.
    exit_code = 1


class InvalidInput(MnasFpnError, ValueError):
    """The caller gave something that cannot be used: a value, a name, a file."""

    exit_code = 2


class InvalidGraph(InvalidInput):
    """A genotype, detector or graph breaks a structural rule."""


class UnknownModel(InvalidInput):
    """A model name that is neither published nor a readable file."""


class InvalidProfile(InvalidInput):
    """A device profile of another schema, or with a missing or impossible field."""


class InvalidModelFile(InvalidInput):
    """A file that should hold a TensorFlow Lite model and does not."""


class NotCovered(MnasFpnError):
    """A kernel or operator that the profile cannot estimate."""


class DeviceError(MnasFpnError):
    """Something went wrong on, or on the way to, a device."""


class TransientDeviceError(DeviceError):
    """Worth a bounded retry: offline, closed, timed out."""

    #: Whether a model was running when it came about; None where that is not known.
    under_way: bool | None = None


class StableDeviceError(DeviceError):
    """Retrying cannot help: permission, missing file, wrong ABI."""


class BenchmarkOutputError(DeviceError):
    """A benchmark tool printed something that is not a result; the message quotes the line."""


class JobFailed(MnasFpnError):
    """A long job stopped before its result; what was finished is kept."""
