"""Time of every operator of a model on this PC, in the order in which the runtime executes them.

Through mnasfpn's benchmark runner over libLiteRt.so, since the Python runtime has no profiler. What
XNNPACK makes of a graph's layers, and how its profile calls them, was read off LiteRT 2.3 (float32
and int8; see :data:`XNNPACK_NAMES`). Rows keep the order of execution, also over several delegate
partitions: within a partition that is the order of the file. Operators that XNNPACK turns into
nothing have no row, so a row must be matched to a layer by its name as well as by its place.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ...errors import BenchmarkOutputError, TransientDeviceError
from ...storage.interruption import ctrl_c_held_back
from ..device import RunSettings
from ..measurement import OpTiming
from ..tool_output.benchmark_output import Asked, check_asked, parse_output
from .endings import raise_if_killed
from .native_build import build_runner, litert_library

#: Operator of a Graph -> how XNNPACK's row for it begins. An operator that is not here stays with
#: the interpreter, whose rows carry its TensorFlow Lite name (``RESIZE_NEAREST_NEIGHBOR``).
#:
#: - A pointwise convolution without stride is a matrix product and called so; with one it is an
#:   IGEMM convolution. So is a depthwise convolution of more than 25 taps or with a multiplier: a
#:   7x7 costs twenty to thirty times a 5x5.
#: - Bias and activation of convolutions are inside their row. Those of add, sub and mul are not: a
#:   ``Clamp (NC)`` row follows, and so it does for a relu or relu6 that stands alone.
#: - A pad that only feeds a valid convolution has no row; alone it is a ``Constant Pad``.
#: - A concatenation is one ``Copy`` row for all of its inputs.
#: - In int8, x * sigmoid(x) is one ``Invalid Unary Op``: a table, as for the sigmoid alone.
#: - A dense layer whose result has two axes is a ``Static Reshape`` first.
#: - With int8 weights and float32 everything else, a convolution that is no matrix product has a
#:   ``Convert`` row before it, for its inputs.
XNNPACK_NAMES: dict[str, tuple[str, ...]] = {
    "conv": ("Convolution (NHWC", "Fully Connected (NC"),
    "depthwise_conv": ("Convolution (NHWC",),
    "fully_connected": ("Fully Connected (NC",),
    "max_pool": ("Max Pooling (NHWC",),
    "average_pool": ("Average Pooling (NHWC",),
    "global_average_pool": ("Mean (ND)",),
    "global_max_pool": ("Reduce Max (ND)",),
    "resize_bilinear": ("Resize Bilinear (NHWC)",),
    "add": ("Add (ND)",),
    "sub": ("Subtract (ND)",),
    "mul": ("Multiply (ND)",),
    "relu": ("Clamp (NC)",),
    "relu6": ("Clamp (NC)",),
    "hard_swish": ("HardSwish (NC)",),
    "sigmoid": ("Sigmoid (NC)", "Invalid Unary Op"),
    "softmax": ("Softmax (NC",),
    "gelu": ("GELU (NC)",),
    "gelu_tanh": ("ApproxGELU (NC)",),
    "tanh": ("TanH (NC)",),
    "leaky_relu": ("LeakyReLU (NC)",),
    "neg": ("Negate (NC)",),
    "rsqrt": ("Reciprocal Square Root (NC)",),
    "div": ("Divide (ND)",),
    "squared_difference": ("Squared Difference (ND)",),
    "mean": ("Mean (ND)",),
    "transpose": ("Transpose (ND",),
    "slice": ("Slice (ND",),
    "prelu": ("PReLU (ND)",),
    "concat": ("Copy (NC",),
    "reshape": ("Static Reshape (NC)",),
    "pad": ("Constant Pad (ND",),
    "quantize": ("Convert (NC",),
    "requantize": ("Convert (NC",),
    "dequantize": ("Convert (NC",),
}
#: Row that follows the operators whose activation XNNPACK does not fuse, when they have one.
XNNPACK_ACTIVATION = "Clamp (NC)"
ACTIVATION_APART = frozenset(("add", "sub", "mul"))

_SAMPLES = re.compile(r"(?P<op>[^\t]+)\t(?P<name>[^\t]*)\t(?P<samples>\d+(?: \d+)*)")


class ProfilingTooSlow(TransientDeviceError):
    """The time for one model was up."""


@dataclass(frozen=True, slots=True)
class OpSamples:
    """Every sample of one operator, one per inference, in whole microseconds as the runtime has it.

    ``op`` is the kind (``Convolution (NHWC, F32) IGEMM``, ``RESIZE_NEAREST_NEIGHBOR``) and ``name``
    says which (``Delegate/...:2`` numbered within its partition, ``[output tensor]:4``).
    """

    op: str
    name: str
    samples_us: tuple[int, ...]

    @property
    def undisturbed_us(self) -> float:
        """Mean of the faster half of the samples: whatever disturbs a PC only ever adds time."""
        fastest = sorted(self.samples_us)[: (len(self.samples_us) + 1) // 2]
        return sum(fastest) / len(fastest)


def op_profile(
    model: Path, runs: int = 40, *, xnnpack: bool = True, core: int | None = None
) -> tuple[OpTiming, ...]:
    """Time per operator of one .tflite on this PC, one thread, in execution order.

    Args:
        runs: profiled inferences; ``mean_us`` of a row is over the faster half of them.
        core: CPU to pin to; None does not pin.

    Raises:
        StableDeviceError, BenchmarkOutputError, TransientDeviceError: as :func:`profile_model`.
    """
    settings = RunSettings(runs=runs, xnnpack=xnnpack, max_s=120)
    return profile_model(model, settings, core).timings


@dataclass(frozen=True, slots=True)
class ModelProfile:
    """One model's profile: every sample of every operator, and the tool's own statistics."""

    operators: tuple[OpSamples, ...]
    stats_us: dict[str, float]
    init_us: float | None

    @property
    def timings(self) -> tuple[OpTiming, ...]:
        return tuple(OpTiming(row.op, row.name, row.undisturbed_us) for row in self.operators)


def profile_model(model: Path, settings: RunSettings, core: int | None = None) -> ModelProfile:
    """Run mnasfpn's runner on one model in a process of its own, with the operator profile.

    Raises:
        StableDeviceError: no compiler or no libLiteRt.so on this PC.
        BenchmarkOutputError: the runtime rejects the model.
        ProfilingTooSlow: it took longer than ``settings.timeout_s``.
        TransientDeviceError: someone else ended the process.
    """
    runner, library = build_runner(), litert_library()
    with tempfile.TemporaryDirectory() as folder:
        samples = Path(folder) / "samples"
        command = [
            str(runner),
            f"--graph={model}",
            f"--num_runs={settings.runs}",
            f"--min_secs={settings.min_s}",
            f"--max_secs={settings.max_s}",
            f"--warmup_runs={settings.warmup_runs}",
            f"--warmup_min_secs={settings.warmup_min_s}",
            f"--use_xnnpack={'true' if settings.xnnpack else 'false'}",
            f"--op_samples_file={samples}",
            *("--num_threads=1", "--enable_op_profiling=true"),
        ]
        done = _run(command, {"LITERT_LIBRARY": str(library)}, core, settings.timeout_s)
        raise_if_killed(done.returncode, model.name)
        output = parse_output(done.stdout, done.stderr, done.returncode)
        check_asked(output, Asked(str(model), 1, settings.xnnpack))
        operators = _read(samples.read_text())
    return ModelProfile(operators, output.measured.as_dict(), output.init_us)


def _run(
    command: list[str], environment: dict[str, str], core: int | None, timeout_s: float
) -> subprocess.CompletedProcess[str]:
    process: subprocess.Popen[str] | None = None
    try:
        with ctrl_c_held_back():  # else Ctrl-C may come before there is anything to end
            process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",  # a damaged model's words
                env=os.environ | environment,
                start_new_session=True,
            )
        if core is not None and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(process.pid, {core})
        stdout, stderr = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise ProfilingTooSlow(
            f"profiling took longer than {timeout_s:g} s: {' '.join(command)}; "
            "give more time or ask for fewer runs"
        ) from None
    finally:
        if process is not None:
            process.kill()
            process.wait()
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


def _read(text: str) -> tuple[OpSamples, ...]:
    found = [_SAMPLES.fullmatch(line) for line in text.splitlines()]
    rows = [
        OpSamples(row["op"], row["name"], tuple(map(int, row["samples"].split())))
        for row in found
        if row
    ]
    if None in found or len({len(row.samples_us) for row in rows}) != 1:
        raise BenchmarkOutputError(
            f"the runner's operator samples are damaged: {text[:200]!r}; expected one line per "
            "operator with as many samples as the others; run again"
        )
    return tuple(rows)
