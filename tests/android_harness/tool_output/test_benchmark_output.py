"""Every era of the benchmark tool's output, against numbers read off the sample by eye."""

from __future__ import annotations

from pathlib import Path

import pytest

from mnasfpn.android_harness.tool_output.benchmark_output import Asked, check_asked, parse_output
from mnasfpn.android_harness.tool_output.delegates import DelegateUse
from mnasfpn.android_harness.tool_output.stats import Stats
from mnasfpn.errors import BenchmarkOutputError

OUTPUTS = Path(__file__).parent / "outputs"
ERA_I = "I_litert2.x_benchmark_litert_model"


def read(name: str) -> str:
    return (OUTPUTS / name).read_text()


def one_run(us: float) -> Stats:
    return Stats(1, us, us, us, us, us, 0)


#: file: measured, warm-up, init us, first inference us
TRUTH = {
    "A_tf1.12_2018.txt": (
        Stats(50, 138004, 137002, 136900, 139870, 137722, 812),
        one_run(146161),
        4452,
        146161,
    ),
    "B_tf1.14_2019.txt": (
        Stats(50, 59402, 59311, 58903, 60211, 59388.7, 231),
        Stats(9, 61210, 59340, 59012, 61210, 59713.2, 640),
        1903,
        61210,
    ),
    "C_tf1.15_2019.txt": (
        Stats(50, 59402, 59311, 58903, 60211, 59388.7, 231),
        Stats(9, 61210, 59340, 59012, 61210, 59713.2, 640),
        1903,
        61210,
    ),
    "D_tf2.1_2020.txt": (
        Stats(62, 16020, 16044, 15961, 16890, 16055.9, 118),
        Stats(31, 17211, 16010, 15980, 17211, 16102.4, 210),
        1003,
        17211,
    ),
    "E_tf2.3_2020.txt": (
        Stats(50, 248901, 250210, 247202, 261203, 249684, 2101),
        Stats(2, 360262, 248950, 248950, 360262, 304606, 55656),
        16242,
        360262,
    ),
    "F_tf2.8_2022_sci_notation_opprof.txt": (
        Stats(50, 2990275, 2913402, 2727568, 3189954, 2950340, 109798),
        one_run(3512391),
        17187,
        3512391,
    ),
    "G_tf2.12+_xnnpack_opprof.txt": (
        Stats(66, 15441, 15266, 15028, 17145, 15317.6, 452),
        Stats(35, 19105, 15909, 15085, 19105, 15452.5, 1240),
        52687,
        19105,
    ),
    "H_litert1.x_percentiles.txt": (
        Stats(
            50, 1249964, 1240143, 1238588, 1252566, 1240270, 2565,
            median_us=1239807, p5_us=1238753, p95_us=1247415,
        ),
        Stats(
            1, 1357602, 1357602, 1357602, 1357602, 1357602, 0,
            median_us=1357602, p5_us=1357602, p95_us=1357602,
        ),
        5579,
        1357602,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TRUTH)
def test_every_era(name: str) -> None:
    output = parse_output(read(name))
    assert (output.measured, output.warmup, output.init_us, output.first_inference_us) == TRUTH[
        name
    ]


@pytest.mark.parametrize("name", TRUTH)
def test_windows_line_ends_change_nothing(name: str) -> None:
    text = read(name)
    assert parse_output(text.replace("\n", "\r\n")) == parse_output(text)


def test_litert2_prints_its_result_on_stderr() -> None:
    output = parse_output(read(f"{ERA_I}_stdout.txt"), read(f"{ERA_I}_stderr.txt"))
    assert output.measured.avg_us == 5334.72  # not the block's 5.33 ms
    assert output.measured.median_us == 5325
    assert output.init_us == 12060
    assert output.memory_mb == {"init_delta": 8.11, "overall_delta": 10.5}


def test_litert2_without_its_block_was_cut_short() -> None:
    with pytest.raises(BenchmarkOutputError, match="no block of results"):
        parse_output(read(f"{ERA_I}_stdout.txt"))


def test_litert2_block_of_another_run() -> None:
    block = read(f"{ERA_I}_stderr.txt").replace("5.33 ms", "5.43 ms")
    with pytest.raises(BenchmarkOutputError, match=r"5\.43 ms"):
        parse_output(read(f"{ERA_I}_stdout.txt"), block)


def test_settings_are_what_the_tool_echoes() -> None:
    settings = parse_output(read("H_litert1.x_percentiles.txt")).settings
    assert settings["Num threads"] == "1"
    assert settings["#threads used for CPU inference"] == "1"
    assert settings["Use xnnpack"] == "1"
    assert settings["Graph"] == "/data/local/tmp/m.tflite"
    assert settings["Signature to run"] == ""


def test_memory_by_era() -> None:
    assert parse_output(read("D_tf2.1_2020.txt")).memory_mb == {
        "init_max_rss": 3.12109,
        "init_malloc": 14.6232,
        "overall_max_rss": 9.01,
        "overall_malloc": 1.002,
    }
    assert parse_output(read("E_tf2.3_2020.txt")).memory_mb == {
        "init_peak": 4.92969,
        "overall_peak": 138.809,
    }
    assert parse_output(read("F_tf2.8_2022_sci_notation_opprof.txt")).memory_mb == {
        "init_delta": 4.21094,
        "overall_delta": 46.0859,
        "monitored_peak": 51.332,
        "end_rss": 52,
        "end_rss_anonymous": 40,
        "end_rss_file": 12,
    }


def test_delegate_coverage() -> None:
    assert parse_output(read("G_tf2.12+_xnnpack_opprof.txt")).delegates == (
        DelegateUse("TfLiteXNNPackDelegate", "partially", 256, 267, 5),
    )
    assert parse_output(read("H_litert1.x_percentiles.txt")).delegates == (
        DelegateUse("XNNPACK", "partially", kernels=1),
    )


def test_logcat_keeps_older_runs_the_last_one_counts() -> None:
    output = parse_output(read("logcat_two_runs.txt"))
    assert output.measured.avg_us == 1240270
    assert output.init_us == 5579


def test_logcat_whose_last_run_has_not_finished() -> None:
    text = read("logcat_two_runs.txt")
    unfinished = text[: text.rindex("Inference timings")].rpartition("\n")[0] + "\n"
    with pytest.raises(BenchmarkOutputError, match="cut short"):
        parse_output(unfinished)


def test_all_runs_the_same() -> None:
    text = read("H_litert1.x_percentiles.txt").replace(
        "count=1 curr=1357602 p5", "count=3 curr=1357602(all same) p5"
    ).replace("at least 1 iterations", "at least 3 iterations")  # fmt: skip
    warmup = parse_output(text).warmup
    assert warmup is not None
    assert (warmup.count, warmup.avg_us, warmup.std_us) == (3, 1357602, 0)


GRAPH = "/data/local/tmp/m.tflite"


def test_asked_and_done() -> None:
    check_asked(parse_output(read("H_litert1.x_percentiles.txt")), Asked(GRAPH, 1, True))
    check_asked(parse_output(read("G_tf2.12+_xnnpack_opprof.txt")), Asked(GRAPH, 1, True))


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (Asked("/data/local/tmp/other.tflite", 1, True), "Graph"),
        (Asked(GRAPH, 2, True), r"Num threads: \[2\] but it says \[1\]"),
        (Asked(GRAPH, 1, False), r"Use xnnpack: \[0\] but it says \[1\]"),
    ],
)
def test_asked_and_not_done(asked: Asked, says: str) -> None:
    with pytest.raises(BenchmarkOutputError, match=says):
        check_asked(parse_output(read("H_litert1.x_percentiles.txt")), asked)


def test_a_delegate_that_was_asked_for_must_show() -> None:
    output = parse_output(read("A_tf1.12_2018.txt"))
    check_asked(output, Asked(GRAPH, 1))
    with pytest.raises(BenchmarkOutputError, match=r"XNNPACK delegate.*does not say"):
        check_asked(output, Asked(GRAPH, 1, True))


def test_a_delegate_that_was_not_asked_for_must_not_show() -> None:
    output = parse_output(read("G_tf2.12+_xnnpack_opprof.txt"))
    with pytest.raises(BenchmarkOutputError, match=r"XNNPACK delegate.*applied"):
        check_asked(output, Asked(GRAPH, 1, False))


def test_the_threads_really_used() -> None:
    text = read("H_litert1.x_percentiles.txt").replace("inference: [1]", "inference: [4]")
    with pytest.raises(BenchmarkOutputError, match="threads used for CPU inference"):
        check_asked(parse_output(text), Asked(GRAPH, 1, True))
