"""What a store holds of a plan, as a DeviceProfile that is not fitted yet."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from ...android_harness.measurement import UNREADABLE, Measurement, Run, Status, core_doubts
from ...android_harness.verdict import measurements
from ...errors import JobFailed
from ..kernels.execution import execution_plan
from ..kernels.kernel import Kernel
from ..profile.device_profile import (
    CampaignRecord,
    DeviceProfile,
    MeasuredHead,
    MeasuredNetwork,
    Role,
)
from ..profile.table import MeasuredKernel
from .plan import DISPATCH, REPEAT, ProfilingPlan
from .sampled_heads import DrawnHead
from .sampled_networks import Network
from .session import PACK_SENTINEL_NAME, Session


def measured_profile(session: Session, plan: ProfilingPlan) -> DeviceProfile:
    """The profile of what a store holds for a plan that the session has measured.

    Raises:
        JobFailed: the cheapest kernel has no measurement, without which no other can be read.
        BenchmarkOutputError: an operator profile that cannot be told apart.
    """
    return _Measured(session, plan, _found(session, plan)).profile()


def unpacked_runs(session: Session, plan: ProfilingPlan) -> dict[str, list[Run]]:
    """Runs of packs as runs of their kernels, by signature; the sentinel's as they are.

    Raises:
        BenchmarkOutputError: an operator profile that cannot be told apart.
    """
    runs = session.runs()
    unpacked = defaultdict(list, {PACK_SENTINEL_NAME: [*runs.get(PACK_SENTINEL_NAME, ())]})
    for packed in plan.packs:
        for run in runs.get(packed.name, ()):
            for kernel, its_run in packed.runs(run, session.protocol.statistics[0]).items():
                unpacked[kernel.signature].append(its_run)
    return unpacked


def _found(session: Session, plan: ProfilingPlan) -> dict[str, Measurement]:
    """All that a plan asks for, by name; what packs measured under their kernels' signatures."""
    packed = unpacked_runs(session, plan)
    found = measurements(session.info, packed, session.protocol, PACK_SENTINEL_NAME)
    alone = session.measurements()
    return found | {name: alone[name] for name in plan.graphs if name in alone}


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
        notes=core_doubts(run for runs in session.runs().values() for run in runs),
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
        found: by name, see :func:`_found`.
    """

    session: Session
    plan: ProfilingPlan
    found: Mapping[str, Measurement]

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

    def figures(self, name: str) -> _Figures | None:
        """None where the device gave no number."""
        measured = self.found.get(name)
        if measured is None or measured.centre_us is None or measured.spread is None:
            return None
        reasons = measured.verdict.reasons
        return _Figures(measured.centre_us, measured.spread, measured.count, reasons)

    def record(self) -> CampaignRecord:
        verdicts = [
            self.found[name].verdict.status
            for name in self.plan.measured_names
            if name in self.found
        ]
        record = campaign_record(self.session, verdicts, self.failures())
        if not self.plan.packed:
            return record
        of_kernels = "; of kernels, of the means that the runs' operator profiles give"
        return replace(record, statistic=record.statistic + of_kernels)

    def failures(self) -> dict[str, str]:
        """Why there is no number, for all of the plan that has none."""
        failures = {}
        for name in self.plan.measured_names:
            if name not in self.found:
                failures[name] = "never measured"
            elif self.found[name].verdict.status is Status.FAILED:
                failures[name] = "; ".join(self.found[name].verdict.reasons)
        return failures

    def row(self, kernel: Kernel, figures: _Figures) -> MeasuredKernel:
        return MeasuredKernel(
            kernel.signature,
            figures.centre_us,
            figures.spread,
            figures.count,
            self.session.info.provenance,
            figures.reasons,
        )

    def head(self, head: DrawnHead, role: Role, figures: _Figures) -> MeasuredHead:
        repeat = self.figures(head.name + REPEAT)
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
        )

    def network(self, network: Network, figures: _Figures) -> MeasuredNetwork:
        return MeasuredNetwork.of(
            network.name,
            execution_plan(network.graph, self.plan.runtime),
            latency_ms=figures.centre_us / 1e3,
            spread=figures.spread,
            reasons=figures.reasons,
            count=figures.count,
        )
