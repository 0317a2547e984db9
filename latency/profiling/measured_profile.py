"""What a store holds of a plan, as a DeviceProfile that is not fitted yet."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from ...android_harness.measurement import UNREADABLE, Measurement, Run, Status
from ...android_harness.verdict import measurements
from ...errors import JobFailed
from ..kernels.execution import execution_plan
from ..kernels.features import Matrix
from ..kernels.kernel import Kernel
from ..profile.device_profile import (
    CampaignRecord,
    DeviceProfile,
    MeasuredHead,
    MeasuredNetwork,
    Role,
)
from ..profile.table import MeasuredKernel
from .packing import step_latencies_us
from .plan import BY_OPERATOR, DISPATCH, REPEAT, ProfilingPlan
from .sampled_heads import DrawnHead
from .sampled_networks import Network
from .session import PACK_SENTINEL_KEY, SENTINEL_KEY, Session


def measured_profile(session: Session, plan: ProfilingPlan) -> DeviceProfile:
    """The profile of what a store holds for a plan.

    Raises:
        JobFailed: the cheapest kernel has no measurement, without which no other can be read.
        BenchmarkOutputError: an operator profile that cannot be told apart.
    """
    return _Measured(session, plan, _found(session, plan), operator_shares(session, plan)).profile()


def unpacked_runs(session: Session, plan: ProfilingPlan) -> dict[str, list[Run]]:
    """Runs of packs as runs of their kernels, by signature; the sentinel's as they are.

    Raises:
        BenchmarkOutputError: an operator profile that cannot be told apart.
    """
    runs = session.runs()
    unpacked = defaultdict(list, {PACK_SENTINEL_KEY: [*runs.get(PACK_SENTINEL_KEY, ())]})
    for packed in plan.packs:
        for run in runs.get(packed.key, ()):
            for kernel, its_run in packed.runs(run, session.protocol.statistics[0]).items():
                unpacked[kernel.signature].append(its_run)
    return unpacked


def operator_shares(session: Session, plan: ProfilingPlan) -> dict[str, Matrix]:
    """Shares of the steps of each head that was measured by operator, in execution order.

    Medians over the runs, of shares: a PC's clock is another in each run.

    Raises:
        BenchmarkOutputError: an operator profile that cannot be told apart.
    """
    runs, shares = session.runs(), {}
    for key, graph in plan.heads_by_operator.items():
        executed = execution_plan(graph, plan.runtime)
        found = [
            np.asarray(step_latencies_us(executed, run.op_profile))
            for run in runs.get(key, ())
            if not run.error
        ]
        if found:
            shares[key] = np.median([us / us.sum() for us in found], axis=0)
    return shares


def _found(session: Session, plan: ProfilingPlan) -> dict[str, Measurement]:
    """All that a plan asks for, by key; what packs measured under their kernels' signatures."""
    runs = session.runs()
    profiled = unpacked_runs(session, plan)
    profiled |= {key: [*runs.pop(key)] for key in plan.heads_by_operator if key in runs}
    runs.pop(PACK_SENTINEL_KEY, ())
    found = measurements(session.info, runs, session.protocol, SENTINEL_KEY)
    return found | measurements(session.info, profiled, session.protocol, PACK_SENTINEL_KEY)


def campaign_record(
    session: Session, verdicts: Sequence[Status], failed: Mapping[str, str]
) -> CampaignRecord:
    """How a session's numbers came about.

    Args:
        verdicts: of all that was measured.
        failed: what has no number -> why.
    """
    protocol = session.protocol
    used = [status for status in verdicts if status is not Status.FAILED]
    return CampaignRecord(
        protocol=protocol.name,
        statistic=f"{protocol.quantile:g} quantile of the undisturbed runs' "
        f"{' or '.join(protocol.statistics)}",
        seed=session.seed,
        settings={key: value for key, value in asdict(protocol).items() if key != "name"},
        unstable=used.count(Status.UNSTABLE) / len(used),
        failed=dict(failed),
    )


@dataclass(frozen=True, slots=True)
class _Figures:
    """A measurement that did not fail."""

    centre_us: float
    spread: float
    count: int
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class _Measured:
    """What was measured of a plan.

    Args:
        found: by key, see :func:`_found`.
        shares: see :func:`operator_shares`.
    """

    session: Session
    plan: ProfilingPlan
    found: Mapping[str, Measurement]
    shares: Mapping[str, Matrix]

    def profile(self) -> DeviceProfile:
        info, plan = self.session.info, self.plan
        dispatch = self.figures(DISPATCH.signature)
        if dispatch is None:
            raise JobFailed(
                f"{DISPATCH.signature!r} could not be measured on {info.serial!r}, so the device "
                "runs no model at all; see the runs' errors in the store"
            )
        return DeviceProfile(
            name=f"{info.soc if info.model == UNREADABLE else info.model} ({info.serial})",
            provenance=info.provenance,
            device=info,
            runtime=plan.runtime.name,
            campaign=self.record(),
            # An operator profile is of the kernels alone; there is no call to take off.
            dispatch_us=0.0 if plan.packed else dispatch.centre_us,
            table=tuple(
                self.row(kernel, figures)
                for kernel in plan.kernels
                if (figures := self.figures(kernel.signature))
            ),
            heads=tuple(
                self.head(head, role, figures)
                for role, heads in plan.heads.items()
                for head in heads
                if (figures := self.figures(head.name))
            ),
            networks=tuple(
                self.network(network, figures)
                for network in plan.random_networks
                if (figures := self.figures(network.name))
            ),
        )

    def figures(self, key: str) -> _Figures | None:
        """None where the device gave no number."""
        measured = self.found.get(key)
        if measured is None or measured.centre_us is None or measured.spread is None:
            return None
        reasons = measured.verdict.reasons
        return _Figures(measured.centre_us, measured.spread, measured.count, reasons)

    def record(self) -> CampaignRecord:
        verdicts = [
            self.found[key].verdict.status for key in self.plan.measured_keys if key in self.found
        ]
        record = campaign_record(self.session, verdicts, self.failures())
        if not self.plan.packed:
            return record
        of_kernels = "; of kernels, of the means that the runs' operator profiles give"
        return replace(record, statistic=record.statistic + of_kernels)

    def failures(self) -> dict[str, str]:
        """Why there is no number, for all of the plan that has none."""
        failures = {}
        for key in self.plan.measured_keys:
            if key not in self.found:
                failures[key] = "never measured"
            elif self.found[key].verdict.status is Status.FAILED:
                failures[key] = "; ".join(self.found[key].verdict.reasons)
        return failures

    def row(self, kernel: Kernel, figures: _Figures) -> MeasuredKernel:
        return MeasuredKernel(
            kernel.signature,
            figures.centre_us,
            figures.spread,
            figures.count,
            self.session.info.provenance,
        )

    def head(self, head: DrawnHead, role: Role, figures: _Figures) -> MeasuredHead:
        repeat = self.figures(head.name + REPEAT)
        shares = self.shares.get(head.name + BY_OPERATOR)
        return MeasuredHead(
            name=head.name,
            role=role,
            genotype=head.genotype,
            channels=self.plan.channels,
            input_size=self.plan.input_size,
            latency_ms=figures.centre_us / 1e3,
            spread=figures.spread,
            repeat_ms=repeat.centre_us / 1e3 if repeat else None,
            reasons=figures.reasons,
            steps_us=() if shares is None else tuple((shares * figures.centre_us).tolist()),
        )

    def network(self, network: Network, figures: _Figures) -> MeasuredNetwork:
        executed = execution_plan(network.graph, self.plan.runtime)
        delegated = executed.delegate_partitions
        crossing = sum(partition.bytes_in + partition.bytes_out for partition in delegated)
        return MeasuredNetwork(
            name=network.name,
            kernels=tuple(kernel.signature for kernel in executed.kernels),
            crossing_bytes=crossing if delegated else None,
            partitions=max(len(delegated), 1),
            latency_ms=figures.centre_us / 1e3,
            spread=figures.spread,
            reasons=figures.reasons,
        )
