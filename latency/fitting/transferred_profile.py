"""A new phone's profile: the old one's table and regressions, with what differs between the two."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from ...android_harness.measurement import DeviceInfo, Provenance
from ...errors import InvalidInput, NotCovered
from ..estimate.estimate import Estimator
from ..kernels.cache_traffic import cold_megabytes, family, kind_of
from ..kernels.execution import ExecutionPlan
from ..kernels.features import Matrix
from ..kernels.kernel import kind_dtype
from ..profile.calibration import SHARED, Calibration, FamilyCalibration
from ..profile.device_profile import CampaignRecord, DeviceProfile
from ..profile.table import look_up_table
from ..profile.validation import HeldOutModel
from .accuracy import LEAST_TO_VALIDATE, validate
from .intervals import conformal_half_width, coverage_from
from .transfer import Parts, Transfer, fit_transfer, transfers_left_out

LEFT_OUT = "models, each predicted from the others"  # what a transferred profile is validated on


@dataclass(frozen=True, slots=True)
class TransferredModel:
    """A model that was measured on the new phone.

    Args:
        new_ms: its latency there.
        old_ms: measured on the old phone; None where only an estimate is known.
    """

    name: str
    plan: ExecutionPlan
    new_ms: float
    old_ms: float | None = None


def plan_parts(estimator: Estimator, plan: ExecutionPlan) -> dict[str, float]:
    """Microseconds of a model on the old phone: of each family of kernels, and beside them.

    What a family costs alone, and each price per megabyte that it has in a model, are parts of
    their own. Together they are the estimate.

    Raises:
        NotCovered: the old phone's profile knows nothing about a kernel.
    """
    calibration = estimator.calibration
    parts: dict[str, float] = {}

    def add(name: str, value_us: float) -> None:
        if value_us > 0:
            parts[name] = parts.get(name, 0.0) + value_us

    # Without settling, all that is cold is paid.
    cold_share = estimator.cold_share(plan) if calibration.settling_ms else 1.0
    for kernel in plan.kernels:
        found = estimator.kernel(kernel)
        if found.source == "bound":
            raise NotCovered(
                f"profile {estimator.profile.name!r} knows nothing about {kernel.signature!r}, so "
                "there is nothing to transfer; choose other models to measure"
            )
        name = family(kernel)
        its = calibration.family(name)
        add(name, its.factor * found.net_us)
        for price, megabytes in zip(_PRICES, cold_megabytes(kernel), strict=True):
            add(_part(name, price), cold_share * getattr(its, price) * megabytes)
    partitions = plan.delegate_partitions
    add("intercept_us", calibration.intercept_us)
    add("partition_us", calibration.partition_us * len(partitions))
    entering = calibration.overhead_us(plan) - calibration.intercept_us
    add("crossing_us_per_mb", entering - calibration.partition_us * len(partitions))
    return parts


_FACTOR, *_PRICES = (each.name for each in fields(FamilyCalibration))


def _part(name: str, field: str) -> str:
    return name if field == _FACTOR else f"{name} {field}"


def transferred_profile(
    old: DeviceProfile,
    device: DeviceInfo,
    campaign: CampaignRecord,
    measured: Sequence[TransferredModel],
) -> DeviceProfile:
    """The profile of a new phone.

    Families that no measured model has, kinds that only have rows, and the bounds of unknown
    kernels have the common factor.

    Args:
        old: profile of the old phone, fitted.
        device, campaign: the new phone, and how ``measured`` was measured there.

    Returns:
        Validated on the same models, each as predicted from the others.

    Raises:
        InvalidInput: fewer than five models.
        NotCovered: the old profile does not cover a model.
    """
    if len(measured) < LEAST_TO_VALIDATE:
        raise InvalidInput(
            f"a transfer needs {LEAST_TO_VALIDATE} measured models or more, got {len(measured)}: "
            "fewer say nothing about the error; measure more"
        )
    estimator = Estimator(old)
    parts = [plan_parts(estimator, model.plan) for model in measured]
    estimates_us = [sum(model.values()) for model in parts]
    old_us = [
        estimate if model.old_ms is None else 1e3 * model.old_ms
        for model, estimate in zip(measured, estimates_us, strict=True)
    ]
    new_us = [1e3 * model.new_ms for model in measured]
    without = transfers_left_out(old_us, parts, new_us)
    left_out_ms = np.asarray(
        [_predicted_us(transfer, of) / 1e3 for transfer, of in zip(without, parts, strict=True)]
    )
    found = fit_transfer(old_us, parts, new_us)
    return replace(
        old,
        name=f"{device.model} ({device.serial}), transferred from {old.name}",
        device=device,
        campaign=campaign,
        provenance=_weaker(old.provenance, device.provenance),
        heads=(),
        networks=(),
        calibration=_calibration(old, measured, found, left_out_ms),
        validation=validate(_points(measured, left_out_ms), campaign.seed, LEFT_OUT),
        sources=(
            *old.sources,
            f"table and regressions of {old.name}; what differs from {found.count} models measured "
            f"on {device.model}",
        ),
    )


def _predicted_us(transfer: Transfer, parts: Parts) -> float:
    return sum(transfer.factor(name) * value for name, value in parts.items())


def _points(measured: Sequence[TransferredModel], predicted_ms: Matrix) -> list[HeldOutModel]:
    """Each with the interval that the errors of the others give."""
    new_ms, points = _new_ms(measured), []
    for i, model in enumerate(measured):
        others = np.arange(len(new_ms)) != i
        ratio = 1 + conformal_half_width(predicted_ms[others], new_ms[others])
        value = float(predicted_ms[i])
        points.append(HeldOutModel(model.name, model.new_ms, value, value / ratio, value * ratio))
    return points


def _calibration(
    old: DeviceProfile, measured: Sequence[TransferredModel], found: Transfer, left_out_ms: Matrix
) -> Calibration:
    """The old one's, every coefficient times the factor of its part."""
    before = old.require_calibration()
    seen = {family(kernel) for model in measured for kernel in model.plan.kernels}
    kinds = {*old.regressors, *(kernel.kind for kernel in look_up_table(old.table))}
    names = {*seen, *kinds, *before.families}

    def factor(name: str, field: str) -> float:
        """A family that was not measured differs as its kind does."""
        return found.factor(_part(name if name in seen else kind_of(name), field))

    # Of an arithmetic as a whole: for what is neither named here nor in the old profile.
    names |= {kind_dtype(kind_of(name)) for name in names}
    return Calibration(
        families={
            name: FamilyCalibration(
                **{
                    field: getattr(before.family(name), field) * factor(name, field)
                    for field in (_FACTOR, *_PRICES)
                }
            )
            for name in sorted(names)
        },
        models=found.count,
        shrinkage=found.deviation,
        half_width=conformal_half_width(left_out_ms, _new_ms(measured)),
        coverage=coverage_from(found.count),
        settling_ms=found.common * before.settling_ms,
        **{name: getattr(before, name) * found.factor(name) for name in SHARED},
    )


def _new_ms(measured: Sequence[TransferredModel]) -> Matrix:
    return np.asarray([model.new_ms for model in measured])


def _weaker(*provenances: Provenance) -> Provenance:
    """What a number is that follows from several: simulated as soon as one of them is."""
    return max(provenances, key=("measured", "published", "simulated").index)
