"""Laws on made-up heads: the one that made them wins, and the simplest of equals is chosen."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from mnasfpn.benchmarks.ablation import compare, main, simplest
from mnasfpn.benchmarks.laws import LAWS, Law, Models, fit, predict
from mnasfpn.latency.profile.device_profile import DeviceProfile, save_profile

PLAIN, ONE, WEIGHTS, SETTLING = (
    next(law for law in LAWS if law.name == name and not law.operators)
    for name in (
        *("plain sum", "one factor", "one factor, weights"),
        "one factor, tensors, weights, settling",
    )
)


def models(seed: int, count: int = 40, factor: float = 1.2, weights: float = 80.0) -> Models:
    """Of two families; each kernel of a model is a step of it."""
    rng = np.random.default_rng(seed)
    steps = rng.uniform(1, 50, (count, 6, 2, 4)) * (20, 0.01, 0.01, 0.01)
    steps[:, ::2, 0] = steps[:, 1::2, 1] = 0.0
    steps_us = factor * steps[..., 0].sum(axis=2) + weights * steps[..., 2].sum(axis=2)
    noise = np.exp(rng.normal(0, 0.01, count))
    return Models(
        latency_us=steps_us.sum(axis=1) * noise,
        families=steps.sum(axis=1),
        overheads=np.tile((1.0, 1.0, 0.5), (count, 1)),
        steps=tuple(zip(steps, steps_us, strict=True)),
    )


def error(law: Law, seed: int = 1) -> float:
    tested = models(seed + 100)
    predicted_us = predict(law, tested, fit(law, models(seed)))
    return float(np.abs(predicted_us / tested.latency_us - 1).mean())


def test_the_law_that_made_the_heads_predicts_them() -> None:
    assert error(PLAIN) > error(ONE) > 1.5 * error(WEIGHTS)
    assert error(WEIGHTS) < 0.02
    _, (factor, price) = fit(WEIGHTS, models(1))
    assert (factor, price) == (pytest.approx(1.2, rel=0.03), pytest.approx(80, rel=0.1))


def test_operators_say_what_whole_heads_cannot_tell() -> None:
    """Five heads and their steps, against five heads alone."""
    few, tested = models(3, count=5), models(4)
    few = replace(few, latency_us=few.latency_us * np.exp([0.1, -0.1, 0.1, -0.1, 0.05]))

    def off(law: Law) -> float:
        return float(np.abs(predict(law, tested, fit(law, few)) / tested.latency_us - 1).mean())

    assert off(replace(WEIGHTS, operators=True)) < off(WEIGHTS)


def test_what_a_fast_model_pays_less_of_is_settling() -> None:
    made = models(5, weights=0.0)
    cold_us = 300 * made.families[..., 1:3].sum(axis=(1, 2))
    warm_us = made.latency_us
    scale = np.geomspace(0.1, 10, len(warm_us))  # of small and large models
    half = (warm_us + cold_us) * scale / 2 - 4e3 / 2
    slowed = replace(
        made,
        families=made.families * scale[:, None, None],
        latency_us=half + np.sqrt(half**2 + warm_us * scale * 4e3),
    )
    settling_us, _ = fit(SETTLING, slowed)
    assert settling_us == 4e3


def test_the_simplest_that_is_not_significantly_worse_is_chosen() -> None:
    rng = np.random.default_rng(0)
    base = [rng.normal(0, 0.03, 60) for _ in range(4)]
    errors = {
        PLAIN: [each + 0.08 for each in base],
        ONE: [each * rng.normal(1.0, 0.02, 60) for each in base],
        SETTLING: base,
    }
    rows = compare(errors, ["quiet", "quiet", "loaded", "loaded"])
    assert [row.worse for row in rows] == [True, False, False]
    assert simplest(rows).law is ONE
    assert all(row.low <= row.ratio <= row.high for row in rows)


@pytest.mark.slow
def test_a_profile_without_operator_profiles_compares_laws_without(
    measured: DeviceProfile, tmp_path: Path
) -> None:
    save_profile(measured, tmp_path / "p.json")
    done = CliRunner().invoke(main, [str(tmp_path / "p.json"), "--out", str(tmp_path)])
    assert done.exit_code == 0, done.output
    result = json.loads((tmp_path / "ablation.json").read_text())
    assert len(result["laws"]) == (len(LAWS) + 1) / 2
    assert not any(row["law"]["operators"] for row in result["laws"])
    by_name = {row["law"]["name"]: row["rmspe"][0] for row in result["laws"]}
    assert by_name["plain sum"] > 2 * by_name["one factor, tensors, weights, settling"]
    assert f"**{result['chosen']['name']}**" in (tmp_path / "ablation.md").read_text()
