"""What broke other readers of this output, one test each."""

from __future__ import annotations

from pathlib import Path

import pytest

from mnasfpn.android_harness.tool_output.benchmark_output import Asked, check_asked, parse_output
from mnasfpn.android_harness.tool_output.profiler import parse_profile
from mnasfpn.errors import BenchmarkOutputError

OUTPUTS = Path(__file__).parent / "outputs"
ERA_E = (OUTPUTS / "E_tf2.3_2020.txt").read_text()
ERA_F = (OUTPUTS / "F_tf2.8_2022_sci_notation_opprof.txt").read_text()
ERA_G = (OUTPUTS / "G_tf2.12+_xnnpack_opprof.txt").read_text()
ERA_H = (OUTPUTS / "H_litert1.x_percentiles.txt").read_text()
ERA_I = "I_litert2.x_benchmark_litert_model"


def test_1_an_average_of_a_second_is_in_scientific_notation() -> None:
    assert parse_output(ERA_F).measured.avg_us == 2950340.0  # not 2, not 2.95034


def test_2_lines_may_begin_with_info() -> None:
    assert ERA_G.startswith("INFO: ")
    bare = ERA_G.replace("INFO: ", "")
    assert parse_output(ERA_G).measured == parse_output(bare).measured


def test_3_the_third_count_line_is_the_profile_not_the_latency() -> None:
    assert ERA_G.count("count=6") == 2
    assert parse_output(ERA_G).measured.avg_us == 15317.6  # not 15311


def test_1_a_run_of_a_tiny_model_takes_less_than_a_microsecond() -> None:
    """Times are cut to whole microseconds; some may be 0, but not all, and none below."""
    measured = ERA_H[ERA_H.index("count=50") :].splitlines()[0]
    tiny = "count=3 first=33 curr=0 min=0 max=33 avg=11.6667 std=15 p5=0 median=2 p95=33"

    def instead(line: str) -> str:
        """Of the run's statistics; the summary repeats its average."""
        return ERA_H.replace(measured, line).replace("1.24027e+06", "11.6667")

    assert parse_output(instead(tiny)).measured.min_us == 0
    for damaged in (tiny.replace("min=0", "min=-1"), "count=3 curr=0(all same) p5=0"):
        with pytest.raises(BenchmarkOutputError):
            parse_output(instead(damaged))


@pytest.mark.parametrize("text", ["", "\n", "hello\n", "Segmentation fault\n"])
def test_4_no_match_is_an_error_that_quotes_the_line(text: str) -> None:
    with pytest.raises(BenchmarkOutputError, match=text.strip() or "nothing"):
        parse_output(text)


def test_4_a_line_that_does_not_match_is_quoted() -> None:
    damaged = ERA_E.replace("count=50 first", "count=50 frist")
    with pytest.raises(BenchmarkOutputError, match="count=50 frist=248901"):
        parse_output(damaged)


def test_5_a_dry_run_measures_nothing() -> None:
    with pytest.raises(BenchmarkOutputError, match=r"measured nothing.*count=0"):
        parse_output((OUTPUTS / "X_dry_run_count0.txt").read_text())


def test_5_a_failing_invoke_prints_statistics_all_the_same() -> None:
    text = (OUTPUTS / "X_failed_invoke.txt").read_text()
    with pytest.raises(BenchmarkOutputError, match=r"exit code 1.*Benchmarking failed"):
        parse_output(text, exit_code=1)
    with pytest.raises(BenchmarkOutputError, match="ends with 'Benchmarking failed"):
        parse_output(text)  # an adb without exit codes


def test_6_good_runs_contain_the_word_error() -> None:
    noise = (
        "ERROR: [dispatch_delegate.cc:116] Failed to initialize Dispatch API\nWARNING: linker: x\n"
    )
    assert parse_output(ERA_H, noise).measured == parse_output(ERA_H).measured
    assert parse_output(noise + ERA_H).measured == parse_output(ERA_H).measured


@pytest.mark.parametrize(
    "said",
    ["WARN: Unconsumed cmdline flags: --use_xnnpack=true", "Duplicate flags: num_threads"],
)
def test_7_a_flag_that_was_ignored_is_an_error(said: str) -> None:
    with pytest.raises(BenchmarkOutputError, match=r"did not do what it was asked.*flags: "):
        parse_output(ERA_H, said + "\n")
    with pytest.raises(BenchmarkOutputError, match=r"did not do what it was asked.*flags: "):
        parse_output(said + "\n" + ERA_H)


def test_8_defaults_drift_so_the_echo_must_say_what_was_asked() -> None:
    silent = ERA_H.replace("INFO: Num threads: [1]\n", "")
    with pytest.raises(BenchmarkOutputError, match=r"Num threads: \[1\] but it does not say"):
        check_asked(parse_output(silent), Asked("/data/local/tmp/m.tflite"))


def test_9_delegate_coverage_is_recorded() -> None:
    (use,) = parse_output(ERA_G).delegates
    assert (use.nodes_taken, use.nodes, use.partitions) == (256, 267, 5)
    refused = ERA_H.replace(
        "Explicitly applied XNNPACK delegate, and the model graph will be partially executed by "
        "the delegate w/ 1 delegate kernels.",
        "Though XNNPACK delegate is explicitly applied, the model graph will not be executed by "
        "the delegate.",
    )
    assert parse_output(refused).delegates[0].extent == "none"


def test_10_carriage_returns_merged_streams_and_linker_warnings() -> None:
    merged = 'WARNING: linker: Warning: "x" unused DT entry\n' + ERA_H
    assert parse_output(merged.replace("\n", "\r\n")) == parse_output(ERA_H)


def test_11_litert2_rounds_its_block_to_10_us() -> None:
    stdout = (OUTPUTS / f"{ERA_I}_stdout.txt").read_text()
    stderr = (OUTPUTS / f"{ERA_I}_stderr.txt").read_text()
    assert "Inference (avg):      5.33 ms" in stderr
    assert parse_output(stdout, stderr).measured.avg_us == 5334.72


def test_11_a_block_that_measured_nothing() -> None:
    stdout = (OUTPUTS / "X_dry_run_count0.txt").read_text().rpartition("INFO: Inference")[0]
    block = "========== BENCHMARK RESULTS ==========\nNo inference runs were performed.\n"
    with pytest.raises(BenchmarkOutputError):
        parse_output(stdout, block)


def test_12_the_rounded_result_of_the_python_tool_is_not_taken_for_a_measurement() -> None:
    text = "Model initialization:  2.82 ms\nInference (avg):       1.14 ms (50 runs)\n"
    with pytest.raises(BenchmarkOutputError, match="Running benchmark for"):
        parse_output("BENCHMARK RESULTS\n" + text)


def test_13_a_model_with_several_signatures_fails_and_says_so() -> None:
    said = "ERROR: Multiple signatures found, use --signature_to_run_for\n"
    with pytest.raises(BenchmarkOutputError, match="signature_to_run_for"):
        parse_output("INFO: STARTING!\n", said, exit_code=1)


def test_14_the_time_limit_may_come_before_the_runs() -> None:
    """Of a slow model: its figures are good, and how many they stand on is for the verdict."""
    few = ERA_H.replace("at least 50 iterations", "at least 200 iterations")
    output = parse_output(few)
    check_asked(output, Asked("/data/local/tmp/m.tflite"))
    assert (output.measured.count, output.measured.avg_us) == (50, 1240270.0)


def test_profile_times_are_per_call() -> None:
    row = parse_profile(ERA_G).rows[2]
    assert (row.avg_ms, row.times_called) == (0.051, 13)
    assert row.cost_us == pytest.approx(663)
