"""The doctor's verdict on each file of the table, against what the mediapipe wheel does with it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnasfpn.models.doctor.attempt import AttemptProcess
from mnasfpn.models.doctor.clients import CLIENTS, diagnose
from mnasfpn.models.doctor.finding import Diagnosis
from mnasfpn.tests.models.doctor.alterations import custom_operator, unaligned
from mnasfpn.tests.models.doctor.detector_files import FORMS, nms_parts, raw_parts
from mnasfpn.tests.models.doctor.mediapipe_verdicts import RECORDED
from mnasfpn.tests.models.doctor.mutations import ALTERED, DAMAGED, mutants

recorded: dict[str, Any] = json.loads(RECORDED.read_text())
files = cache(mutants)


@pytest.fixture(scope="module")
def attempts() -> Iterator[AttemptProcess]:
    with AttemptProcess() as process:
        yield process


def seen(diagnosis: Diagnosis) -> list[str]:
    return [f"{each.level} {each.part}: {each.found}" for each in diagnosis.findings]


def test_every_file_of_the_table_has_a_recorded_verdict() -> None:
    names = {f"{form}: {name}" for form, name in (*ALTERED, *DAMAGED)}
    assert set(recorded["verdicts"]) == names == set(files())
    assert len(set(files().values())) == len(names)  # every change changes something
    counts = Counter(each["verdict"] for each in recorded["verdicts"].values())
    assert counts["refuses"] >= 40
    assert counts["works"] >= 40
    assert counts["fails"] >= 10


@pytest.mark.parametrize("name", recorded["verdicts"])
def test_the_doctor_says_what_mediapipe_does(name: str, attempts: AttemptProcess) -> None:
    diagnosis = diagnose(files()[name], "mediapipe", attempts)
    real = recorded["verdicts"][name]
    assert diagnosis.verdict == real["verdict"], (real["reason"], seen(diagnosis))
    for finding in diagnosis.findings:
        if finding.level != "notes":
            assert finding.needs
            assert finding.found
            assert finding.change


@pytest.mark.slow
@pytest.mark.skipif(
    find_spec("mediapipe") is None,
    reason="mediapipe is not installed: only its recorded verdicts are compared",
)
def test_the_recorded_verdicts_are_those_of_the_wheel() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mnasfpn.tests.models.doctor.mediapipe_verdicts"],
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)["verdicts"]
    expected = {name: each["verdict"] for name, each in recorded["verdicts"].items()}
    assert {name: each["verdict"] for name, each in found.items()} == expected


def test_findings_say_what_is_wrong_in_words(attempts: AttemptProcess) -> None:
    """The reason is the true one: it names what was changed."""
    for name, part, word in (
        ("nms: no normalisation", "input", "none, and the input is float32"),
        ("nms: labels named but not there", "labels", "it is not there"),
        ("raw: an anchor less", "anchors", "63"),
        ("raw: outputs in the other order", "outputs", "[1, 64, 3]"),
        ("nms: boxes in pixels", "outputs", "PIXEL"),
        ("raw: unknown custom operator", "graph", "MySecretOperator"),
        ("raw: constant too short", "file", "feature/kernel"),
        ("raw: half the file", "file", "bytes at"),
    ):
        first = diagnose(files()[name], "mediapipe", attempts).findings[0]
        assert (first.part, word in first.found) == (part, True), (name, first)


def test_files_in_order_are_praised_by_every_client_that_can_use_them(
    attempts: AttemptProcess,
) -> None:
    raw, nms = raw_parts().pack(), nms_parts().pack()
    for client in CLIENTS:
        assert diagnose(raw, client, attempts).verdict == "works"
        expected = "refuses" if client == "litert-gpu" else "works"
        assert diagnose(nms, client, attempts).verdict == expected


def test_custom_operators_are_refused_where_they_are_not_known(attempts: AttemptProcess) -> None:
    flex = files()["raw: Flex operator"]
    for client in CLIENTS:
        diagnosis = diagnose(flex, client, attempts)
        assert diagnosis.verdict == "refuses"
        assert any("FlexErf" in finding.found for finding in diagnosis.findings)


def test_operators_that_only_mediapipe_has_are_not_tried(attempts: AttemptProcess) -> None:
    parts = raw_parts()
    custom_operator(parts, "MaxUnpooling2D")
    content = parts.pack()
    assert diagnose(content, "litert-cpu", attempts).verdict == "refuses"
    diagnosis = diagnose(content, "mediapipe", attempts)
    assert diagnosis.verdict == "works"
    assert "operators: not run here: MaxUnpooling2D" in " ".join(seen(diagnosis))


@settings(max_examples=60)
@given(st.sampled_from(list(CLIENTS)), st.sampled_from(list(FORMS)), st.data())
def test_any_damage_gets_a_verdict_of_any_client(
    attempts: AttemptProcess, client: str, form: str, data: st.DataObject
) -> None:
    content = bytearray(FORMS[form]().pack())
    at = data.draw(st.integers(0, len(content) - 4))
    content[at : at + 4] = data.draw(st.binary(min_size=4, max_size=4))
    diagnosis = diagnose(bytes(content), client, attempts)
    refused = any(finding.level == "refuses" for finding in diagnosis.findings)
    assert (diagnosis.verdict == "refuses") is refused


def test_clients_without_metadata_need_none(attempts: AttemptProcess) -> None:
    parts = raw_parts()
    parts.metadata = parts.options = None
    content = parts.pack()
    verdicts = {client: diagnose(content, client, attempts).verdict for client in CLIENTS}
    assert verdicts == {
        client: "refuses" if client.startswith("mediapipe") else "works" for client in CLIENTS
    }


def test_constants_that_are_not_aligned_are_warned_of(attempts: AttemptProcess) -> None:
    aligned = raw_parts()
    crooked = raw_parts()
    unaligned(crooked)
    for parts, told in ((aligned, False), (crooked, True)):
        diagnosis = diagnose(parts.pack(), "litert-cpu", attempts)
        assert diagnosis.verdict == "works"
        assert any(finding.part == "alignment" for finding in diagnosis.findings) is told


def test_the_runtimes_partitions_are_counted(attempts: AttemptProcess) -> None:
    assert diagnose(raw_parts().pack(), "litert-cpu", attempts).partitions == 1
    assert diagnose(b"", "litert-cpu", attempts).partitions is None
