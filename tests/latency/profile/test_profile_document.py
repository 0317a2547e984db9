"""docs/device-profile.md describes every field there is, and none that is not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from mnasfpn.android_harness.measurement import DeviceInfo
from mnasfpn.latency.profile.calibration import Calibration, FamilyCalibration, Interval
from mnasfpn.latency.profile.device_profile import (
    CampaignRecord,
    DeviceProfile,
    MeasuredHead,
    MeasuredNetwork,
)
from mnasfpn.latency.profile.regressor import Regressor, Trees
from mnasfpn.latency.profile.table import MeasuredKernel
from mnasfpn.latency.profile.validation import Agreement, Figure, HeldOutModel, Validation

DOCUMENT = Path(__file__).parents[3] / "docs" / "device-profile.md"
SECTIONS: dict[str, type] = {
    "device": DeviceInfo,
    "campaign": CampaignRecord,
    "table": MeasuredKernel,
    "heads": MeasuredHead,
    "networks": MeasuredNetwork,
    "regressors": Regressor,
    "calibration": Calibration,
    "validation": Validation,
}
#: Described inside another field's row.
NESTED: dict[tuple[str, str], tuple[type, ...]] = {
    ("regressors", "trees"): (Trees,),
    ("calibration", "families"): (FamilyCalibration,),
    ("calibration", "intervals"): (Interval,),
    ("validation", "accuracy"): (Agreement, Figure),
    ("validation", "points"): (HeldOutModel,),
}


def names(kind: type) -> list[str]:
    return [field.name for field in fields(kind)]


def rows(text: str) -> Iterator[tuple[list[str], str]]:
    """(fields in the first cell, the whole row) of each row of a table of fields."""
    for line in text.splitlines():
        first = line.split("|")[1] if line.startswith("| `") else ""
        if found := re.findall(r"`(\w+)`", first):
            yield found, line


def sections() -> dict[str, str]:
    _before, *others = re.split(r"^##+ ", DOCUMENT.read_text(), flags=re.MULTILINE)
    return {part.split()[0].strip("`:"): part for part in others}


def test_every_field_of_a_profile_is_a_row_or_a_section() -> None:
    described = [name for found, _ in rows(sections()["Fields"]) for name in found]
    assert sorted([*described, *SECTIONS]) == sorted(names(DeviceProfile))


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_has_the_fields_of_its_class(section: str) -> None:
    described = [name for found, _ in rows(sections()[section]) for name in found]
    assert sorted(described) == sorted(names(SECTIONS[section]))


@pytest.mark.parametrize(("section", "field"), NESTED)
def test_what_a_field_holds_is_in_its_row(section: str, field: str) -> None:
    row = next(line for found, line in rows(sections()[section]) if field in found)
    mentioned = set(re.findall(r"`(\w+)`", row))
    assert {name for kind in NESTED[section, field] for name in names(kind)} <= mentioned
