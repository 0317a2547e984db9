"""The look-up table: what each measured kernel took."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ...android_harness.measurement import Provenance
from ...errors import InvalidProfile
from ..kernels.kernel import Kernel


@dataclass(frozen=True, slots=True)
class MeasuredKernel:
    """One kernel, measured alone.

    Args:
        kernel: signature, see :class:`~..kernels.kernel.Kernel`.
        latency_us: robust centre over all rounds, one call of the interpreter included.
        spread: of the rounds around it, relative.
        count: single inferences behind it.
        provenance: measured, published or simulated.
        reasons: why the measurement is UNSTABLE; empty where it is VALID, None where nobody judged
            it: published numbers, and profiles of 0.1.0, which did not keep it.
    """

    kernel: str
    latency_us: float
    spread: float
    count: int
    provenance: Provenance = "measured"
    reasons: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if not 0 < self.latency_us < float("inf"):
            raise InvalidProfile(f"'latency_us' must be positive, got {self.latency_us}")
        if not self.spread >= 0:
            raise InvalidProfile(f"'spread' must not be negative, got {self.spread}")


def look_up_table(rows: Iterable[MeasuredKernel]) -> dict[Kernel, MeasuredKernel]:
    """Rows by kernel.

    Raises:
        InvalidProfile: a kernel has two rows, or a signature that cannot be read.
    """
    table: dict[Kernel, MeasuredKernel] = {}
    for row in rows:
        kernel = Kernel.parse(row.kernel)
        if kernel in table:
            raise InvalidProfile(f"the table has two rows for {row.kernel!r}; keep one of them")
        table[kernel] = row
    return table
