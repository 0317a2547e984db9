"""This PC as a device, with real processes: measured, crashed, hung, killed, interrupted."""

from __future__ import annotations

import itertools
import os
import signal
import statistics
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from mnasfpn.android_harness.device import Job, RunSettings
from mnasfpn.android_harness.host import host, worker
from mnasfpn.android_harness.measurement import Telemetry
from mnasfpn.errors import StableDeviceError, TransientDeviceError
from mnasfpn.models.graph.builder import GraphBuilder
from mnasfpn.models.tflite.writer import write_tflite

QUICK = RunSettings(warmup_runs=1, runs=3, timeout_s=60)
PROC = Path("/proc/self/task")
needs_proc = pytest.mark.skipif(not PROC.is_dir(), reason="looks at processes through /proc")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def block(folder):
    """A good model: one 1x1 convolution."""
    builder = GraphBuilder()
    builder.conv("conv", builder.input("image", (1, 10, 10, 16)), 16)
    path = folder / "block.tflite"
    path.write_bytes(write_tflite(builder.graph(["conv"])))
    return Job("block", path)


@pytest.fixture(scope="module")
def endless(folder):
    return _loop_model(folder / "endless.tflite", condition=1)


@pytest.fixture(scope="module")
def crashing(folder):
    """Its loop condition is the subgraph itself: preparing it overflows the stack."""
    return _loop_model(folder / "crashing.tflite", condition=0)


def _loop_model(path: Path, condition: int) -> Job:
    """``while (subgraph condition) x = x``; subgraph 1 is always true."""

    def tensor(name, dtype, buffer=0):
        made = schema.TensorT()
        made.name, made.shape, made.type, made.buffer = name, [1], dtype, buffer
        return made

    def graph(tensors, outputs, operators=()):
        made = schema.SubGraphT()
        made.tensors, made.inputs, made.outputs = tensors, [0], outputs
        made.operators = list(operators)
        return made

    options = schema.WhileOptionsT()
    options.condSubgraphIndex, options.bodySubgraphIndex = condition, 2
    loop = schema.OperatorT()
    loop.opcodeIndex, loop.inputs, loop.outputs = 0, [0], [1]
    loop.builtinOptionsType, loop.builtinOptions = schema.BuiltinOptions.WhileOptions, options
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.WHILE
    true = schema.BufferT()
    true.data = np.ones(1, np.uint8)
    number, truth = schema.TensorType.INT32, schema.TensorType.BOOL
    model = schema.ModelT()
    model.version, model.operatorCodes, model.buffers = 3, [code], [schema.BufferT(), true]
    model.subgraphs = [
        graph([tensor(b"x", number), tensor(b"y", number)], [1], [loop]),
        graph([tensor(b"x", number), tensor(b"true", truth, 1)], [1]),
        graph([tensor(b"x", number)], [0]),
    ]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return Job(path.stem, path)


def _workers(pid: int) -> list[int]:
    """Measuring processes that this process has started."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    children = [int(child) for path in tasks for child in path.read_text().split()]
    return [
        child
        for child in children
        if _alive(child) and b"host.worker" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


def _alive(pid: int) -> bool:
    """Running: neither gone nor a zombie that nobody has waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _wait_until(condition, what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"waited 60 s in vain: {what}"
        time.sleep(0.01)


# Measuring


def test_round_visits_in_order_and_keeps_every_sample(block):
    visits = list(host.HostDevice().run_round([block] * 3, QUICK, round_number=4))
    assert [(job.key, run.round, run.position) for job, run in visits] == [
        ("block", 4, 0),
        ("block", 4, 1),
        ("block", 4, 2),
    ]
    for _, run in visits:
        assert len(run.samples_us) == 3
        assert not run.error
        assert run.init_us > 0
        assert run.clock_us > 0
        assert isinstance(run.before, Telemetry)


def test_repeats_until_both_count_and_time_suffice(block):
    settings = RunSettings(runs=1, min_s=0.2)
    ((_, run),) = host.HostDevice().run_round([block], settings, 0)
    assert len(run.samples_us) > 1


def test_max_s_ends_a_visit_before_its_count(block):
    settings = RunSettings(runs=10**9, max_s=0.05)
    ((_, run),) = host.HostDevice().run_round([block], settings, 0)
    assert 1 <= len(run.samples_us) < 10**6


def test_operator_profile_names_what_was_executed(block, tmp_path):
    broken = Job("broken", tmp_path / "broken.tflite")
    broken.model.write_bytes(b"TFL3" * 100)
    settings = RunSettings(runs=3, op_profile=True)
    rounds = list(host.HostDevice().run_round([block, broken], settings, 2))
    profiled, failed = (run for _, run in rounds)
    assert profiled.op_profile
    assert sum(row.mean_us for row in profiled.op_profile) <= profiled.stats_us["max"]
    assert (profiled.round, profiled.position, profiled.stats_us["count"]) == (2, 0, 3)
    assert "exit code 1" in failed.error


class FakeInterpreter:
    made: list[FakeInterpreter] = []  # noqa: RUF012

    def __init__(self, **options):
        self.options, self.tensors, self.invoked = options, {}, 0
        FakeInterpreter.made.append(self)

    def allocate_tensors(self):
        pass

    def get_input_details(self):
        dtypes = (np.float32, np.float16, np.int8, np.uint8, np.int32)
        return [
            {"shape": np.array([1, 4, 5, 3]), "dtype": dtype, "index": index}
            for index, dtype in enumerate(dtypes)
        ]

    def set_tensor(self, index, value):
        self.tensors[index] = value

    def invoke(self):
        self.invoked += 1


FAKE_RUNTIME = SimpleNamespace(
    Interpreter=FakeInterpreter,
    OpResolverType=SimpleNamespace(AUTO="auto", BUILTIN_WITHOUT_DEFAULT_DELEGATES="plain"),
)


@pytest.mark.parametrize(("xnnpack", "resolver"), [(True, "auto"), (False, "plain")])
def test_worker_asks_for_one_thread_and_the_wanted_delegate(xnnpack, resolver):
    job = {"model": "m", "warmup_runs": 2, "warmup_min_s": 0, "runs": 5, "min_s": 0, "max_s": 9}
    FakeInterpreter.made.clear()
    answer = worker.time_model(FAKE_RUNTIME, {**job, "xnnpack": xnnpack})
    (used,) = FakeInterpreter.made
    assert used.options["num_threads"] == 1
    assert used.options["experimental_op_resolver_type"] == resolver
    assert used.invoked == 2 + 5
    assert len(answer["samples_us"]) == 5


def test_inputs_are_random_the_same_each_time_and_indices_are_zero():
    job = {"model": "m", "warmup_runs": 0, "warmup_min_s": 0, "runs": 1, "min_s": 0, "max_s": 9}
    FakeInterpreter.made.clear()
    for _ in range(2):
        worker.time_model(FAKE_RUNTIME, {**job, "xnnpack": True})
    first, second = (made.tensors for made in FakeInterpreter.made)
    for index, value in first.items():
        np.testing.assert_array_equal(value, second[index])
        assert value.shape == (1, 4, 5, 3)
    assert [first[index].dtype for index in range(5)] == [
        np.float32,
        np.float16,
        np.int8,
        np.uint8,
        np.int32,
    ]
    assert all(len(np.unique(first[index])) > 20 for index in range(4))
    assert not first[4].any()


def test_time_in_which_the_core_was_taken_away_is_not_the_models():
    slept_us = 50_000
    taken_away, threads = (
        worker._repeat(invoke, 3, 0, 9)[0]
        for invoke in (lambda: time.sleep(slept_us / 1e6), _work_in_another_thread)
    )
    assert max(taken_away) < slept_us / 2
    # Work handed to another thread is not lost: at least what that thread itself counted.
    assert all(sample >= counted for sample, counted in zip(threads, _counted_us[-3:], strict=True))


_counted_us: list[float] = []


def _work_in_another_thread():
    def work():
        start = time.thread_time_ns()
        sum(range(300_000))
        _counted_us.append((time.thread_time_ns() - start) / 1e3)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def test_a_system_that_cannot_pin_measures_unpinned(block, monkeypatch):
    monkeypatch.setattr(host, "_allowed_cores", set)
    device = host.HostDevice()
    assert device.describe().cores == ()
    ((_, run),) = device.run_round([block], QUICK, 0)
    assert run.samples_us


@needs_proc
def test_worker_is_pinned_and_runs_one_thread_of_work(block):
    device = host.HostDevice()
    visits = device.run_round([block] * 8, RunSettings(runs=200, warmup_runs=1), 0)
    seen = [run.cpu_per_wall for _, run in itertools.islice(visits, 7)]
    (worker,) = _workers(os.getpid())
    assert device.describe().cores == (device.core,)
    assert os.sched_getaffinity(worker) == {device.core}
    assert statistics.median(seen) < 1.5
    visits.close()
    assert not _alive(worker)


# Models that are not


def test_bad_files_cost_their_own_run_only(block, folder):
    truncated, text = folder / "truncated.tflite", folder / "text.tflite"
    truncated.write_bytes(block.model.read_bytes()[:700])
    text.write_text("not a model")
    missing = folder / "missing.tflite"
    jobs = [Job(path.stem, path) for path in (truncated, text, missing)]
    runs = {job.key: run for job, run in host.HostDevice().run_round([*jobs, block], QUICK, 0)}
    for key in ("truncated", "text", "missing"):
        assert f"the runtime rejects {key}.tflite: " in runs[key].error
        assert "\n" not in runs[key].error
        assert not runs[key].samples_us
    assert len(runs["block"].samples_us) == 3


def test_a_crash_of_the_runtime_is_that_models_error_and_the_round_goes_on(block, crashing):
    first, crash, second = (
        run for _, run in host.HostDevice().run_round([block, crashing, block], QUICK, 0)
    )
    assert "crashing.tflite crashed the runtime (SIGSEGV)" in crash.error
    assert [run.position for run in (first, crash, second)] == [0, 1, 2]
    assert first.samples_us
    assert second.samples_us


@pytest.mark.slow
@needs_proc
def test_a_hang_is_ended_after_the_timeout_and_the_round_goes_on(block, endless):
    settings = RunSettings(runs=3, max_s=0.5, timeout_s=3.0)
    hung, fine = (run for _, run in host.HostDevice().run_round([endless, block], settings, 0))
    assert "within 3 s" in hung.error
    assert "endless.tflite" in hung.error
    assert fine.samples_us
    assert _workers(os.getpid()) == []


# Processes that are killed


@needs_proc
def test_killed_from_outside_is_transient_and_says_so(block):
    visits = host.HostDevice().run_round([block] * 3, QUICK, 0)
    next(visits)
    (worker,) = _workers(os.getpid())
    os.kill(worker, signal.SIGKILL)
    with pytest.raises(TransientDeviceError, match=r"killed \(SIGKILL\) during block"):
        next(visits)
    assert _workers(os.getpid()) == []


def test_a_worker_that_cannot_start_is_a_stable_error(block, monkeypatch):
    monkeypatch.setattr(host.sys, "executable", "/bin/false")
    with pytest.raises(StableDeviceError, match="status 1 before its first job"):
        next(host.HostDevice().run_round([block], QUICK, 0))


def test_no_runtime_is_a_stable_error_with_the_fix(monkeypatch):
    monkeypatch.setattr(worker, "DISTRIBUTIONS", (("no-such-distribution", "nothing"),))
    with pytest.raises(StableDeviceError, match="pip install ai-edge-litert"):
        host.HostDevice().describe()


def test_ai_edge_litert_comes_before_tflite_runtime(monkeypatch):
    installed = {"ai-edge-litert": "2.3.0", "tflite-runtime": "2.14.0"}

    def version(name):
        if name not in installed:
            raise worker.importlib.metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(worker.importlib.metadata, "version", version)
    assert worker.installed_runtime()[:2] == ("ai-edge-litert", "2.3.0")
    del installed["ai-edge-litert"]
    assert worker.installed_runtime()[:2] == ("tflite-runtime", "2.14.0")


_CAMPAIGN = """
    import sys
    from pathlib import Path
    from mnasfpn.android_harness.campaign import campaign
    from mnasfpn.android_harness.device import Job, RunSettings
    from mnasfpn.android_harness.host.host import HostDevice
    from mnasfpn.android_harness.protocol import HOST_PROTOCOL as HOST

    block, endless = map(Path, sys.argv[1:])
    jobs = [Job("block", block)] if endless == block else [Job("endless", endless)]
    settings = RunSettings(runs=3, timeout_s=600)
    for job, run in campaign(HostDevice(), jobs, HOST, 0, settings, sentinel=Job("s", block)):
        print(job.key, len(run.samples_us), flush=True)
"""


@pytest.fixture
def stuck_campaign(block, endless):
    """A campaign in a process of its own, its worker inside a model that never ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_CAMPAIGN), str(block.model), str(endless.model)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "s 3\n"  # yielded before what follows
    (worker,) = _workers(process.pid)
    yield process, worker
    process.kill()
    process.communicate()


@needs_proc
def test_ctrl_c_ends_the_worker_and_keeps_what_was_yielded(stuck_campaign):
    process, worker = stuck_campaign
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "KeyboardInterrupt" in stderr
    _wait_until(lambda: not _alive(worker), "the worker outlived Ctrl-C")


@needs_proc
def test_a_worker_does_not_outlive_a_killed_parent(stuck_campaign):
    process, worker = stuck_campaign
    assert _alive(worker)
    process.kill()
    process.wait()
    _wait_until(lambda: not _alive(worker), "the worker outlived its parent")
