from __future__ import annotations

from dataclasses import replace

import pytest

from mnasfpn.errors import InvalidInput
from mnasfpn.tests.search.proxy.tiny_proxy import SETTINGS


@pytest.mark.parametrize("change", [{"steps": 0}, {"batch_size": 0}, {"learning_rate": 0.0}])
def test_impossible_settings_are_refused(change):
    with pytest.raises(InvalidInput, match="at least 1 step"):
        replace(SETTINGS, **change)
