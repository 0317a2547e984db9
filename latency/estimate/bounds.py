"""Bounds for a kernel that a profile knows nothing about: named and bounded, never zero.

Nothing is done faster than the fastest kind of kernel moves its bytes; and no operator worth
shipping is slower, byte for byte and multiplication for multiplication, than the slowest kind.
Between the two lies their geometric mean: the middle of what is not known by a factor.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ...errors import NotCovered
from ..kernels.cache_traffic import family
from ..kernels.kernel import Kernel, kind_dtype
from ..profile.device_profile import DeviceProfile
from ..profile.regressor import COLUMNS, LEAST_US, Regressor
from ..profile.table import look_up_table

Work = tuple[str, float, float, float]  # kind, microseconds, bytes moved, multiply-adds


@dataclass(frozen=True, slots=True)
class Bound:
    """Between which a kernel's latency lies, in microseconds."""

    low_us: float
    high_us: float

    @property
    def middle_us(self) -> float:
        return math.sqrt(self.low_us * self.high_us)


@dataclass(frozen=True, slots=True)
class SpeedLimits:
    """The rates of the fastest and the slowest kinds of a profile.

    Args:
        fastest_us_per_byte: of any kind.
        slowest_us_per_byte: of any kind; ``moving_us_per_byte`` of those without multiply-adds.
        slowest_us_per_madd: of the kinds with multiply-adds.
        dispatch_us: what an operator costs however little it does.
    """

    fastest_us_per_byte: float
    slowest_us_per_byte: float
    moving_us_per_byte: float
    slowest_us_per_madd: float
    dispatch_us: float

    def bound(self, kernel: Kernel) -> Bound:
        """Of a kernel of any kind; where its multiply-adds are known, its bytes are only moved."""
        moved = kernel.bytes_in + kernel.bytes_out + kernel.bytes_weights
        if kernel.madds:
            work_us = self.moving_us_per_byte * moved + self.slowest_us_per_madd * kernel.madds
        else:
            work_us = self.slowest_us_per_byte * moved
        low_us = max(self.fastest_us_per_byte * moved, LEAST_US)
        return Bound(low_us, max(work_us, low_us) + self.dispatch_us)


def speed_limits(profile: DeviceProfile, dtype: str = "float32") -> SpeedLimits:
    """The rates of a profile, from its rows, or from its regressions where a kind has no rows.

    Args:
        dtype: of the kernels to be bounded: int8 kernels tell nothing of float32 ones. All kinds
            of the profile count if it has none of this type.

    Raises:
        NotCovered: the profile has neither, so nothing can be bounded.
    """
    rows = list(_rows(profile))
    covered = {kind for kind, *_ in rows}
    kinds: dict[str, list[float]] = {}
    for kind, *work in (*rows, *_regressions(profile, covered)):
        kinds[kind] = [
            total + part for total, part in zip(kinds.get(kind, [0.0] * 3), work, strict=True)
        ]
    kinds = {kind: work for kind, work in kinds.items() if kind_dtype(kind) == dtype} or kinds
    per_byte = {kind: us / moved for kind, (us, moved, _) in kinds.items() if moved}
    per_madd = [us / madds for us, _, madds in kinds.values() if madds]
    if not per_byte:
        raise NotCovered(
            f"profile {profile.name!r} has neither rows nor regressions, so nothing can be said "
            "of any kernel; make it again with `mnasfpn profile`"
        )
    slowest = max(per_byte.values())
    moving = [rate for kind, rate in per_byte.items() if not kinds[kind][2]]
    return SpeedLimits(
        fastest_us_per_byte=min(per_byte.values()),
        slowest_us_per_byte=slowest,
        moving_us_per_byte=max(moving, default=slowest),
        slowest_us_per_madd=max(per_madd, default=0.0),
        dispatch_us=_factor(profile, dtype) * profile.dispatch_us,
    )


def _rows(profile: DeviceProfile) -> Iterable[Work]:
    for kernel, row in look_up_table(profile.table).items():
        moved = kernel.bytes_in + kernel.bytes_out + kernel.bytes_weights
        # The interpreter's call is left in small rows only as far as it cannot be told apart.
        net_us = max(row.latency_us - profile.dispatch_us, 0.0)
        yield kernel.kind, _factor(profile, family(kernel)) * net_us, moved, kernel.madds


def _regressions(profile: DeviceProfile, covered: set[str]) -> Iterable[Work]:
    """Each kind at the largest it was fitted on, where its constant costs matter least."""
    for kind, regressor in profile.regressors.items():
        if kind not in covered:
            us, moved, madds = _at_its_largest(regressor)
            yield kind, _factor(profile, kind) * us, moved, madds


def _factor(profile: DeviceProfile, name: str) -> float:
    """From rows and regressions to this device, which need not be the one they were measured on."""
    return profile.calibration.family(name).factor if profile.calibration else 1.0


def _at_its_largest(regressor: Regressor) -> tuple[float, float, float]:
    x = np.zeros((1, len(COLUMNS)))
    for name, value in regressor.high.items():
        x[0, COLUMNS[name]] = value
    moved = sum(regressor.high.get(f"bytes_{part}", 0.0) for part in ("in", "out", "weights"))
    us = float(regressor.predict_features(x)[0])
    return us, moved, regressor.high.get("vector_madds", 0.0)
