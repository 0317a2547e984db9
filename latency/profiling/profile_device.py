"""Profile a device: measure every kernel a space needs and whole random heads, resumably."""

from __future__ import annotations

from ...errors import InvalidInput
from ..profile.device_profile import DeviceProfile
from .measured_profile import measured_profile, unpacked_runs
from .plan import ProfilingPlan
from .session import PACK_SENTINEL_NAME, Session


def profile_device(session: Session, plan: ProfilingPlan) -> DeviceProfile:
    """Measure what the store does not have yet, and make a profile of it; fit it afterwards.

    Every run is in the store before the next begins: interrupted, the same call goes on where it
    stopped, and measures nothing twice.

    Args:
        session: of the plan's seed and runtime.

    Raises:
        InvalidInput: the session is of another seed or runtime.
        DeviceError: the device cannot go on; what was measured is kept.
        BenchmarkOutputError: an operator profile of packed kernels does not tell which is which.
        JobFailed: the store cannot be written, or the device runs no model at all.
    """
    if (session.seed, session.runtime) != (plan.seed, plan.runtime):
        raise InvalidInput(
            f"the session has seed {session.seed} and runtime {session.runtime.name}, the plan "
            f"seed {plan.seed} and {plan.runtime.name}; begin the session with the plan's"
        )
    if packs := {packed.name: packed.graph for packed in plan.packs}:
        session.measure(packs, PACK_SENTINEL_NAME, op_profile=True)
        # An operator profile that cannot be read ends here, not after all the heads.
        unpacked_runs(session, plan)
    session.measure(plan.graphs)
    return measured_profile(session, plan)
