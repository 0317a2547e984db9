from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from mnasfpn.errors import InvalidProfile
from mnasfpn.latency.estimate.estimate import estimate
from mnasfpn.latency.profile.device_profile import (
    DeviceProfile,
    from_json,
    load_profile,
    save_profile,
    to_json,
)
from mnasfpn.latency.profiles import open_profile
from mnasfpn.latency.profiling.head_graph import head_graph

SCHEMA_2 = Path(__file__).with_name("schema_2.json")


def test_a_profile_comes_back_as_it_was(fitted: DeviceProfile, tmp_path: Path) -> None:
    save_profile(fitted, tmp_path / "p.json")
    assert load_profile(tmp_path / "p.json") == fitted


def test_rows_stand_on_lines_of_their_own(fitted: DeviceProfile) -> None:
    lines = to_json(fitted).splitlines()
    for row in fitted.table:
        assert sum(json.dumps(row.kernel) in line for line in lines) == 1


def damaged(text: str, path: str, value: object) -> str:
    """A profile's JSON with one field changed; ``...`` takes it away."""
    document = json.loads(text)
    *parents, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    place = document
    for key in parents:
        place = place[key]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return json.dumps(document)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("schema", 99, "schema 99, this version of mnasfpn reads 2 and 3; make it again"),
        ("schema", ..., "missing required field `schema`"),
        ("device", ..., "missing required field `device`"),
        ("device.cores", "big", r"\$\.device\.cores"),
        ("table.3.latency_us", "fast", r"\$\.table\[3\]\.latency_us"),
        ("table.3.latency_us", -1.0, r"'latency_us' must be positive.*\$\.table\[3\]"),
        ("table.3.latency_us", ..., r"missing required field `latency_us` - at `\$\.table\[3\]`"),
        ("table.0.kernel", "conv?", "not a kernel's signature"),
        ("runtime", "tensorrt", "no runtime is called 'tensorrt'"),
        ("provenance", "guessed", r"\$\.provenance"),
        ("calibration.families.float32.factor", -1.0, "'factor' must not be negative.*families"),
        ("heads.0.genotype.blocks.0.level", 9, r"level 9 cannot be reached.*\$\.heads"),
        ("regressors.conv_1x1.coefficients", [1.0], r"Expected `object`.*coefficients"),
        ("regressors.conv_1x1.coefficients", {"colour": 1.0}, r"unknown features colour; known"),
        ("regressors.conv_1x1.coefficients", {"pixels": -1.0}, r"must not be negative"),
        ("regressors.conv_1x1.half_width", -0.1, "must not be negative"),
        ("calibration.half_width", -0.1, "'half_width' must not be negative"),
        ("calibration.coverage", 90, "'coverage' is a probability, got 90"),
        ("calibration.intervals.heads.high", 0.1, r"is none.*\$\.calibration\.intervals"),
        ("dispatch_us", -2.0, "'dispatch_us' must not be negative"),
    ],
)
def test_a_damaged_profile_names_the_field(fitted, path, value, message) -> None:
    with pytest.raises(InvalidProfile, match=message):
        from_json(damaged(to_json(fitted), path, value))


def test_a_profile_of_schema_2_says_what_it_said_then(tmp_path: Path) -> None:
    """Cut from one that version 0.1.0 wrote; the milliseconds are what that version answered."""
    profile = load_profile(SCHEMA_2)
    assert profile.campaign.protocol == "simulated"
    head = profile.heads[0]
    found = estimate(head_graph(head.genotype, head.channels, head.input_size), profile)
    then = (1.853736209614082, 1.7507135005495265, 1.962821406104289)
    assert (found.latency_ms, found.low_ms, found.high_ms) == pytest.approx(then, rel=1e-12)
    save_profile(profile, tmp_path / "p.json")
    assert json.loads((tmp_path / "p.json").read_text())["schema"] == 3
    assert load_profile(tmp_path / "p.json") == profile


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("regressors.add.error", -0.1, r"'half_width' must not be negative.*\$\.regressors"),
        ("regressors.add.error", ..., "missing required field `half_width`"),
        ("regressors", [1], r"Expected `object`.*\$\.regressors"),
        ("measuring", ..., "missing required field `campaign`"),
        ("table.3.latency_us", "fast", r"\$\.table\[3\]\.latency_us"),
    ],
)
def test_a_damaged_profile_of_schema_2_names_the_field_too(path, value, message) -> None:
    with pytest.raises(InvalidProfile, match=message):
        from_json(damaged(SCHEMA_2.read_text(), path, value))


def test_a_profile_of_schema_2_that_was_not_fitted_opens() -> None:
    text = damaged(SCHEMA_2.read_text(), "calibration", None)
    assert from_json(damaged(text, "regressors", {})).calibration is None


def test_a_kernel_with_two_rows_is_refused(fitted: DeviceProfile) -> None:
    rows = json.loads(to_json(fitted))["table"]
    with pytest.raises(InvalidProfile, match="two rows"):
        from_json(damaged(to_json(fitted), "table", [*rows, rows[0]]))


@pytest.mark.parametrize("text", ["", "{", "[]", "profile", '{"schema": 2}', "\x00\x01"])
def test_what_is_no_profile_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text(text)
    with pytest.raises(InvalidProfile, match=r"p\.json is not a device profile"):
        load_profile(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidProfile, match="mnasfpn profile"):
        load_profile(tmp_path / "none.json")


WHY = ("the 3 closest processes are 9.0% apart, limit 5%",)


def judged(profile: DeviceProfile, kernels: int, heads: int) -> DeviceProfile:
    """The first so many are UNSTABLE."""
    table = tuple(
        replace(row, reasons=WHY if i < kernels else ()) for i, row in enumerate(profile.table)
    )
    models = tuple(
        replace(head, reasons=WHY if i < heads else ()) for i, head in enumerate(profile.heads)
    )
    return replace(profile, table=table, heads=models)


def test_a_profile_says_how_much_of_it_is_unstable(fitted: DeviceProfile) -> None:
    rows, heads = len(fitted.table), len(fitted.heads)
    found = judged(fitted, rows // 2, 3)
    shares = {"kernels": (rows // 2) / rows, "whole models": 3 / heads}
    assert found.unstable_shares == shares
    words = f"UNSTABLE: {(rows // 2) / rows:.0%} of kernels, {3 / heads:.0%} of whole models"
    assert found.summary == f"{found.validation}; {words}"
    assert from_json(to_json(found)).unstable_shares == shares
    assert judged(fitted, 0, 0).unstable == "0% of kernels, 0% of whole models"


def test_profiles_of_0_1_0_say_it_of_all_measurements_together(fitted: DeviceProfile) -> None:
    document = json.loads(to_json(fitted))
    for row in document["table"]:
        del row["reasons"]
    document["campaign"]["unstable"] = 0.125
    old = from_json(json.dumps(document))
    assert old.unstable_shares == {"measurements": 0.125}
    assert old.summary == f"{fitted.validation}; UNSTABLE: 12% of measurements"


def test_published_numbers_are_judged_by_nobody() -> None:
    published = open_profile("pixel1-published")
    assert published.unstable_shares == {}
    assert published.summary == str(published.validation)
