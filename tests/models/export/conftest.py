from __future__ import annotations

import pytest

from mnasfpn.models.export.judged_images import HeldOut, calibration_images
from mnasfpn.tests.models.export.small_detector import SIZE, digits, visible_weights


@pytest.fixture(scope="session")
def weights():
    return visible_weights()


@pytest.fixture(scope="session")
def splits(tmp_path_factory):
    return digits(tmp_path_factory.mktemp("export"))


@pytest.fixture(scope="session")
def held_out(splits):
    return HeldOut(SIZE, splits[1])


@pytest.fixture(scope="session")
def calibration(splits):
    return calibration_images(splits[0], SIZE, 4)
