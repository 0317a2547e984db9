"""Files are run in a process that may die of them, and only it."""

from __future__ import annotations

import sys

import pytest

from mnasfpn.errors import JobFailed
from mnasfpn.models.doctor.attempt import AttemptProcess
from mnasfpn.models.doctor.inspected_file import InspectedFile
from mnasfpn.tests.models.doctor.detector_files import BOXES, CLASSES, raw_parts
from mnasfpn.tests.models.doctor.mutations import mutant


def test_a_file_is_run_and_its_outputs_are_told() -> None:
    with AttemptProcess() as attempts:
        attempt = attempts.run(InspectedFile(raw_parts().pack()))
    assert attempt.stage == "ran"
    assert attempt.outputs == (("float32", (1, BOXES, 4)), ("float32", (1, BOXES, CLASSES)))


def test_a_file_of_which_the_runtime_dies_takes_only_its_process() -> None:
    bad = InspectedFile(mutant("nms", "no options at all"))
    with AttemptProcess() as attempts:
        attempt = attempts.run(bad)
        assert attempt.stage == "nothing"
        assert attempt.message.startswith("the runtime's process died of it (")
        assert attempts.run(InspectedFile(raw_parts().pack())).stage == "ran"


def test_an_ended_process_is_not_blamed_on_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mnasfpn.models.doctor.attempt.COMMAND", [sys.executable, "-c", "exit(3)"])
    with AttemptProcess() as attempts, pytest.raises(JobFailed, match="exit code 3"):
        attempts.run(InspectedFile(raw_parts().pack()))


def test_what_fails_at_the_first_image_has_been_loaded() -> None:
    content = mutant("nms", "max_classes_per_detection missing")
    with AttemptProcess() as attempts:
        attempt = attempts.run(InspectedFile(content))
    assert (attempt.stage, attempt.outputs) == ("loaded", ())
    assert attempt.message


def test_a_process_that_hangs_is_ended() -> None:
    with AttemptProcess(most_s=0.0) as attempts:
        attempt = attempts.run(InspectedFile(raw_parts().pack()))
    assert attempt.stage == "nothing"
    assert "did not answer within" in attempt.message
