"""Time of every operator of a model on this PC, in the order in which the runtime executes them.

Through mnasfpn's benchmark runner over libLiteRt.so, since the Python runtime has no profiler. What
XNNPACK makes of a graph's layers, and how its profile calls them, was read off LiteRT 2.3 (float32;
see :data:`XNNPACK_NAMES`). Rows keep the order of execution, also over several delegate partitions:
within a partition that is the order of the file. Operators that XNNPACK turns into nothing have no
row, so a row must be matched to a layer by its name as well as by its place.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ..errors import BenchmarkOutputError, StableDeviceError, TransientDeviceError
from .measurement import OpTiming
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
    "sigmoid": ("Sigmoid (NC)",),
    "softmax": ("Softmax (NC",),
    "prelu": ("PReLU (ND)",),
    "concat": ("Copy (NC",),
    "reshape": ("Static Reshape (NC)",),
    "pad": ("Constant Pad (ND",),
}
#: Row that follows the operators whose activation XNNPACK does not fuse, when they have one.
XNNPACK_ACTIVATION = "Clamp (NC)"
ACTIVATION_APART = frozenset(("add", "sub", "mul"))


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
    model: Path,
    runs: int = 40,
    *,
    warmup_runs: int = 5,
    xnnpack: bool = True,
    core: int | None = None,
    timeout_s: float = 120.0,
) -> tuple[OpTiming, ...]:
    """Time per operator of one .tflite on this PC, one thread, in execution order.

    Args:
        runs: profiled inferences; ``mean_us`` of a row is over the faster half of them.
        core: CPU to pin to; None does not pin.

    Raises:
        StableDeviceError: no compiler or no libLiteRt.so on this PC, or the runtime rejects the
            model.
        TransientDeviceError: it took longer than ``timeout_s``.
    """
    return tuple(
        OpTiming(row.op, row.name, row.undisturbed_us)
        for row in op_samples(
            model, runs, warmup_runs=warmup_runs, xnnpack=xnnpack, core=core, timeout_s=timeout_s
        )
    )


def op_samples(
    model: Path,
    runs: int = 40,
    *,
    warmup_runs: int = 5,
    xnnpack: bool = True,
    core: int | None = None,
    timeout_s: float = 120.0,
) -> tuple[OpSamples, ...]:
    """As :func:`op_profile`, with every sample."""
    runner, library = build_runner(), litert_library()
    with tempfile.TemporaryDirectory() as folder:
        samples = Path(folder) / "samples"
        command = [
            str(runner),
            f"--graph={model}",
            f"--num_runs={runs}",
            f"--warmup_runs={warmup_runs}",
            f"--use_xnnpack={'true' if xnnpack else 'false'}",
            f"--op_samples_file={samples}",
            *("--num_threads=1", "--min_secs=0", "--warmup_min_secs=0"),
            f"--max_secs={timeout_s}",
            "--enable_op_profiling=true",
        ]
        done = _run(command, {"LITERT_LIBRARY": str(library)}, core, timeout_s)
        if done.returncode != 0:
            raise StableDeviceError(
                f"could not profile {model}: {_errors(done.stderr)}; check that it is a "
                "TensorFlow Lite model this runtime can execute"
            )
        rows = _read(samples.read_text())
    if len(rows[0].samples_us) < runs:
        raise TransientDeviceError(
            f"profiling {model} stopped after {timeout_s} s and {len(rows[0].samples_us)} of "
            f"{runs} runs; give more time or ask for fewer runs"
        )
    return rows


def _run(
    command: list[str], environment: dict[str, str], core: int | None, timeout_s: float
) -> subprocess.CompletedProcess[str]:
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )
    try:
        if core is not None and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(process.pid, {core})
        stdout, stderr = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise TransientDeviceError(
            f"profiling took longer than {timeout_s} s: {' '.join(command)}; "
            "give more time or ask for fewer runs"
        ) from None
    finally:
        process.kill()
        process.wait()
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


def _errors(stderr: str) -> str:
    lines = [line for line in stderr.splitlines() if line.startswith("ERROR")]
    return " ".join(lines) or stderr.strip()[-300:] or "the runner said nothing"


def _read(text: str) -> tuple[OpSamples, ...]:
    rows = []
    for line in text.splitlines():
        op, name, samples = line.split("\t")
        rows.append(OpSamples(op, name, tuple(map(int, samples.split()))))
    if not rows or len({len(row.samples_us) for row in rows}) != 1:
        raise BenchmarkOutputError(
            f"the runner's operator samples are damaged: {text[:200]!r}; expected one line per "
            "operator with as many samples as the others; run again"
        )
    return tuple(rows)
