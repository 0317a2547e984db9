"""The main job from end to end, everything as small as it can be; and continued, as a proof."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mnasfpn.cli.quickstart import Folder, Size, run_quickstart
from mnasfpn.errors import InvalidInput
from mnasfpn.latency.profile.device_profile import load_profile, save_profile
from mnasfpn.latency.profiles import open_profile
from mnasfpn.models.data.digits import DigitsSettings
from mnasfpn.models.space import Space
from mnasfpn.models.training.pretrain import PretrainSettings
from mnasfpn.models.training.recipes import RECIPES
from mnasfpn.search.proxy.proxy_settings import ProxySettings
from mnasfpn.tests.cli.simulated_host import SimulatedHost

TINY = Size(
    space=Space("tiny", channels=(16,), kernels=(3,), expansions=(16, 32)),
    calibration_heads=6,
    validation_heads=6,
    samples=3,
    batch=2,
    workers=1,
    digits=DigitsSettings(train=24, validation=8),
    proxy=ProxySettings(steps=2, pretrain=PretrainSettings(steps=2, variants=1)),
    recipe=replace(RECIPES["digits"], length=2, warmup=1, batch_size=4),
)


def assert_leaves_what_it_promises(folder: Folder, result: dict[str, Any], source: str) -> None:
    json.dumps(result)
    profile = load_profile(folder.profile)
    assert profile.provenance == source
    assert profile.validation is not None
    assert profile.validation.accuracy.models == TINY.validation_heads
    assert profile.validation.noise_floor is not None
    assert {item["file"] for item in result["shipped"]} == {
        "winner-float32.tflite",
        "winner-int8.tflite",
        "winner-full-size.tflite",
    }
    for item in result["shipped"]:
        assert item["measured_ms"] > 0
        assert (folder.root / item["file"]).stat().st_size == item["size_bytes"]
    exact = next(item for item in result["shipped"] if "float32" in item["file"])
    assert exact["keras_difference"] < 1e-4
    page = folder.report.read_text()
    for heading in ("How good are the predictions?", "What was found?", "The chosen cell"):
        assert heading in page
    assert page.count("<svg") == 4  # scatter, frontier, cell, breakdown


@pytest.mark.slow
@pytest.mark.usefixtures("uncompiled")
def test_quickstart_on_a_simulated_pc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it but this PC's clock."""
    monkeypatch.setattr("mnasfpn.android_harness.host.host.HostDevice", SimulatedHost)
    monkeypatch.setattr("mnasfpn.cli.quickstart.EXPORT_IMAGES", 2)
    folder = Folder(tmp_path / "out")
    result = run_quickstart(folder.root, seed=0, quiet=True, size=TINY)
    assert_leaves_what_it_promises(folder, result, "simulated")


@pytest.mark.proof
@pytest.mark.timeout(600)
def test_quickstart_continues_what_it_began(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "out")
    result = run_quickstart(folder.root, seed=0, quiet=True, size=TINY)
    assert_leaves_what_it_promises(folder, result, "measured")
    profile = load_profile(folder.profile)
    runs = folder.store.stat().st_mtime_ns
    again = run_quickstart(folder.root, seed=0, quiet=True, size=TINY)
    assert again["best_trial"] == result["best_trial"]
    assert again["r2"] == result["r2"]
    assert load_profile(folder.profile) == profile
    assert folder.store.stat().st_mtime_ns >= runs


def test_a_profile_that_is_not_the_quickstarts_is_refused(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    unfitted = replace(open_profile("pixel1-published"), validation=None)
    save_profile(unfitted, folder.profile)
    with pytest.raises(InvalidInput, match="not fitted; choose another folder"):
        run_quickstart(tmp_path, seed=0, quiet=True, size=TINY)
    assert list(tmp_path.iterdir()) == [folder.profile]
