"""What keeps a graph off GPUs and NPUs."""

from __future__ import annotations

import pytest
from ai_edge_litert import schema_py_generated as schema

from mnasfpn.models.doctor.delegation import GPU_TAKES, delegation_findings
from mnasfpn.models.doctor.finding import Finding
from mnasfpn.models.doctor.inspected_file import InspectedFile
from mnasfpn.models.tflite.schema import BUILTIN_NAMES, DETECTION_NAME
from mnasfpn.tests.models.doctor.alterations import code, new_tensor, operator, reshape, tensor
from mnasfpn.tests.models.doctor.detector_files import Parts, nms_parts, raw_parts


def found(parts: Parts) -> list[Finding]:
    return list(delegation_findings(InspectedFile(parts.pack()).main))


def with_operator(builtin: int, count: int = 1) -> Parts:
    parts = raw_parts()
    opcode = code(parts, builtin)
    for place in range(count):
        scores = tensor(parts, "scores")
        index = parts.graph.tensors.index(scores)
        made = new_tensor(parts, f"more{place}", scores, schema.TensorType.FLOAT32)
        parts.graph.operators.append(operator(parts, opcode, [index], [made]))
    return parts


def test_a_plain_detector_is_taken_whole() -> None:
    assert found(raw_parts()) == []


def test_the_table_names_operators_that_there_are() -> None:
    assert set(BUILTIN_NAMES.values()) >= GPU_TAKES


def test_operators_that_are_not_taken_are_counted() -> None:
    (finding,) = found(with_operator(schema.BuiltinOperator.NON_MAX_SUPPRESSION_V4, 3))
    assert finding.level == "warns"
    assert finding.found == "3 times NON_MAX_SUPPRESSION_V4: not taken by the GPU"


@pytest.mark.parametrize("name", ["GATHER_ND", "TOPK_V2", "CAST"])
def test_what_users_report_is_told(name: str) -> None:
    reasons = found(with_operator(getattr(schema.BuiltinOperator, name)))
    assert f"{name}: often not taken by NPUs" in [finding.found for finding in reasons]


@pytest.mark.parametrize(
    ("kind", "taken"), [("INT32", True), ("BOOL", True), ("INT64", False), ("UINT8", False)]
)
def test_casts_are_judged_by_their_types(kind: str, taken: bool) -> None:
    parts = with_operator(schema.BuiltinOperator.CAST)
    tensor(parts, "more0").type = getattr(schema.TensorType, kind)
    told = [finding.found for finding in found(parts) if "GPU" in finding.found]
    refused = f"CAST: float32 to {kind.lower()} is not taken by the GPU"
    assert told == ([] if taken else [refused])


def test_post_processing_is_refused_on_a_gpu() -> None:
    (finding,) = found(nms_parts())
    assert (finding.level, finding.found.split(":")[0]) == ("refuses", DETECTION_NAME)
    assert "--nms" in finding.change


def test_tensors_of_five_axes_are_told_but_not_constants() -> None:
    parts = raw_parts()
    reshape(parts, "boxes", 1, 1, 8, 8, 4)
    (finding,) = found(parts)
    assert finding.found == "RESHAPE: tensors of 5 axes, more than 4"
