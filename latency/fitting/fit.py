"""Fit a measured profile: regressions on its rows, calibration on some heads, figures on others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from ...errors import NotCovered
from ..estimate.estimate import Estimator, net_us, uncalibrated
from ..kernels.execution import ExecutionPlan, execution_plan
from ..kernels.kernel import Kernel
from ..kernels.runtimes import runtime_named
from ..profile.calibration import HEADS, Calibration, population
from ..profile.device_profile import DeviceProfile, MeasuredHead
from ..profile.table import look_up_table
from ..profile.validation import HeldOutModel
from ..profiling.head_graph import head_graph
from .accuracy import validate
from .calibration_fit import KernelCost, WholeModel, fit_calibration
from .regression import LEAST_KERNELS, KernelRegression


def fit(profile: DeviceProfile) -> DeviceProfile:
    """The profile with regressors, calibration and validation fitted anew from what it measured.

    Validation heads take part in nothing but the validation.

    Raises:
        InvalidInput: too few heads to calibrate or to validate on.
        NotCovered: a head has kernels of a kind that was never measured.
    """
    regressions = fit_regressions(profile)
    regressors = {kind: fitted.regressor for kind, fitted in regressions.items()}
    profile = replace(profile, regressors=regressors, calibration=None, validation=None)
    calibrated = replace(profile, calibration=calibrate(profile, regressions))
    estimator = Estimator(calibrated)
    points = [_point(estimator, head) for head in profile.heads_for("validation")]
    return replace(calibrated, validation=validate(points, profile.campaign.seed))


def fit_regressions(profile: DeviceProfile) -> dict[str, KernelRegression]:
    """One regression for each kind with enough rows."""
    rows: defaultdict[str, list[tuple[Kernel, float]]] = defaultdict(list)
    for kernel, row in look_up_table(profile.table).items():
        rows[kernel.kind].append((kernel, row.latency_us))
    return {
        kind: KernelRegression(profile.campaign.seed).fit(*zip(*measured, strict=True))
        for kind, measured in sorted(rows.items())
        if len(measured) >= LEAST_KERNELS
    }


def measured_cost(profile: DeviceProfile) -> KernelCost:
    """What a profile's table, or else its regressions, say of kernels.

    Raises:
        NotCovered: of a kernel, that neither says anything.
    """
    table = look_up_table(profile.table)

    def cost(kernel: Kernel) -> tuple[float, float]:
        found = uncalibrated(profile, table, kernel)
        if found is None:
            raise NotCovered(f"{kernel.signature!r} was not measured, nor anything of its kind")
        return found[0], found[2]

    return cost


def calibrate(profile: DeviceProfile, regressions: Mapping[str, KernelRegression]) -> Calibration:
    """The calibration on a profile's heads and networks.

    Heads are drawn as a user's are, from a space all of whose kernels stand in the table. A user's
    file has kernels that do not: for its interval, each network is predicted as if none of its
    kernels had been measured.

    Args:
        profile: with these regressions.

    Raises:
        InvalidInput, NotCovered: as :func:`fit`.
    """
    measured = measured_cost(profile)

    def left_out(kernel: Kernel) -> tuple[float, float]:
        fitted = regressions.get(kernel.kind)
        if fitted is None or kernel not in fitted.left_out_us:
            return measured(kernel)
        left_out_us = fitted.left_out_us[kernel]
        return net_us(left_out_us, profile.dispatch_us), fitted.regressor.half_width

    heads = [
        WholeModel(head_plan(profile, head), head.latency_ms, HEADS)
        for head in profile.heads_for("calibration")
    ]
    networks = []
    for network in profile.networks:
        kernels_us = ((kernel.dtype, measured(kernel)[0]) for kernel in network.plan.kernels)
        files = population(kernels_us, in_table=False)
        networks.append(WholeModel(network.plan, network.latency_ms, files, left_out))
    return fit_calibration([*heads, *networks], measured)


def head_plan(profile: DeviceProfile, head: MeasuredHead) -> ExecutionPlan:
    graph = head_graph(head.genotype, head.channels, head.input_size)
    return execution_plan(graph, runtime_named(profile.runtime))


def _point(estimator: Estimator, head: MeasuredHead) -> HeldOutModel:
    found = estimator.estimate(head_graph(head.genotype, head.channels, head.input_size))
    return HeldOutModel(
        name=head.name,
        measured_ms=head.latency_ms,
        predicted_ms=found.latency_ms,
        low_ms=found.low_ms,
        high_ms=found.high_ms,
        repeat_ms=head.repeat_ms,
    )
