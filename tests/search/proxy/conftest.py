"""A tiny dataset, and the proxy task prepared from it."""

from __future__ import annotations

import pytest

from mnasfpn.models.data.digits import DigitsSettings, write_digits
from mnasfpn.search.proxy.preparation import prepare_proxy
from mnasfpn.tests.search.proxy.tiny_proxy import SETTINGS


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    settings = DigitsSettings(train=6, validation=3, size=64, most=2, smallest=0.3)
    return write_digits(tmp_path_factory.mktemp("proxy") / "digits", settings)


@pytest.fixture(scope="session")
def task(dataset, tmp_path_factory):
    return prepare_proxy(dataset, tmp_path_factory.mktemp("task") / "proxy", SETTINGS)
