"""Profile a device: measure every kernel a space needs and whole random heads, resumably."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np

from ...android_harness.campaign import campaign
from ...android_harness.device import Device, Job, RunSettings
from ...android_harness.measurement import UNREADABLE, DeviceInfo, Measurement, Run, Status
from ...android_harness.protocol import MeasuringProtocol, protocol_for
from ...android_harness.verdict import measurements
from ...errors import JobFailed
from ...models.graph.graph import Graph
from ...models.tflite.writer import write_tflite
from ..kernels.execution import execution_plan
from ..kernels.features import Matrix
from ..kernels.kernel import Kernel, kernel_graph
from ..kernels.runtimes import XNNPACK, Runtime
from ..profile.device_profile import (
    CampaignRecord,
    DeviceProfile,
    MeasuredHead,
    MeasuredNetwork,
    Role,
)
from ..profile.table import MeasuredKernel
from .heads import DrawnHead
from .packing import step_latencies_us
from .plan import (
    BY_OPERATOR,
    DISPATCH,
    PACK_SENTINEL_KEY,
    REPEAT,
    SENTINEL,
    SENTINEL_KEY,
    ProfilingPlan,
)
from .sampled_networks import Network
from .store import MeasurementStore

Progress = Callable[[int, int, str], None]  # (visits done, visits at least needed, key)


def profile_device(
    device: Device,
    plan: ProfilingPlan,
    store: MeasurementStore,
    protocol: MeasuringProtocol | None = None,
    progress: Progress | None = None,
) -> DeviceProfile:
    """Measure what the store does not have yet, and make a profile of it; fit it afterwards.

    Every run is in the store before the next begins: interrupted, the same call goes on where it
    stopped, and measures nothing twice.

    Args:
        protocol: by default the one for this kind of device.
        progress: called after every visit.

    Raises:
        DeviceError: the device cannot go on; what was measured is kept.
        BenchmarkOutputError: an operator profile was asked for and does not tell which kernel is
            which.
        JobFailed: the store cannot be written, or the device runs no model at all.
    """
    info = store_key(device.describe(), plan.runtime)
    protocol = protocol or protocol_for(info)
    settings = protocol.run_settings(xnnpack=plan.runtime is XNNPACK)
    measure = partial(_measure, device, info, plan.seed, store, protocol, progress)
    packs = {packed.key: packed.graph for packed in plan.packs()}
    if profiled := packs | plan.heads_by_operator():
        measure(profiled, PACK_SENTINEL_KEY, replace(settings, op_profile=True))
        # An operator profile that cannot be read ends here, not after all the heads.
        _unpacked(store.runs(info), plan, protocol)
        _steps(store.runs(info), plan)
    measure(plan.graphs(), SENTINEL_KEY, settings)
    return measured_profile(info, plan, store, protocol)


def quick(protocol: MeasuringProtocol) -> MeasuringProtocol:
    """The same protocol in less than half the time, for a first profile.

    On a PC, 4 rounds of 3 repeats gave heads an error of 3.2 % (RMSPE) where 5 rounds of 5 gave
    2.8 % and a second measurement 2.1 %.
    """
    return replace(
        protocol,
        name=f"{protocol.name}-quick",
        rounds=min(protocol.rounds, 4),
        extra_rounds=min(protocol.extra_rounds, 1),
        warmup_runs=min(protocol.warmup_runs, 1),
        runs=min(protocol.runs, 3),
    )


def store_key(info: DeviceInfo, runtime: Runtime) -> DeviceInfo:
    """The device as the store knows it: with and without a delegate are two."""
    return replace(info, runtime=f"{info.runtime} {runtime.name}")


def _write_models(graphs: Mapping[str, Graph], folder: Path, valid: Container[str]) -> list[Job]:
    """A job for each key, with its file unless it is VALID already: then nobody visits it."""
    paths: dict[int, Path] = {}  # a graph that is measured twice is written once
    jobs = []
    for key, graph in graphs.items():
        if key in valid:
            jobs.append(Job(key, folder / "never-visited"))
        elif id(graph) in paths:
            jobs.append(Job(key, paths[id(graph)]))
        else:
            paths[id(graph)] = folder / f"{len(paths)}.tflite"
            jobs.append(_write_model(key, graph, paths[id(graph)]))
    return jobs


def _write_model(key: str, graph: Graph, path: Path) -> Job:
    try:
        path.write_bytes(write_tflite(graph))
    except OSError as error:
        raise JobFailed(
            f"could not write a model to be measured into {path.parent}: {error.strerror}; free "
            "some space there or set TMPDIR to another folder; what was measured is kept"
        ) from error
    return Job(key, path)


def _measure(
    device: Device,
    info: DeviceInfo,
    seed: int,
    store: MeasurementStore,
    protocol: MeasuringProtocol,
    progress: Progress | None,
    graphs: Mapping[str, Graph],
    sentinel_key: str,
    settings: RunSettings,
) -> None:
    valid = {
        key
        for key, found in measurements(info, store.runs(info), protocol, sentinel_key).items()
        if found.verdict.status is Status.VALID
    }
    with tempfile.TemporaryDirectory(prefix="mnasfpn-") as folder:
        jobs = _write_models(graphs, Path(folder), valid)
        measure_jobs(device, info, jobs, sentinel_key, settings, seed, store, protocol, progress)


def measure_jobs(
    device: Device,
    info: DeviceInfo,
    jobs: Sequence[Job],
    sentinel_key: str,
    settings: RunSettings,
    seed: int,
    store: MeasurementStore,
    protocol: MeasuringProtocol,
    progress: Progress | None = None,
) -> None:
    """Visit what is not VALID in the store yet; every run is in it before the next begins.

    Args:
        info: the device as the store knows it.
        sentinel_key: of the sentinel's runs; jobs measured with other settings have another one.
    """
    already = store.runs(info)
    visits = {job.key: len(already.get(job.key, ())) for job in jobs}
    with tempfile.TemporaryDirectory(prefix="mnasfpn-") as folder:
        sentinel = _write_model(sentinel_key, kernel_graph(SENTINEL), Path(folder) / "s.tflite")
        for job, run in campaign(
            device, jobs, protocol, seed, settings, sentinel=sentinel, already=already
        ):
            store.append(info, job.key, run)
            if progress and job is not sentinel:
                visits[job.key] += 1
                done = sum(min(n, protocol.rounds) for n in visits.values())
                progress(done, len(jobs) * protocol.rounds, job.key)


def _unpacked(
    runs: Mapping[str, Sequence[Run]], plan: ProfilingPlan, protocol: MeasuringProtocol
) -> dict[str, list[Run]]:
    """Runs of packs as runs of their kernels, by signature; the sentinel's as they are.

    Raises:
        BenchmarkOutputError: an operator profile that cannot be told apart.
    """
    unpacked = defaultdict(list, {PACK_SENTINEL_KEY: [*runs.get(PACK_SENTINEL_KEY, ())]})
    for packed in plan.packs():
        for run in runs.get(packed.key, ()):
            for kernel, its_run in packed.runs(run, protocol.statistics[0], plan.runtime).items():
                unpacked[kernel.signature].append(its_run)
    return unpacked


def _steps(runs: Mapping[str, Sequence[Run]], plan: ProfilingPlan) -> dict[str, Matrix]:
    """Shares of the steps of each head that was measured by operator, in execution order.

    Medians over the runs, of shares: a PC's clock is another in each run.

    Raises:
        BenchmarkOutputError: an operator profile that cannot be told apart.
    """
    shares = {}
    for key, graph in plan.heads_by_operator().items():
        executed = execution_plan(graph, plan.runtime)
        found = [
            np.asarray(step_latencies_us(executed, run.op_profile))
            for run in runs.get(key, ())
            if not run.error
        ]
        if found:
            shares[key] = np.median([us / us.sum() for us in found], axis=0)
    return shares


def _measured(
    info: DeviceInfo, plan: ProfilingPlan, store: MeasurementStore, protocol: MeasuringProtocol
) -> dict[str, Measurement]:
    """All that a plan asks for, by key; what packs measured under their kernels' signatures."""
    runs = store.runs(info)
    profiled = _unpacked(runs, plan, protocol)
    profiled |= {key: [*runs.pop(key)] for key in plan.heads_by_operator() if key in runs}
    runs.pop(PACK_SENTINEL_KEY, ())
    found = measurements(info, runs, protocol, SENTINEL_KEY)
    return found | measurements(info, profiled, protocol, PACK_SENTINEL_KEY)


def measured_profile(
    info: DeviceInfo, plan: ProfilingPlan, store: MeasurementStore, protocol: MeasuringProtocol
) -> DeviceProfile:
    """The profile of what a store holds for a plan, not fitted yet.

    Raises:
        JobFailed: the cheapest kernel has no measurement, without which no other can be read.
    """
    found = _measured(info, plan, store, protocol)
    steps = _steps(store.runs(info), plan)
    dispatch = found.get(DISPATCH.signature)
    if dispatch is None or dispatch.centre_us is None:
        raise JobFailed(
            f"{DISPATCH.signature!r} could not be measured on {info.serial!r}, so the device runs "
            "no model at all; see the runs' errors in the store"
        )
    rows = [_row(kernel, found, info) for kernel in plan.kernels()]
    heads = [
        _head(head, role, found, plan, steps.get(head.name + BY_OPERATOR))
        for role, heads in plan.heads().items()
        for head in heads
    ]
    networks = [_network(network, found, plan) for network in plan.random_networks()]
    verdicts = [found[key].verdict.status for key in plan.measured_keys() if key in found]
    used = [status for status in verdicts if status is not Status.FAILED]
    return DeviceProfile(
        name=f"{info.soc if info.model == UNREADABLE else info.model} ({info.serial})",
        provenance=info.provenance,
        device=info,
        runtime=plan.runtime.name,
        campaign=CampaignRecord(
            protocol=protocol.name,
            statistic=_statistic(plan, protocol),
            seed=plan.seed,
            settings={key: value for key, value in asdict(protocol).items() if key != "name"},
            unstable=used.count(Status.UNSTABLE) / len(used),
            failed=_failures(plan, found),
        ),
        # An operator profile is of the kernels alone; there is no call to take off.
        dispatch_us=0.0 if plan.packed else dispatch.centre_us,
        table=tuple(row for row in rows if row is not None),
        heads=tuple(head for head in heads if head is not None),
        networks=tuple(network for network in networks if network is not None),
    )


def _failures(plan: ProfilingPlan, found: Mapping[str, Measurement]) -> dict[str, str]:
    """Why there is no number, for all of a plan that has none."""
    failures = {}
    for key in plan.measured_keys():
        if key not in found:
            failures[key] = "never measured"
        elif found[key].verdict.status is Status.FAILED:
            failures[key] = "; ".join(found[key].verdict.reasons)
    return failures


def _statistic(plan: ProfilingPlan, protocol: MeasuringProtocol) -> str:
    text = (
        f"{protocol.quantile:g} quantile of the undisturbed runs' "
        f"{' or '.join(protocol.statistics)}"
    )
    if plan.packed:
        text += "; of kernels, of the means that the runs' operator profiles give"
    return text


def _row(
    kernel: Kernel, found: Mapping[str, Measurement], info: DeviceInfo
) -> MeasuredKernel | None:
    measured = found.get(kernel.signature)
    if measured is None or measured.centre_us is None or measured.spread is None:
        return None
    return MeasuredKernel(
        kernel.signature, measured.centre_us, measured.spread, measured.count, info.provenance
    )


def _head(
    head: DrawnHead,
    role: Role,
    found: Mapping[str, Measurement],
    plan: ProfilingPlan,
    shares: Matrix | None,
) -> MeasuredHead | None:
    measured, repeat = found.get(head.name), found.get(head.name + REPEAT)
    if measured is None or measured.centre_us is None or measured.spread is None:
        return None
    repeat_us = repeat.centre_us if repeat else None
    return MeasuredHead(
        name=head.name,
        role=role,
        genotype=head.genotype,
        channels=plan.channels,
        input_size=plan.input_size,
        latency_ms=measured.centre_us / 1e3,
        spread=measured.spread,
        repeat_ms=None if repeat_us is None else repeat_us / 1e3,
        reasons=measured.verdict.reasons,
        steps_us=() if shares is None else tuple((shares * measured.centre_us).tolist()),
    )


def _network(
    network: Network, found: Mapping[str, Measurement], plan: ProfilingPlan
) -> MeasuredNetwork | None:
    measured = found.get(network.name)
    if measured is None or measured.centre_us is None or measured.spread is None:
        return None
    executed = execution_plan(network.graph, plan.runtime)
    delegated = executed.delegate_partitions
    crossing = sum(partition.bytes_in + partition.bytes_out for partition in delegated)
    return MeasuredNetwork(
        name=network.name,
        kernels=tuple(kernel.signature for kernel in executed.kernels),
        crossing_bytes=crossing if delegated else None,
        partitions=max(len(delegated), 1),
        latency_ms=measured.centre_us / 1e3,
        spread=measured.spread,
        reasons=measured.verdict.reasons,
    )
