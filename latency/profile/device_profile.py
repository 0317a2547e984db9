"""DeviceProfile: all that is known of a device's latencies, in one JSON file a person can read.

Numbers only: loading a profile from a stranger runs no code, and a damaged one says which field is
wrong. ``docs/device-profile.md`` describes every field.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec

from ...android_harness.measurement import DeviceInfo, Provenance
from ...errors import InvalidInput, InvalidProfile, NotCovered
from ...models.genotype import Genotype
from ...storage.atomic import write_atomically
from ..kernels.execution import ExecutionPlan, Partition
from ..kernels.fusion import Step
from ..kernels.kernel import Kernel
from ..kernels.runtimes import runtime_named
from .calibration import Calibration
from .profile_schema import PROFILE_SCHEMA, READABLE, renewed
from .regressor import Regressor
from .table import MeasuredKernel, look_up_table
from .validation import Validation

Role = Literal["calibration", "validation"]


@dataclass(frozen=True, slots=True)
class MeasuredHead:
    """A whole head, measured: cells of a genotype on a backbone's features.

    Args:
        name: ``space/seed/index/digest``: how to draw it again, and what was drawn.
        role: a validation head is used for nothing but validation.
        channels: of the backbone's C3, C4 and C5.
        repeat_ms: the same head measured a second time; None for calibration.
        reasons: why the measurement is UNSTABLE; empty where it is VALID.
    """

    name: str
    role: Role
    genotype: Genotype
    channels: tuple[int, int, int]
    input_size: int
    latency_ms: float
    spread: float
    repeat_ms: float | None = None
    reasons: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < self.latency_ms < math.inf:
            raise InvalidProfile(f"'latency_ms' must be positive, got {self.latency_ms}")


@dataclass(frozen=True, slots=True)
class MeasuredNetwork:
    """A random network, measured whole, to calibrate on; or a block of a published table.

    Args:
        name: ``network/seed/index``, or the block as the table describes it.
        kernels: signatures in the order of execution.
        crossing_bytes: of tensors that enter or leave the delegate's partitions, all together;
            None if the runtime has no delegate.
        reasons: why the measurement is UNSTABLE; empty where it is VALID.
        partitions: of the delegate, where it has any.
        count: single inferences behind it; 0 where it is not known.
    """

    name: str
    kernels: tuple[str, ...]
    crossing_bytes: int | None
    latency_ms: float
    spread: float
    reasons: tuple[str, ...] = ()
    partitions: int = 1
    count: int = 0

    @classmethod
    def of(cls, name: str, executed: ExecutionPlan, **measured: Any) -> MeasuredNetwork:
        """What is kept of a network's plan; ``measured``: the other fields."""
        delegated = executed.delegate_partitions
        crossing = sum(partition.bytes_in + partition.bytes_out for partition in delegated)
        return cls(
            name=name,
            kernels=tuple(kernel.signature for kernel in executed.kernels),
            crossing_bytes=crossing if delegated else None,
            partitions=max(len(delegated), 1),
            **measured,
        )

    def __post_init__(self) -> None:
        if not 0 < self.latency_ms < math.inf:
            raise InvalidProfile(f"'latency_ms' must be positive, got {self.latency_ms}")
        if self.partitions < 1:
            raise InvalidProfile(f"'partitions' must be positive, got {self.partitions}")

    @property
    def plan(self) -> ExecutionPlan:
        """The same sums as the network's own plan: all kernels stand in the first partition."""
        steps = tuple(Step(Kernel.parse(signature), ()) for signature in self.kernels)
        delegated = self.crossing_bytes is not None
        first = Partition(delegated, steps, self.crossing_bytes or 0, 0)
        return ExecutionPlan((first, *(Partition(delegated, (), 0, 0),) * (self.partitions - 1)))


@dataclass(frozen=True, slots=True)
class CampaignRecord:
    """How the numbers came about.

    Args:
        protocol: its name; ``settings`` are its limits.
        statistic: what one number is.
        seed: of orders and of the heads drawn.
        unstable: share of measurements that are used although they are UNSTABLE.
        failed: what has no number -> why. Its kernels are left to the regressions.
        notes: what a reader must know of the cores that all was measured on.
    """

    protocol: str
    statistic: str
    seed: int
    settings: dict[str, float | str | tuple[str, ...]] = field(default_factory=dict)
    unstable: float = 0.0
    failed: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DeviceProfile:
    """Everything above as one value.

    Args:
        name: for people.
        provenance: measured, published or simulated; what a prediction is labelled with.
        sources: where published numbers come from.
        runtime: a name of :data:`..kernels.runtimes.RUNTIMES`; decides fusion and partitions.
        dispatch_us: one call of the interpreter, part of every row of the table.
        regressors: kind of kernel -> regression.
        calibration, validation: None until the profile is fitted.

    Raises:
        InvalidProfile: another schema, an unknown runtime, a kernel with two rows.
    """

    name: str
    provenance: Provenance
    device: DeviceInfo
    runtime: str
    campaign: CampaignRecord
    dispatch_us: float
    table: tuple[MeasuredKernel, ...]
    heads: tuple[MeasuredHead, ...] = ()
    networks: tuple[MeasuredNetwork, ...] = ()
    regressors: dict[str, Regressor] = field(default_factory=dict)
    calibration: Calibration | None = None
    validation: Validation | None = None
    sources: tuple[str, ...] = ()
    schema: int = PROFILE_SCHEMA

    def __post_init__(self) -> None:
        if self.schema != PROFILE_SCHEMA:
            raise InvalidProfile(f"'schema' is {self.schema}, expected {PROFILE_SCHEMA}")
        if not self.dispatch_us >= 0:
            raise InvalidProfile(f"'dispatch_us' must not be negative, got {self.dispatch_us}")
        try:
            runtime_named(self.runtime)
            look_up_table(self.table)
        except InvalidInput as error:
            raise InvalidProfile(str(error)) from None

    def heads_for(self, role: Role) -> tuple[MeasuredHead, ...]:
        return tuple(head for head in self.heads if head.role == role)

    @property
    def unstable_shares(self) -> dict[str, float]:
        """How much of what is used is UNSTABLE: share of ``kernels`` and of ``whole models``.

        Of profiles of 0.1.0, whose rows do not say it, the share of all ``measurements``. Nothing
        of numbers that nobody judged, as published ones.
        """
        judged: dict[str, list[tuple[str, ...] | None]] = {
            "kernels": [row.reasons for row in self.table],
            "whole models": [
                *(head.reasons for head in self.heads),
                *(network.reasons for network in self.networks),
            ],
        }
        if self.provenance == "published":
            return {}
        if None in judged["kernels"]:
            return {"measurements": self.campaign.unstable}
        return {name: sum(map(bool, found)) / len(found) for name, found in judged.items() if found}

    @property
    def summary(self) -> str:
        """One line for people: how good predictions are, and how sure what they stand on is."""
        accuracy = str(self.validation or "not validated on held-out models")
        return accuracy + (f"; UNSTABLE: {self.unstable}" if self.unstable else "")

    @property
    def unstable(self) -> str:
        """:attr:`unstable_shares` for people."""
        return ", ".join(f"{share:.0%} of {name}" for name, share in self.unstable_shares.items())

    def require_calibration(self) -> Calibration:
        """The calibration.

        Raises:
            NotCovered: the profile was measured but not fitted.
        """
        if self.calibration is None:
            raise NotCovered(
                f"profile {self.name!r} is measured but not fitted, so nothing can be said about "
                "whole models; run `mnasfpn fit` on it"
            )
        return self.calibration


def to_json(profile: DeviceProfile) -> str:
    """A line for each row of the table, head and regressor: readable, and made for ``diff``."""
    fields: dict[str, Any] = msgspec.to_builtins(profile)
    ordered = {"schema": fields.pop("schema"), **fields}
    lines = [f"{json.dumps(key)}: {_lines(value)}" for key, value in ordered.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _lines(value: Any) -> str:
    """Compact JSON of each entry of a list or object on a line of its own."""
    if isinstance(value, list | tuple) and value:
        return "[\n" + ",\n".join(_compact(item) for item in value) + "\n]"
    if isinstance(value, dict) and value:
        entries = (f"{json.dumps(key)}: {_compact(item)}" for key, item in value.items())
        return "{\n" + ",\n".join(entries) + "\n}"
    return _compact(value)


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def from_json(text: str | bytes, origin: str = "the profile") -> DeviceProfile:
    """The profile of a JSON text.

    Args:
        origin: what the text is, for messages.

    Raises:
        InvalidProfile: not JSON, a schema that is not in :data:`.profile_schema.READABLE`, a field
            missing or impossible; named by its path.
    """
    try:
        schema = msgspec.json.decode(text, type=_Schema).schema
        if schema not in READABLE:
            raise InvalidProfile(
                f"{origin} has schema {schema}, this version of mnasfpn reads "
                f"{' and '.join(map(str, READABLE))}; make it again with `mnasfpn profile` or use "
                "the version that wrote it"
            )
        if schema == PROFILE_SCHEMA:
            return msgspec.json.decode(text, type=DeviceProfile)
        return msgspec.convert(renewed(msgspec.json.decode(text)), type=DeviceProfile)
    except msgspec.MsgspecError as error:
        raise InvalidProfile(
            f"{origin} is not a device profile: {error}; docs/device-profile.md describes every "
            "field"
        ) from None


@dataclass(frozen=True, slots=True)
class _Schema:
    schema: int


def load_profile(path: Path | str) -> DeviceProfile:
    """Read a profile.

    Raises:
        InvalidProfile: the file cannot be read, or see :func:`from_json`.
    """
    try:
        text = Path(path).read_bytes()
    except OSError as error:
        raise InvalidProfile(
            f"cannot read the profile {path}: {error.strerror}; make one with `mnasfpn profile`"
        ) from None
    return from_json(text, origin=str(path))


def save_profile(profile: DeviceProfile, path: Path | str) -> None:
    """Write a profile whole or not at all."""
    write_atomically(path, to_json(profile))
