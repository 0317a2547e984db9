"""What is measured on a device that obeys a known law."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mnasfpn.android_harness.protocol import MeasuringProtocol
from mnasfpn.latency.fitting.fit import fit
from mnasfpn.latency.profile.device_profile import DeviceProfile
from mnasfpn.latency.profiling.plan import ProfilingPlan
from mnasfpn.latency.profiling.profile_device import profile_device
from mnasfpn.latency.profiling.session import Session
from mnasfpn.latency.profiling.store import MeasurementStore
from mnasfpn.models.space import Space
from mnasfpn.tests.latency.synthetic_device import SyntheticDevice

PROTOCOL = MeasuringProtocol(
    "synthetic", statistics=("median",), rounds=3, runs=3, cooldown_timeout_s=0
)


TINY = Space("tiny", channels=(16, 24), kernels=(3, 5), expansions=(16, 40, 64), internal_blocks=2)


@pytest.fixture
def synthetic() -> Callable[..., SyntheticDevice]:
    """``synthetic(noise=..., ...)``: a device of that law."""
    return SyntheticDevice


@pytest.fixture
def protocol() -> MeasuringProtocol:
    return PROTOCOL


@pytest.fixture(scope="session")
def tiny_plan() -> ProfilingPlan:
    return ProfilingPlan(TINY, calibration_heads=12, validation_heads=12, input_size=128)


@pytest.fixture(scope="session")
def measured(tiny_plan: ProfilingPlan, tmp_path_factory: pytest.TempPathFactory) -> DeviceProfile:
    """Measured on a synthetic device with 1 % of noise, not fitted."""
    with MeasurementStore(tmp_path_factory.mktemp("store") / "measurements.db") as store:
        return profile_device(Session(SyntheticDevice(noise=0.01), store, PROTOCOL), tiny_plan)


@pytest.fixture(scope="session")
def fitted(measured: DeviceProfile) -> DeviceProfile:
    return fit(measured)
