"""Files are run in a process that may die of them, and only it."""

from __future__ import annotations

from mnasfpn.models.doctor.inspected_file import InspectedFile
from mnasfpn.models.doctor.trial import TrialProcess
from mnasfpn.tests.models.doctor.detector_files import BOXES, CLASSES, raw_parts
from mnasfpn.tests.models.doctor.mutations import mutants


def test_a_file_is_run_and_its_outputs_are_told() -> None:
    with TrialProcess() as trials:
        trial = trials.run(InspectedFile(raw_parts().pack()))
    assert trial.stage == "ran"
    assert trial.outputs == (("float32", (1, BOXES, 4)), ("float32", (1, BOXES, CLASSES)))


def test_a_file_of_which_the_runtime_dies_takes_only_its_process() -> None:
    """The runtime trusts offsets; one that leads far away ends its process, not ours."""
    parts = raw_parts()
    content = bytearray(parts.pack())
    good = InspectedFile(bytes(content))
    operators = content.index(b"feature/kernel")
    content[operators - 64 : operators] = b"\xff" * 64
    with TrialProcess() as trials:
        bad = InspectedFile(bytes(content))
        object.__setattr__(bad, "subgraphs", good.subgraphs)
        assert trials.run(bad).stage == "nothing"
        assert trials.run(good).stage == "ran"


def test_what_fails_at_the_first_image_has_been_loaded() -> None:
    content = mutants()["nms: max_classes_per_detection missing"]
    with TrialProcess() as trials:
        trial = trials.run(InspectedFile(content))
    assert (trial.stage, trial.outputs) == ("loaded", ())
    assert trial.message


def test_a_process_that_hangs_is_ended() -> None:
    with TrialProcess(most_s=0.0) as trials:
        trial = trials.run(InspectedFile(raw_parts().pack()))
    assert trial.stage == "nothing"
    assert "did not answer within" in trial.message
