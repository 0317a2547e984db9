"""The process that times models on this PC: one JSON job per line in, one JSON answer per line out.

Run as ``python -m mnasfpn.android_harness.host.worker CORE`` (CORE empty: not pinned). The first
line it prints says hello: runtime and cores. It ends when its standard input closes, so it cannot
outlive the process that started it.
"""

from __future__ import annotations

import gc
import importlib
import importlib.metadata
import json
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, TextIO

import numpy as np

#: Distribution and module of every runtime that can be used, best first. They share one API.
DISTRIBUTIONS = (
    ("ai-edge-litert", "ai_edge_litert.interpreter"),
    ("tflite-runtime", "tflite_runtime.interpreter"),
)
INPUT_SEED = 0
FINE_CLOCK_S = 1e-6
SLICE_NS = 500_000  # schedulers give a program the core for at least about a millisecond
#: The clock is probed between blocks of inferences this long.
BLOCK_NS = 2_000_000
_BASE, _EXPONENT, _MODULUS = (1 << 1023) + 12345, (1 << 15) - 1, (1 << 1024) - 105


def installed_runtime() -> tuple[str, str, str] | None:
    """(distribution, version, module) of the first installed runtime, without loading it."""
    for distribution, module in DISTRIBUTIONS:
        try:
            return distribution, importlib.metadata.version(distribution), module
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def time_model(runtime: Any, job: dict[str, Any]) -> dict[str, Any]:
    """Load the model, warm up, then time single inferences until both count and time suffice.

    Only ``invoke`` lies between the two clock readings. ``init_us`` is the creation of the
    interpreter and of its tensors, delegate included.
    """
    resolver = runtime.OpResolverType
    start = time.perf_counter_ns()
    interpreter = runtime.Interpreter(
        model_path=job["model"],
        num_threads=1,
        experimental_op_resolver_type=(
            resolver.AUTO if job["xnnpack"] else resolver.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        ),
    )
    interpreter.allocate_tensors()
    init_us = (time.perf_counter_ns() - start) / 1e3
    _set_inputs(interpreter)
    invoke = interpreter.invoke
    _repeat(invoke, job["warmup_runs"], job["warmup_min_s"], job["max_s"])
    cpu_start, wall_start = time.process_time_ns(), time.perf_counter_ns()
    samples_us, clock_us = _repeat(invoke, max(1, job["runs"]), job["min_s"], job["max_s"])
    cpu, wall = time.process_time_ns() - cpu_start, time.perf_counter_ns() - wall_start
    return {
        "samples_us": samples_us,
        "init_us": init_us,
        "cpu_per_wall": cpu / wall,
        "clock_us": clock_us,
    }


def _repeat(
    invoke: Callable[[], None], runs: int, min_s: float, max_s: float
) -> tuple[list[float], float]:
    """Every sample, and the fastest clock probe made between blocks of them.

    A sample is wall time, or the process's CPU time where that is less: then something else had
    the core in between, and the model is not to blame. All threads count, so work that is handed
    to another thread is never missed. Samples too short to lose the core for a time slice are not
    looked at: the few that do are outliers, which percentiles are for.
    """
    now, cpu_now = time.perf_counter_ns, _cpu_clock()
    samples_us: list[float] = []
    clock_us = probe_us()
    begin = stop = now()
    enough, limit = begin + int(min_s * 1e9), begin + int(max_s * 1e9)
    while (len(samples_us) < runs or stop < enough) and stop < limit:
        block_end = stop + BLOCK_NS
        while stop < block_end and (len(samples_us) < runs or stop < enough):
            cpu_start = cpu_now()
            start = now()
            invoke()
            stop = now()
            elapsed = stop - start
            if elapsed > SLICE_NS:  # the CPU clock of several threads may stand still for a moment
                elapsed = min(elapsed, cpu_now() - cpu_start or elapsed)
            samples_us.append(elapsed / 1e3)
        clock_us = min(clock_us, probe_us())
    return samples_us, clock_us


def _cpu_clock() -> Callable[[], int]:
    """The process's CPU time in ns, or wall time where that comes in steps (Windows: 15 ms)."""
    fine = time.get_clock_info("process_time").resolution <= FINE_CLOCK_S
    return time.process_time_ns if fine else time.perf_counter_ns


def probe_us() -> float:
    """Time of a fixed amount of arithmetic that stays in the core: inverse to its clock.

    A PC's clock moves by several percent from second to second and cannot be read in a virtual
    machine; this sees it. The fastest of a few, because interruptions only add time.
    """
    now = time.perf_counter_ns
    best = 0
    for _ in range(3):
        start = now()
        pow(_BASE, _EXPONENT, _MODULUS)
        elapsed = now() - start
        best = min(best, elapsed) if best else elapsed
    return best / 1e3


def _set_inputs(interpreter: Any) -> None:
    """Random values, the same in every process; indices (32 and 64 bit integers) stay 0."""
    random = np.random.default_rng(INPUT_SEED)
    for detail in interpreter.get_input_details():
        shape, dtype = detail["shape"], np.dtype(detail["dtype"])
        if dtype.kind == "f":
            values = random.uniform(-1, 1, shape).astype(dtype)
        elif dtype.kind in "iu" and dtype.itemsize == 1:
            values = random.integers(np.iinfo(dtype).min, 127, shape, dtype=dtype)
        else:
            values = np.zeros(shape, dtype)
        interpreter.set_tensor(detail["index"], values)


def _jobs() -> queue.Queue[str]:
    """Lines of standard input. When it closes the parent is gone: end at once, even mid-inference.

    The reading thread sleeps in the kernel and costs the measurement nothing.
    """
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        for line in sys.stdin:
            lines.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return lines


def _private_stdout() -> TextIO:
    """A handle on standard output for answers only; what native code prints goes to stderr."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", buffering=1)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return answers


def main(core: str) -> None:
    answers = _private_stdout()
    cores: list[int] = []
    if core:
        os.sched_setaffinity(0, {int(core)})
        cores = sorted(os.sched_getaffinity(0))
    found = installed_runtime()
    if found is None:
        raise SystemExit("no TensorFlow Lite runtime is installed")
    distribution, version, module = found
    runtime = importlib.import_module(module)
    jobs = _jobs()
    print(json.dumps({"runtime": f"{distribution} {version}", "cores": cores}), file=answers)
    gc.disable()  # a collection inside a sample would be counted as the model's time
    while True:
        job = json.loads(jobs.get())
        try:
            answer = time_model(runtime, job)
        except Exception as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            answer = {"error": f"the runtime rejects {os.path.basename(job['model'])}: {reason}"}
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
