"""Latency of a Graph from a DeviceProfile: offline, with numpy and numbers alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from ...errors import NotCovered
from ...models.graph.graph import Graph
from ..kernels.execution import ExecutionPlan, execution_plan
from ..kernels.kernel import Kernel
from ..kernels.runtimes import runtime_named
from ..profile.calibration import population
from ..profile.device_profile import DeviceProfile
from ..profile.table import MeasuredKernel, look_up_table
from .bounds import Bound, SpeedLimits, speed_limits

Source = Literal["table", "regression", "extrapolation", "bound"]

LEAST_NET_SHARE = 0.05  # of a row, left after the interpreter's call is taken off
EXTRAPOLATION_PENALTY = 2.0  # on a regression's half width outside what was measured


@dataclass(frozen=True, slots=True)
class KernelLatency:
    """What the profile says of one kernel.

    Args:
        net_us: measured or predicted alone, without the call of the interpreter.
        warm_us: what it adds to any model: the same, calibrated.
        cold_us: what it adds to a model of which nothing is left in the caches, besides.
        half_width: of the 90 % interval of a regression, as a ratio; 0 for a table row.
        bound: where ``source`` is ``bound``: the kernel is not known, and its latency somewhere in
            between; ``warm_us`` is the geometric mean.
    """

    net_us: float
    warm_us: float
    cold_us: float
    source: Source
    half_width: float
    bound: Bound | None = None


@dataclass(frozen=True, slots=True)
class Contribution:
    """One kernel's part of an estimate.

    Args:
        layers: of the graph, that this kernel computes.
        kernel: signature.
        partition: index in the execution plan.
        low_ms, high_ms: bounds of a kernel the profile knows nothing about; ``latency_ms`` is
            their geometric mean. Of other kernels, ``latency_ms``.
        madds: multiply-adds.
    """

    layers: tuple[str, ...]
    kernel: str
    partition: int
    delegated: bool
    latency_ms: float
    source: Source
    low_ms: float
    high_ms: float
    madds: int

    @property
    def part(self) -> str:
        """``backbone``, ``head`` or ``predictor`` in a detector."""
        return self.layers[-1].split("/", 1)[0]


@dataclass(frozen=True, slots=True)
class LatencyEstimate:
    """Latency of one model on one device.

    Args:
        low_ms, high_ms: hold a measurement with probability ``coverage``, for models drawn like
            those of ``interval_from``; wider by the bounds of kernels that are not covered.
        interval_from: what the interval stands on: residuals of which population, and how many.
        overhead_ms: intercept, delegate partitions and what crosses them, and weights that are in
            no cache.
        contributions: of every kernel, in execution order; with the overhead they add up to
            ``latency_ms``.
        uncovered: signatures of kernels the profile knows nothing about, each once; their bounds
            are in the interval and in ``contributions``.
        rows: of the table, that kernels of the model were looked up in.
        unstable_rows: how many of these are UNSTABLE; None where the profile does not say it.
        accuracy: one line about the profile: its validation, and how much of it is UNSTABLE.
        provenance: of the profile: measured, published or simulated.
    """

    latency_ms: float
    low_ms: float
    high_ms: float
    coverage: float
    interval_from: str
    overhead_ms: float
    contributions: tuple[Contribution, ...]
    uncovered: tuple[str, ...]
    rows: int
    unstable_rows: int | None
    accuracy: str
    provenance: str

    @property
    def by_part_ms(self) -> dict[str, float]:
        """Backbone, head and predictor, and the overhead: adds up to ``latency_ms``."""
        parts: dict[str, float] = {}
        for contribution in self.contributions:
            parts[contribution.part] = parts.get(contribution.part, 0) + contribution.latency_ms
        return {**parts, "overhead": self.overhead_ms}

    @property
    def by_source_ms(self) -> dict[Source, float]:
        """How much of the kernels' sum was measured, and how much predicted."""
        sources: dict[Source, float] = {}
        for contribution in self.contributions:
            share = sources.get(contribution.source, 0) + contribution.latency_ms
            sources[contribution.source] = share
        return sources

    @property
    def stands_on(self) -> str:
        """:attr:`rows` and :attr:`unstable_rows` for people."""
        unstable = "" if self.unstable_rows is None else f", {self.unstable_rows} of them UNSTABLE"
        return f"{self.rows} rows of the table{unstable}"

    @property
    def covered_layers(self) -> float:
        """Share of the executed layers whose kernels the profile knows something about."""
        return self._covered(lambda contribution: len(contribution.layers))

    @property
    def covered_madds(self) -> float:
        """The same of the multiply-adds; 1 where there are none."""
        return self._covered(lambda contribution: contribution.madds)

    def _covered(self, amount: Callable[[Contribution], int]) -> float:
        total = sum(map(amount, self.contributions))
        known = sum(amount(item) for item in self.contributions if item.source != "bound")
        return known / total if total else 1.0


class Estimator:
    """A profile made ready to estimate many models; kernels are looked up once.

    Raises:
        NotCovered: the profile has not been fitted.
    """

    def __init__(self, profile: DeviceProfile) -> None:
        self.profile = profile
        self.calibration = profile.require_calibration()
        self.runtime = runtime_named(profile.runtime)
        self._table = look_up_table(profile.table)
        self._known: dict[Kernel, KernelLatency] = {}
        self._rates: dict[str, SpeedLimits] = {}

    def _rates_of(self, dtype: str) -> SpeedLimits:
        if dtype not in self._rates:
            self._rates[dtype] = speed_limits(self.profile, dtype)
        return self._rates[dtype]

    def kernel(self, kernel: Kernel) -> KernelLatency:
        """What the profile says of a kernel, or between what it must lie if it says nothing."""
        if kernel not in self._known:
            self._known[kernel] = self._find(kernel)
        return self._known[kernel]

    def _find(self, kernel: Kernel) -> KernelLatency:
        found = uncalibrated(self.profile, self._table, kernel)
        if found is None:
            bound = self._rates_of(kernel.dtype).bound(kernel)
            return KernelLatency(bound.middle_us, bound.middle_us, 0.0, "bound", 0.0, bound)
        alone_us, source, half_width = found
        in_model_us = self.calibration.kernel_us(kernel, alone_us)
        return KernelLatency(alone_us, *in_model_us, source, half_width)

    def estimate(self, graph: Graph, allow_gaps: bool = False) -> LatencyEstimate:
        """Latency of a graph; layers that reach no output cost nothing.

        Args:
            allow_gaps: name and bound what the profile knows nothing about instead of raising.

        Raises:
            NotCovered: a kernel has no row and its kind no regression.
        """
        plan = execution_plan(graph, self.runtime)
        contributions, errors_us = self._contributions(plan)
        unknown = [item for item in contributions if item.source == "bound"]
        uncovered = tuple(dict.fromkeys(item.kernel for item in unknown))
        if uncovered and not allow_gaps:
            raise NotCovered(
                f"profile {self.profile.name!r} knows nothing about {len(uncovered)} kernels of "
                f"this model, first {uncovered[0]!r}; measure them, or allow gaps to have them "
                "named and bounded"
            )
        overhead_ms = self.calibration.overhead_us(plan) / 1e3
        latency_ms = overhead_ms + sum(item.latency_ms for item in contributions)
        known_ms = latency_ms - sum(item.latency_ms for item in unknown)
        # A regression may err alike on all its kernels.
        regression_error = sum(errors_us) / 1e3 / known_ms if known_ms > 0 else 0.0
        interval, basis = self.calibration.interval(_population(plan, contributions))
        low, high = interval.ratios(regression_error)
        kernels = dict.fromkeys(plan.kernels)
        reasons = [self._table[kernel].reasons for kernel in kernels if kernel in self._table]
        return LatencyEstimate(
            latency_ms=latency_ms,
            low_ms=low * known_ms + sum(item.low_ms for item in unknown),
            high_ms=high * known_ms + sum(item.high_ms for item in unknown),
            coverage=interval.coverage,
            interval_from=basis,
            overhead_ms=overhead_ms,
            contributions=tuple(contributions),
            uncovered=uncovered,
            rows=len(reasons),
            unstable_rows=None if None in reasons else sum(map(bool, reasons)),
            accuracy=self.profile.summary,
            provenance=self.profile.provenance,
        )

    def cold_share(self, plan: ExecutionPlan) -> float:
        """How much of what a model's kernels keep in the caches alone is gone in the model."""
        found = [self.kernel(kernel) for kernel in plan.kernels]
        warm_us = self.calibration.overhead_us(plan) + sum(each.warm_us for each in found)
        cold_us = sum(each.cold_us for each in found)
        return self.calibration.cold_share(warm_us, cold_us)

    def _contributions(self, plan: ExecutionPlan) -> tuple[list[Contribution], Sequence[float]]:
        """Contributions, and microseconds of expected error."""
        contributions, errors_us = [], []
        cold_share = self.cold_share(plan)
        for index, partition in enumerate(plan.partitions):
            for step in partition.steps:
                found = self.kernel(step.kernel)
                latency_us = found.warm_us + cold_share * found.cold_us
                contributions.append(
                    Contribution(
                        layers=step.layers,
                        kernel=step.kernel.signature,
                        partition=index,
                        delegated=partition.delegated,
                        latency_ms=latency_us / 1e3,
                        source=found.source,
                        low_ms=(found.bound.low_us if found.bound else latency_us) / 1e3,
                        high_ms=(found.bound.high_us if found.bound else latency_us) / 1e3,
                        madds=step.kernel.madds,
                    )
                )
                errors_us.append(latency_us * found.half_width)
        return contributions, errors_us


def _population(plan: ExecutionPlan, contributions: Sequence[Contribution]) -> str:
    in_table = all(item.source == "table" for item in contributions)
    parts = zip(plan.kernels, contributions, strict=True)
    return population(((kernel.dtype, item.latency_ms) for kernel, item in parts), in_table)


def uncalibrated(
    profile: DeviceProfile, table: dict[Kernel, MeasuredKernel], kernel: Kernel
) -> tuple[float, Source, float] | None:
    """(net microseconds, source, half width) of a kernel measured alone; None if unknown."""
    row = table.get(kernel)
    if row is not None:
        return net_us(row.latency_us, profile.dispatch_us), "table", 0.0
    regressor = profile.regressors.get(kernel.kind)
    if regressor is None:
        return None
    predicted_us = net_us(float(regressor.predict((kernel,))[0]), profile.dispatch_us)
    if regressor.extrapolates(kernel):
        return predicted_us, "extrapolation", EXTRAPOLATION_PENALTY * regressor.half_width
    return predicted_us, "regression", regressor.half_width


def net_us(latency_us: float, dispatch_us: float) -> float:
    """Of a kernel measured alone, without the call of the interpreter."""
    return max(latency_us - dispatch_us, LEAST_NET_SHARE * latency_us)


def estimate(graph: Graph, profile: DeviceProfile, allow_gaps: bool = False) -> LatencyEstimate:
    """Latency of one graph; see :meth:`Estimator.estimate`."""
    return Estimator(profile).estimate(graph, allow_gaps)
