"""To a new phone from what is known of another one and a handful of measurements.

Phones of one architecture differ mostly by a common factor, and less by how much better or worse
each kind of kernel runs on them. So a new phone's latency is modelled as the old phone's, kind by
kind, each with a factor that is drawn towards one common factor. How strongly is decided by leaving
one measurement out; with very few of them, the common factor is all there is.

What is measured may be whole models or single kernels: a kernel is a model of one kind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...android_harness.measurement import DeviceInfo, Provenance
from ...errors import InvalidInput, NotCovered
from ..estimate.estimate import Estimator
from ..kernels.cache_traffic import family
from ..kernels.execution import ExecutionPlan
from ..kernels.features import Matrix
from ..profile.calibration import SHARED, Calibration
from ..profile.device_profile import DeviceProfile
from .held_out import held_out
from .intervals import conformal_half_width, coverage_from

#: On the square of a kind's relative distance from the common factor; the last leaves only that.
KIND_SHRINKAGES = (0.001, 0.01, 0.1, 1.0, 10.0, 1e6)
LEAST_FOR_KINDS = 4  # below this there is nothing to choose a strength by

Parts = Mapping[str, float]  # kind -> what it costs on the old phone


@dataclass(frozen=True, slots=True)
class Transfer:
    """How the new phone differs from the old one.

    Args:
        common: factor of what no measured model has.
        factors: kind -> new latency over old.
        shrinkage: that was chosen.
        half_width: of the interval as a ratio, from measurements left out; infinite from a single
            one.
        count: measurements used.
    """

    common: float
    factors: dict[str, float]
    shrinkage: float
    half_width: float
    count: int

    def factor(self, kind: str) -> float:
        return self.factors.get(kind, self.common)

    def predict(self, parts: Parts) -> float:
        """Latency on the new phone, in the unit of ``parts``."""
        return sum(self.factor(kind) * value for kind, value in parts.items())


def fit_transfer(parts: Sequence[Parts], latencies: Sequence[float]) -> Transfer:
    """The factors of a new phone.

    Args:
        parts: of each measured model or kernel, what its kinds cost on the old phone.
        latencies: on the new phone, in the same unit.

    Raises:
        InvalidInput: nothing was measured, or something that costs nothing on the old phone.
    """
    if not parts or len(parts) != len(latencies):
        raise InvalidInput(
            "a transfer needs at least one measurement and as many latencies, "
            f"got {len(parts)} and {len(latencies)}"
        )
    kinds = sorted({kind for model in parts for kind in model})
    old = np.asarray([[model.get(kind, 0.0) for kind in kinds] for model in parts])
    new = np.asarray(latencies, dtype=np.float64)
    if (old < 0).any() or (old.sum(axis=1) <= 0).any() or (new <= 0).any():
        raise InvalidInput("latencies on both phones must be positive")
    strengths = KIND_SHRINKAGES if len(new) >= LEAST_FOR_KINDS else KIND_SHRINKAGES[-1:]
    left_out = {strength: _leave_one_out(old, new, strength) for strength in strengths}
    best = min(strengths, key=lambda s: float(np.abs(np.log(left_out[s] / new)).mean()))
    factors = _solve(old, new, best)
    return Transfer(
        common=_common(old, new),
        factors=dict(zip(kinds, map(float, factors), strict=True)),
        shrinkage=best,
        half_width=conformal_half_width(left_out[best], new) if len(new) > 1 else np.inf,
        count=len(new),
    )


def _common(old: Matrix, new: Matrix) -> float:
    """The one factor whose relative errors balance; a median, so that an outlier does not count."""
    return float(np.exp(np.median(np.log(new / old.sum(axis=1)))))


def _solve(old: Matrix, new: Matrix, shrinkage: float) -> Matrix:
    """Non-negative factors of least squared relative error, drawn towards the common one.

    How much a kind's factor may differ depends on how much of the latency that kind is: the ridge
    is on shares of a typical model, so that the unit of a column does not matter.
    """
    from scipy.optimize import nnls

    common = _common(old, new)
    relative = old * common / new[:, None]
    ridge = np.sqrt(shrinkage * len(new)) * np.eye(old.shape[1])
    share = np.sqrt(np.maximum((relative**2).mean(axis=0), 1e-12))
    weights = ridge * np.sqrt(share)
    stacked = np.vstack([relative, weights])
    target = np.concatenate([np.ones(len(new)), weights.sum(axis=1)])
    factors: Matrix = nnls(stacked, target)[0] * common
    return factors


def _leave_one_out(old: Matrix, new: Matrix, shrinkage: float) -> Matrix:
    from sklearn.model_selection import LeaveOneOut

    if len(new) == 1:
        return new
    predicted = held_out(
        LeaveOneOut().split(new),
        lambda kept, left: old[left] @ _solve(old[kept], new[kept], shrinkage),
    )
    floor: Matrix = np.maximum(predicted, new * 1e-6)
    return floor


def plan_parts(estimator: Estimator, plan: ExecutionPlan) -> dict[str, float]:
    """Microseconds of a model on the old phone by family of kernels, and its overheads by name.

    Raises:
        NotCovered: the old phone's profile knows nothing about a kernel.
    """
    calibration = estimator.calibration
    parts: dict[str, float] = {}

    def add(name: str, value_us: float) -> None:
        if value_us > 0:
            parts[name] = parts.get(name, 0.0) + value_us

    cold_share = estimator.cold_share(plan)
    for kernel in plan.kernels:
        found = estimator.kernel(kernel)
        if found.source == "bound":
            raise NotCovered(
                f"profile {estimator.profile.name!r} knows nothing about {kernel.signature!r}, so "
                "there is nothing to transfer; choose other models to measure"
            )
        add(family(kernel), found.warm_us + cold_share * found.cold_us)
    partitions = plan.delegate_partitions
    add("intercept_us", calibration.intercept_us)
    add("partition_us", calibration.partition_us * len(partitions))
    entering = calibration.overhead_us(plan) - calibration.intercept_us
    add("crossing_us_per_mb", entering - calibration.partition_us * len(partitions))
    return parts


def _weaker(*provenances: Provenance) -> Provenance:
    """What a number is that follows from several: simulated as soon as one of them is."""
    return max(provenances, key=("measured", "published", "simulated").index)


def transfer_profile(
    profile: DeviceProfile,
    device: DeviceInfo,
    plans: Sequence[ExecutionPlan],
    latencies_ms: Sequence[float],
) -> DeviceProfile:
    """A new phone's profile: the old one's table and regressions, calibrated on what was measured.

    Args:
        profile: of the old phone, fitted.
        plans, latencies_ms: of models, or graphs of single kernels, measured on the new one.

    Returns:
        Not validated: that takes measurements that were not used here.
    """
    estimator = Estimator(profile)
    parts = [plan_parts(estimator, plan) for plan in plans]
    found = fit_transfer(parts, [latency_ms * 1e3 for latency_ms in latencies_ms])
    if not np.isfinite(found.half_width):
        raise InvalidInput("one measurement alone says nothing about the error; measure two")
    old = estimator.calibration
    names = {*profile.regressors, *old.families, *found.factors} - set(SHARED)
    return replace(
        profile,
        name=f"{device.model}, transferred from {profile.name}",
        device=device,
        provenance=_weaker(profile.provenance, device.provenance),
        heads=(),
        networks=(),
        calibration=Calibration(
            families={name: old.family(name).scaled(found.factor(name)) for name in names},
            models=found.count,
            shrinkage=found.shrinkage,
            half_width=found.half_width,
            coverage=coverage_from(found.count),
            settling_ms=found.common * old.settling_ms,
            **{name: getattr(old, name) * found.factor(name) for name in SHARED},
        ),
        validation=None,
        sources=(
            *profile.sources,
            f"table and regressions of {profile.name}; factors from {found.count} measurements "
            f"on {device.model}",
        ),
    )
