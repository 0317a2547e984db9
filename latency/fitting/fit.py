"""Fit a measured profile: regressions on its rows, calibration on some heads, figures on others."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

from ...errors import NotCovered
from ..estimate.estimate import Estimator, uncalibrated
from ..kernels.execution import ExecutionPlan, execution_plan
from ..kernels.kernel import Kernel
from ..kernels.runtimes import runtime_named
from ..profile.device_profile import DeviceProfile, MeasuredHead
from ..profile.regressor import Regressor
from ..profile.table import look_up_table
from ..profile.validation import HeldOutModel
from ..profiling.head_graph import head_graph
from .accuracy import validate
from .calibration_fit import fit_calibration
from .regression import LEAST_KERNELS, KernelRegression


def fit(profile: DeviceProfile) -> DeviceProfile:
    """The profile with regressors, calibration and validation fitted anew from what it measured.

    Validation heads take part in nothing but the validation.

    Raises:
        InvalidInput: too few heads to calibrate or to validate on.
        NotCovered: a head has kernels of a kind that was never measured.
    """
    profile = replace(
        profile, regressors=fit_regressors(profile), calibration=None, validation=None
    )
    table = look_up_table(profile.table)

    def net_us(kernel: Kernel) -> float:
        found = uncalibrated(profile, table, kernel)
        if found is None:
            raise NotCovered(f"{kernel.signature!r} was not measured, nor anything of its kind")
        return found[0]

    heads = profile.heads_for("calibration")
    networks = profile.networks
    calibration = fit_calibration(
        [*(_plan(profile, head) for head in heads), *(network.plan for network in networks)],
        [*(head.latency_ms for head in heads), *(network.latency_ms for network in networks)],
        net_us,
        [*(head.steps_us for head in heads), *(() for _ in networks)],
    )
    calibrated = replace(profile, calibration=calibration)
    estimator = Estimator(calibrated)
    points = [_point(estimator, head) for head in profile.heads_for("validation")]
    return replace(calibrated, validation=validate(points, profile.campaign.seed))


def fit_regressors(profile: DeviceProfile) -> dict[str, Regressor]:
    """One regression for each kind with enough rows."""
    rows: defaultdict[str, list[tuple[Kernel, float]]] = defaultdict(list)
    for kernel, row in look_up_table(profile.table).items():
        rows[kernel.kind].append((kernel, row.latency_us))
    regressors = {}
    for kind, measured in sorted(rows.items()):
        if len(measured) < LEAST_KERNELS:
            continue
        kernels, latencies_us = zip(*measured, strict=True)
        fitted = KernelRegression(profile.campaign.seed).fit(kernels, latencies_us)
        assert fitted.regressor is not None
        regressors[kind] = fitted.regressor
    return regressors


def _plan(profile: DeviceProfile, head: MeasuredHead) -> ExecutionPlan:
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
