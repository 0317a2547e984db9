"""Operator profiles, as text and as CSV."""

from __future__ import annotations

from pathlib import Path

import pytest

from mnasfpn.android_harness.measurement import OpTiming
from mnasfpn.android_harness.tool_output.benchmark_output import parse_output
from mnasfpn.android_harness.tool_output.profiler import parse_profile
from mnasfpn.errors import BenchmarkOutputError

OUTPUTS = Path(__file__).parent / "outputs"
ERA_F = (OUTPUTS / "F_tf2.8_2022_sci_notation_opprof.txt").read_text()
ERA_G = (OUTPUTS / "G_tf2.12+_xnnpack_opprof.txt").read_text()
CSV = (OUTPUTS / "G_opprof.csv").read_text()


def test_text_with_a_start_column() -> None:
    profile = parse_output(ERA_F).profile
    assert profile is not None
    assert profile.timings() == (
        OpTiming("CONV_2D", "[Net/Conv2d_0/Relu6]:0", 60957.0),
        OpTiming("SOFTMAX", "[Net/Pred]:1", 616.0),
    )
    assert [row.start_ms for row in profile.rows] == [0.066, 61.011]
    assert profile.sections[0].total_us == 61573


def test_text_whose_types_hold_commas_and_spaces() -> None:
    rows = parse_profile(ERA_G).rows
    assert [row.op for row in rows] == [
        "QUANTIZE",
        "Convolution (NHWC, QC8) IGEMM",
        "Convolution (NHWC, QC8) DWConv",
        "Add (ND, QS8)",
        "TFLite_Detection_PostProcess",
    ]
    assert rows[1].name == "Delegate/Convolution (NHWC, QC8) IGEMM:0"
    assert rows[1].start_ms is None


def test_csv_is_the_same_table_with_more_digits() -> None:
    csv, text = parse_profile(CSV).rows, parse_profile(ERA_G).rows
    assert [row.op for row in csv] == [row.op for row in text]
    assert [row.name for row in csv][1] == "Delegate/Convolution (NHWC, QC8) IGEMM:0"
    assert csv[2].avg_ms == 0.0510032
    assert [row.avg_ms for row in csv] == pytest.approx([row.avg_ms for row in text], abs=5e-4)


def test_csv_with_a_start_column() -> None:
    csv = (
        "============================== Run Order ==============================\n"
        "node type, start, first, avg_ms, %, cdf%, mem KB, times called, name\n"
        "CONV_2D, 0.066, 87.754, 60.957, 99%, 99%, 0, 1, [a\t b]:0\n"
        "SOFTMAX, 61.011, 0.6, 0.616, 1%, 100%, 0, 1, [Net/Pred]:1\n\n"
    )
    rows = parse_profile(csv).rows
    assert (rows[0].start_ms, rows[0].avg_ms, rows[0].name) == (0.066, 60.957, "[a, b]:0")


def test_initialisation_and_nested_tables_are_not_the_model() -> None:
    header, table = ERA_F.split("Operator-wise Profiling Info for Regular Benchmark Runs:\n")
    text = (
        "Profiling Info for Benchmark Initialization:\n"
        + table.replace("CONV_2D", "AllocateTensors")
        + "Operator-wise Profiling Info for Regular Benchmark Runs:\n"
        + "Primary graph (name: main) Pre-invoke:\n"
        + table
        + "Subgraph (index: 1, name: body) Pre-invoke:\n"
        + table.replace("CONV_2D", "ADD")
        + "Delegate internal:\n"
        + table.replace("CONV_2D", "MUL")
    )
    profile = parse_output(header + text).profile
    assert profile is not None
    assert len(profile.sections) == 4
    assert [row.op for row in profile.rows] == ["CONV_2D", "SOFTMAX"]


def test_the_sum_of_the_rows_is_the_inference() -> None:
    profile = parse_profile(ERA_G)
    total = sum(row.cost_us for row in profile.rows)
    assert total == pytest.approx(15318)
    assert total == pytest.approx(profile.sections[0].total_us, rel=1e-3)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("14.021\t", "1.4021\t", "contradicts itself"),
        ("       13\t", "       31\t", "contradicts itself"),
        ("100.000%", " 99.000%", "contradicts itself"),
        ("5 nodes observed", "6 nodes observed", "6 nodes observed"),
        ("avg=15311", "avg=25311", "add up to"),
        ("14.021\t", "n/a\t", "cannot read the row"),
        ("[avg ms]", "[avg us]", "unknown heading"),
    ],
)
def test_a_table_that_contradicts_itself(old: str, new: str, says: str) -> None:
    assert old in ERA_G
    with pytest.raises(BenchmarkOutputError, match=says):
        parse_profile(ERA_G.replace(old, new))


def test_a_row_lost_at_the_end_is_noticed() -> None:
    half = (
        "=== Run Order ===\n"
        "node type, first, avg_ms, %, cdf%, mem KB, times called, name\n"
        "CONV_2D, 1, 1, 99.5%, 99.5%, 0, 1, a:0\n\n"
    )
    with pytest.raises(BenchmarkOutputError, match="must reach 100 %"):
        parse_profile(half)


def test_cut_off_in_the_middle() -> None:
    with pytest.raises(BenchmarkOutputError, match="breaks off"):
        parse_profile(CSV.rstrip("\n"))


def test_no_table_at_all() -> None:
    with pytest.raises(BenchmarkOutputError, match="enable_op_profiling"):
        parse_profile("Inference timings in us: Init: 1\n")
