"""Losses in NumPy against numbers by hand, PyTorch, and each other in all three libraries."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mnasfpn.models.detection.losses import detection_loss, focal_loss, huber_loss, softplus


def test_softplus_does_not_overflow():
    np.testing.assert_allclose(
        softplus(np, np.array([-1000.0, 0.0, 1000.0])), [0.0, math.log(2), 1000.0]
    )


def test_focal_loss_by_hand():
    # p = 1/2: alpha (1/2)^2 ln 2 for the class, (1 - alpha) (1/2)^2 ln 2 for the background
    loss = focal_loss(np, np.zeros(2), np.array([1.0, 0.0]))
    np.testing.assert_allclose(loss, [0.25 / 4 * math.log(2), 0.75 / 4 * math.log(2)])


def test_focal_loss_of_a_sure_answer_is_nothing_and_of_a_sure_mistake_is_its_logit():
    loss = focal_loss(np, np.array([50.0, -50.0]), np.array([1.0, 1.0]))
    np.testing.assert_allclose(loss, [0, 0.25 * 50], atol=1e-9)


def test_focal_loss_without_focus_is_weighted_cross_entropy():
    import torch

    rng = np.random.default_rng(0)
    logits, targets = rng.normal(0, 3, (5, 7)), rng.integers(0, 2, (5, 7)).astype(float)
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        torch.from_numpy(logits), torch.from_numpy(targets), reduction="none"
    )
    np.testing.assert_allclose(
        focal_loss(np, logits, targets, alpha=0.5, gamma=0.0), expected / 2, rtol=1e-12
    )


@pytest.mark.slow
def test_focal_loss_equals_keras():
    import keras

    rng = np.random.default_rng(1)
    logits, targets = rng.normal(0, 3, (5, 7)), rng.integers(0, 2, (5, 7)).astype(float)
    expected = keras.losses.BinaryFocalCrossentropy(
        apply_class_balancing=True, alpha=0.25, gamma=2.0, from_logits=True, reduction=None
    )(targets[..., None], logits[..., None])
    np.testing.assert_allclose(focal_loss(np, logits, targets), expected, atol=1e-5)


def test_huber_equals_torch():
    import torch

    difference = np.linspace(-3, 3, 61)
    expected = torch.nn.functional.huber_loss(
        torch.from_numpy(difference), torch.zeros(61, dtype=torch.float64), reduction="none"
    )
    np.testing.assert_allclose(huber_loss(np, difference), expected, rtol=1e-12)


def example(matched):
    """Two images of three anchors and two slots, all predictions 0 and all codes off by 2."""
    labels = np.where(np.array(matched) == 1, 1, -1).astype(np.int32)
    return (
        np.zeros((2, 3, 4), np.float32),
        np.zeros((2, 3, 2), np.float32),
        np.full((2, 3, 4), 2, np.float32),
        labels,
    )


def test_both_losses_are_divided_by_the_matched_anchors_of_the_batch():
    loss = detection_loss(np, *example([[1, 0, 0], [1, 1, 0]]))
    quarter = math.log(2) / 4
    assert loss.classes == pytest.approx((3 * 0.25 + 9 * 0.75) * quarter / 3)
    # huber(2) = 1.5 on each of 4 codes, divided by the code size 4, mean over 3 matches
    assert loss.boxes == pytest.approx(1.5)
    assert loss.total == pytest.approx(loss.classes + loss.boxes)


def test_without_ground_truth_only_the_background_counts():
    loss = detection_loss(np, *example([[0, 0, 0], [0, 0, 0]]))
    assert loss.boxes == 0
    assert loss.classes == pytest.approx(12 * 0.75 * math.log(2) / 4)


def random_example():
    rng = np.random.default_rng(2)
    labels = rng.choice([-1, 1, 2], (2, 5)).astype(np.int32)
    draw = lambda *shape: rng.normal(0, 2, shape).astype(np.float32)  # noqa: E731
    return draw(2, 5, 4), draw(2, 5, 3), draw(2, 5, 4), labels


def test_torch_gives_the_same_loss_and_the_slope_that_numpy_measures():
    import torch

    arrays = random_example()
    tensors = [torch.from_numpy(array) for array in arrays]
    tensors[0].requires_grad_()
    tensors[1].requires_grad_()
    loss = detection_loss(torch, *tensors)
    assert float(loss.total.detach()) == pytest.approx(detection_loss(np, *arrays).total, rel=1e-5)
    loss.total.backward()
    wide = [*(array.astype(np.float64) for array in arrays[:3]), arrays[3]]
    for position, place in ((0, (1, 2, 3)), (1, (0, 4, 2)), (1, (1, 0, 0))):
        sides = []
        for step in (1e-6, -1e-6):
            moved = [array.copy() for array in wide]
            moved[position][place] += step
            sides.append(detection_loss(np, *moved).total)
        slope = (sides[0] - sides[1]) / 2e-6
        assert float(tensors[position].grad[place]) == pytest.approx(slope, abs=1e-5)


@pytest.mark.slow
def test_keras_gives_the_same_loss():
    import keras

    arrays = random_example()
    tensors = [keras.ops.convert_to_tensor(array) for array in arrays]
    loss = detection_loss(keras.ops, *tensors)
    assert float(loss.total) == pytest.approx(detection_loss(np, *arrays).total, rel=1e-5)
