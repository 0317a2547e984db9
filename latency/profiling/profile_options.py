"""The options of ``mnasfpn profile`` as a value, and the plan that follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from ...android_harness.measurement import HOST
from ...errors import InvalidInput
from ...models.graph.arithmetic import ARITHMETICS, Arithmetic
from ...models.published import published
from ...models.space import MNASFPN_SPACES
from ..kernels.runtimes import runtime_named
from ..profile.device_profile import DeviceProfile
from .plan import ProfilingPlan

KERNELS_PER_NETWORK = 12  # of ``general``: a random network to calibrate on for so many kernels


@dataclass(frozen=True)
class ProfileOptions:
    """What a person asks for; ``auto`` is what suits the device.

    Args:
        device: ``HOST``, or a phone.
        space: name of one whose heads are MnasFPN's.
        input_size: pixels of the detectors' square image.
        calibration_heads, validation_heads: see :class:`~.plan.ProfilingPlan`.
        general: kernels of networks in general; random networks to calibrate on come with them.
        arithmetic: one or more of ``ARITHMETICS``, with commas between; float32 among them.
        runtime: by name.
        kernels: many in one file, or one in each; auto: packed on phones.
    """

    device: str = HOST
    space: str = ProfilingPlan.space.name
    input_size: int = ProfilingPlan.input_size
    calibration_heads: int = ProfilingPlan.calibration_heads
    validation_heads: int = ProfilingPlan.validation_heads
    general: int = ProfilingPlan.general
    arithmetic: str = "float32"
    runtime: str = ProfilingPlan.runtime.name
    kernels: Literal["auto", "packed", "alone"] = "auto"
    seed: int = ProfilingPlan.seed

    def __post_init__(self) -> None:
        if self.space not in MNASFPN_SPACES:
            raise InvalidInput(
                f"no space of MnasFPN heads is called {self.space!r}; known: "
                f"{', '.join(MNASFPN_SPACES)}"
            )

    @property
    def words(self) -> list[str]:
        """As the command line takes them."""
        return [f"--{name.replace('_', '-')}={value}" for name, value in asdict(self).items()]

    def plan(self) -> ProfilingPlan:
        """What is measured.

        Raises:
            InvalidInput: an unknown runtime, or an arithmetic that is none.
        """
        detector = replace(published("mobilenetv2-mnasfpn"), input_size=self.input_size)
        return ProfilingPlan(
            space=MNASFPN_SPACES[self.space],
            detectors=(detector.graph(),),
            general=self.general,
            networks=self.general // KERNELS_PER_NETWORK,
            arithmetics=_arithmetics(self.arithmetic),
            seed=self.seed,
            calibration_heads=self.calibration_heads,
            validation_heads=self.validation_heads,
            input_size=self.input_size,
            runtime=runtime_named(self.runtime),
            packed=self.kernels == "packed" or (self.kernels == "auto" and self.device != HOST),
        )


#: With a profile of another phone only models like these are measured.
OF_A_NEW_PHONE = ("space", "input_size", "seed")


def new_phone_plan(old: DeviceProfile, device: str, asked: Mapping[str, Any]) -> ProfilingPlan:
    """What models are chosen from where another phone's profile is given: the plan's space, size,
    seed and runtime alone.

    Args:
        old: its runtime is the new one's, and by default so is the size of its heads.
        asked: what a person asked for by name; not what was left as it is.

    Raises:
        InvalidInput: something that has no meaning here.
    """
    refused = [f"--{name.replace('_', '-')}" for name in asked if name not in OF_A_NEW_PHONE]
    if refused:
        raise InvalidInput(
            f"with --from whole models are measured, with the runtime of the old profile; leave "
            f"{', '.join(refused)} out"
        )
    sizes = {head.input_size for head in old.heads} or {ProfilingPlan.input_size}
    options = ProfileOptions(device, **{"input_size": max(sizes), **asked})
    return replace(options.plan(), runtime=runtime_named(old.runtime))


def _arithmetics(text: str) -> tuple[Arithmetic, ...]:
    words = [word.strip() for word in text.split(",")]
    found = tuple(each for each in ARITHMETICS if each in words)
    if len(found) < len(words) or "float32" not in found:
        raise InvalidInput(
            f"--arithmetic takes float32, with commas between it and more of "
            f"{', '.join(ARITHMETICS[1:])}; got {text!r}"
        )
    return found
