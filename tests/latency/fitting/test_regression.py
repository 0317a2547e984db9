from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mnasfpn.errors import InvalidInput, InvalidProfile
from mnasfpn.latency.fitting.regression import (
    KernelRegression,
    _fit_boosting,
    _fit_forest,
    _fit_linear,
)
from mnasfpn.latency.kernels.features import (
    FEATURE_NAMES,
    KERNEL_FEATURES,
    MONOTONE,
    feature_matrix,
)
from mnasfpn.latency.kernels.kernel import Kernel
from mnasfpn.latency.profile.regressor import Trees


def conv(size: int, channels: int, filters: int) -> Kernel:
    return Kernel("conv", ((1, size, size, channels),), (1, size, size, filters))


def law(kernel: Kernel) -> float:
    """Vectors of 16, a fixed start, and a second-level cache of 1 MB."""
    channels = kernel.output[3]
    vectors = -(-channels // 16) * 16 / channels
    beyond = max(0, kernel.bytes_in + kernel.bytes_out + kernel.bytes_weights - 2**20)
    return 0.5 + kernel.madds * vectors / 5e4 + kernel.bytes_out / 1e4 + beyond / 3e3


KERNELS = [
    conv(size, channels, filters)
    for size in (5, 10, 20, 40)
    for channels in (16, 40, 96, 256)
    for filters in (16, 24, 64, 100, 256)
]
NEW = [conv(size, c, f) for size in (8, 15, 32) for c in (24, 80, 160) for f in (20, 48, 200)]


def latencies(kernels: list[Kernel], noise: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.array([law(k) for k in kernels]) * np.exp(noise * rng.standard_normal(len(kernels)))


@pytest.fixture(scope="module")
def fitted() -> KernelRegression:
    return KernelRegression(seed=1).fit(KERNELS, latencies(KERNELS, noise=0.02))


def test_a_known_law_is_recovered_on_kernels_never_seen(fitted: KernelRegression) -> None:
    errors = np.abs(fitted.predict(NEW) / latencies(NEW) - 1)
    assert errors.mean() < 0.03
    assert fitted.score(NEW, latencies(NEW)) > 0.99


def test_the_chosen_candidate_has_the_smallest_held_out_error(fitted: KernelRegression) -> None:
    regressor = fitted.regressor
    assert regressor is not None
    assert set(regressor.scores) == {"non_negative_linear", "gradient_boosting", "random_forest"}
    assert regressor.scores[regressor.method] == min(regressor.scores.values())
    assert all(score > 0.005 for score in regressor.scores.values())  # noise cannot be predicted


def test_the_interval_holds_new_measurements_about_as_often_as_it_says(
    fitted: KernelRegression,
) -> None:
    assert fitted.regressor is not None
    rng = np.random.default_rng(5)
    truth = latencies(NEW)[:, None] * np.exp(0.02 * rng.standard_normal((len(NEW), 40)))
    ratio = truth / fitted.predict(NEW)[:, None]
    width = 1 + fitted.regressor.half_width
    assert 0.8 <= ((1 / width <= ratio) & (ratio <= width)).mean() <= 0.99


@pytest.mark.slow
@pytest.mark.parametrize("candidate", [_fit_boosting, _fit_forest], ids=["boosting", "forest"])
def test_trees_from_their_numbers_equal_scikit_learn(candidate) -> None:
    x, y = feature_matrix(KERNELS), latencies(KERNELS, noise=0.05)
    regressor, estimator = candidate(x, y, 3)
    rng = np.random.default_rng(0)
    anywhere = np.vstack(
        [x, feature_matrix(NEW), rng.uniform(0, x.max(axis=0) * 1.5, (500, x.shape[1]))]
    )
    expected = regressor.linear(anywhere) * np.exp(estimator.predict(anywhere))
    np.testing.assert_allclose(regressor.predict_features(anywhere), expected, rtol=1e-9)


@pytest.mark.parametrize("candidate", [_fit_linear, _fit_boosting, _fit_forest])
def test_more_work_is_never_faster(candidate) -> None:
    regressor, _ = candidate(feature_matrix(KERNELS), latencies(KERNELS, noise=0.2), 0)
    start = feature_matrix(NEW)
    for column in np.flatnonzero(MONOTONE):
        latency = regressor.predict_features(start)
        for growth in (1.2, 2.0, 7.0):
            x = start.copy()
            x[:, column] = x[:, column] * growth + growth
            grown = regressor.predict_features(x)
            assert (grown >= latency * (1 - 1e-12)).all(), FEATURE_NAMES[column]
            latency = grown


def test_one_wild_measurement_does_not_move_the_linear_model() -> None:
    clean = latencies(KERNELS)
    wild = clean.copy()
    wild[7] *= 30
    x = feature_matrix(KERNELS)
    before, after = (_fit_linear(x, y, 0)[0].predict_features(x) for y in (clean, wild))
    others = np.arange(len(x)) != 7
    assert np.abs(after / before - 1)[others].max() < 0.02


def test_extrapolation_is_flagged_and_goes_on_growing(fitted: KernelRegression) -> None:
    regressor = fitted.regressor
    assert regressor is not None
    inside, outside, far = conv(20, 96, 64), conv(40, 512, 256), conv(80, 512, 512)
    assert not regressor.extrapolates(inside)
    assert regressor.extrapolates(outside)
    assert regressor.extrapolates(conv(2, 8, 8))
    predicted = regressor.predict((inside, outside, far))
    assert predicted[0] < predicted[1] < predicted[2]
    assert predicted[2] == pytest.approx(law(far), rel=0.25)


def test_few_kernels_get_the_linear_model() -> None:
    regression = KernelRegression().fit(KERNELS[:6], latencies(KERNELS[:6]))
    assert regression.regressor is not None
    assert regression.regressor.method == "non_negative_linear"
    assert set(regression.regressor.scores) == {"non_negative_linear"}


def test_what_cannot_be_fitted_is_refused() -> None:
    pool = Kernel("max_pool", ((1, 8, 8, 4),), (1, 4, 4, 4), (3, 3), (2, 2))
    with pytest.raises(InvalidInput, match="one kind"):
        KernelRegression().fit([*KERNELS[:3], pool], [1, 2, 3, 4])
    with pytest.raises(InvalidInput, match="at least 3"):
        KernelRegression().fit(KERNELS[:2], [1, 2])
    with pytest.raises(InvalidInput, match="positive and finite"):
        KernelRegression().fit(KERNELS[:3], [1, 0, 2])
    with pytest.raises(InvalidInput, match="call fit first"):
        KernelRegression().predict(KERNELS)


def test_trees_that_never_end_are_refused(fitted: KernelRegression) -> None:
    leaf = {"threshold": (0.0,), "left": (0,), "right": (0,), "value": (1.0,)}
    with pytest.raises(InvalidProfile, match="child before it"):
        Trees(roots=(0,), feature=(0,), **leaf)
    with pytest.raises(InvalidProfile, match="root"):
        Trees(roots=(1,), feature=(-1,), **leaf)
    with pytest.raises(InvalidProfile, match=f"feature {len(KERNEL_FEATURES)}"):
        Trees(roots=(0,), feature=(len(KERNEL_FEATURES),), **leaf)
    assert fitted.regressor is not None
    with pytest.raises(InvalidProfile, match="'low'"):
        replace(fitted.regressor, low={"colour": 1.0})


def test_a_profile_made_before_a_feature_was_known_predicts_the_same(
    fitted: KernelRegression,
) -> None:
    regressor = fitted.regressor
    assert regressor is not None
    fewer = {name: value for name, value in regressor.coefficients.items() if value > 0}
    assert len(fewer) < len(regressor.coefficients)
    without = replace(regressor, coefficients=dict(reversed(fewer.items())))
    assert without.predict(KERNELS) == pytest.approx(regressor.predict(KERNELS), rel=1e-12)
