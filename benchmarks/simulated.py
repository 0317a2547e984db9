"""A profile whose numbers nobody measured: every kind of kernel has a random rate."""

from __future__ import annotations

import numpy as np

from ..android_harness.measurement import DeviceInfo
from ..latency.kernels.features import FEATURE_NAMES
from ..latency.profile.calibration import Calibration, FamilyCalibration
from ..latency.profile.device_profile import CampaignRecord, DeviceProfile
from ..latency.profile.regressor import Regressor

KINDS = (
    *("conv_1x1", "conv_kxk", "conv_grouped", "depthwise_conv", "max_pool", "average_pool"),
    *("resize_nearest", "add", "add_broadcast", "mul", "mul_broadcast", "sigmoid", "hard_swish"),
    *("global_max_pool", "global_average_pool", "reshape", "concat", "relu", "relu6"),
)


def simulated_profile(runtime: str = "xnnpack", without: str = "", seed: int = 7) -> DeviceProfile:
    """A fitted profile in which no two parts of a sum can stand in for each other.

    Args:
        without: a kind of kernel it knows nothing about.
    """
    rng = np.random.default_rng(seed)
    regressors = {
        kind: Regressor(
            method="non_negative_linear",
            scores={},
            intercept=float(rng.uniform(1, 3)),
            coefficients=dict(
                zip(FEATURE_NAMES, rng.uniform(0, 1e-3, len(FEATURE_NAMES)).tolist(), strict=True)
            ),
            low=dict.fromkeys(FEATURE_NAMES, 0.0),
            high=dict.fromkeys(FEATURE_NAMES, 1e12),
            half_width=0.1,
            count=10,
        )
        for kind in KINDS
        if kind != without
    }
    calibration = Calibration(
        families={
            kind: FamilyCalibration(*rng.uniform((0.8, 5, 20, 10), (1.4, 20, 120, 60)).tolist())
            for kind in KINDS
        },
        intercept_us=17.0,
        partition_us=31.0,
        crossing_us_per_mb=413.0,
        settling_ms=3.0,
        models=5,
        shrinkage=0.1,
        half_width=0.1,
        coverage=0.9,
    )
    return DeviceProfile(
        name="simulated: random rates",
        provenance="simulated",
        device=DeviceInfo("none", "none", "none", "none", "none", "none", provenance="simulated"),
        runtime=runtime,
        campaign=CampaignRecord("none", "formula", seed),
        dispatch_us=1.5,
        table=(),
        regressors=regressors,
        calibration=calibration,
    )
