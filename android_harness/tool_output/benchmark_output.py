"""Reads what TensorFlow Lite's and LiteRT's ``benchmark_model`` print, from 2018 to today.

Formats: ``tensorflow/lite/tools/benchmark`` (TF 1.12 to 2.x) and LiteRT's ``tools/benchmark_*``.
The numbers are printed more than once and bound each other; a result is accepted only when all of
it agrees, so that a damaged output is an error and never a wrong number.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ...errors import BenchmarkOutputError
from .delegates import DelegateUse, parse_delegates
from .failure import reason_of
from .profiler import NUMBER, OpProfile, has_profile, parse_profile
from .stats import RunBounds, Stats, parse_stats, same_printed

_LOGCAT = re.compile(r"^.*?\b(?:tflite|litert)\s*:\s", re.MULTILINE)
_INFO = re.compile(r"^(?:INFO|WARNING|VERBOSE|ERROR|WARN): ")
_RUN = re.compile(
    rf"Running benchmark for (?:at least )?(?P<runs>\d+) iterations"
    rf"(?: and at least (?P<min_s>{NUMBER}) seconds)?"
    rf"(?: but terminate if exceeding (?P<max_s>{NUMBER}) seconds\.)?\s*"
)
_STARTING = "STARTING!"
_SUMMARY = re.compile(r"(?:Average inference|Inference) timings in us: (?P<pairs>.*)")
_PAIR = re.compile(rf"([A-Za-z() ]+): ({NUMBER})")
_SETTING = re.compile(r"(?P<key>[#A-Za-z][^:\[\]]*?)\s*: \[(?P<value>[^\[\]]*)\]")
_SESSION = re.compile(rf"Initialized session in (?P<ms>{NUMBER})ms\.?")
_IGNORED_FLAGS = re.compile(r".*(?:Unconsumed cmdline flags|Duplicate flags): .*")

#: Names under which the tools print one and the same figure of the summary line.
_SUMMARY_NAMES = {
    "Init": "init",
    "First inference": "first",
    "Warmup": "warmup",
    "Warmup (avg)": "warmup",
    "no stats": "avg",
    "Inference": "avg",
    "Inference (avg)": "avg",
}

#: (what the line says, key of the result); the number is in MB.
_MEMORY = tuple(
    (re.compile(pattern.replace("N", f"({NUMBER})")), keys)
    for pattern, keys in (
        (
            r"\[Init Phase\] - Memory usage: max resident set size = N MB, "
            r"total malloc-ed size = N MB",
            ("init_max_rss", "init_malloc"),
        ),
        (
            r"\[Overall\] - Memory usage: max resident set size = N MB, "
            r"total malloc-ed size = N MB",
            ("overall_max_rss", "overall_malloc"),
        ),
        (r"Peak memory footprint \(MB\): init=N overall=N", ("init_peak", "overall_peak")),
        (
            r"Memory footprint delta from the start of the tool \(MB\): init=N overall=N",
            ("init_delta", "overall_delta"),
        ),
        (
            r"Overall peak memory footprint \(MB\) via periodic monitoring: N",
            ("monitored_peak",),
        ),
        (r"- VmRSS\s*: N MB", ("end_rss",)),
        (r"\+ RssAnnon\s*: N MB", ("end_rss_anonymous",)),
        (r"\+ RssFile \+ RssShmem\s*: N MB", ("end_rss_file",)),
        (r"(?:\[.*\] )?Init footprint:\s+N MB", ("init_delta",)),
        (r"(?:\[.*\] )?Overall footprint:\s+N MB", ("overall_delta",)),
    )
)

#: Rows of the block that LiteRT 2's tool writes to stderr, rounded to 0.01 ms.
_BLOCK_TITLE = "BENCHMARK RESULTS"
_BLOCK_ROW = re.compile(
    r"(?:\[.*\] )?"
    r"(?P<name>Model initialization|Warmup \((?:first|avg)\)|Inference \((?:avg|min|max)\)):"
    rf"\s+(?P<ms>{NUMBER}) ms(?: \((?P<runs>\d+) runs\))?"
)


@dataclass(frozen=True, slots=True)
class BenchmarkOutput:
    """One finished run of the benchmark tool. Times in microseconds, memory in MB."""

    measured: Stats
    warmup: Stats | None
    init_us: float | None
    first_inference_us: float | None
    memory_mb: dict[str, float] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    delegates: tuple[DelegateUse, ...] = ()
    profile: OpProfile | None = None
    xnnpack_created: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """What the tool was told to do, to be compared with what it says it did."""

    graph: str
    threads: int = 1
    xnnpack: bool | None = None


def parse_output(stdout: str, stderr: str = "", exit_code: int = 0) -> BenchmarkOutput:
    """Read the output of one run of the tool, whatever its version.

    Args:
        stdout, stderr: as printed; one stream (logcat, an old adb) goes into ``stdout``.
        exit_code: of the tool; anything but 0 means there is no measurement.

    Raises:
        BenchmarkOutputError: the tool failed, ignored a flag, measured nothing, or the output is
            incomplete or contradicts itself. The message quotes the line.
    """
    out, err = _lines(stdout), _lines(stderr)
    both = out + err
    if exit_code != 0:
        raise BenchmarkOutputError(
            f"the benchmark tool ended with exit code {exit_code} and said "
            f"{reason_of(stdout, stderr)!r}; expected 0. See that its version supports the model"
        )
    for line in both:
        if _IGNORED_FLAGS.fullmatch(line):
            raise BenchmarkOutputError(
                f"the benchmark tool did not do what it was asked: {line!r}. "
                "Its numbers would describe other settings; use another version of the tool"
            )
    run = _last_run(out)
    summary = _summary(run) or _block(both, run)
    before_runs = run[: next((i for i, line in enumerate(run) if _RUN.fullmatch(line)), 0)]
    warmup, measured = _two_stats(run)
    output = BenchmarkOutput(
        measured=measured,
        warmup=warmup,
        init_us=summary.get("init"),
        first_inference_us=summary.get("first", warmup.first_us if warmup else None),
        memory_mb=_memory(both),
        settings=_settings(before_runs),
        delegates=parse_delegates(both),
        profile=parse_profile("\n".join([*_plain(stdout), ""])) if has_profile(stdout) else None,
        xnnpack_created=any("Created TensorFlow Lite XNNPACK delegate" in line for line in both),
    )
    _check_agreement(output, summary, run)
    return output


def check_asked(output: BenchmarkOutput, asked: Asked) -> None:
    """Compare what the tool echoes with what it was asked.

    Fewer runs than asked, which a slow model has when time is up, are for the verdict to judge.

    Raises:
        BenchmarkOutputError: another graph, thread count or delegate.
    """
    settings = output.settings
    expected = {"Graph": asked.graph, "Num threads": str(asked.threads)}
    for key, value in expected.items():
        if settings.get(key) != value:
            raise _mismatch(key, value, settings.get(key))
    used = settings.get("#threads used for CPU inference", str(asked.threads))
    if used != str(asked.threads):
        raise _mismatch("#threads used for CPU inference", str(asked.threads), used)
    if asked.xnnpack is None:
        return
    echoed = settings.get("Use xnnpack")
    if echoed is not None and echoed != str(int(asked.xnnpack)):
        raise _mismatch("Use xnnpack", str(int(asked.xnnpack)), echoed)
    applied = output.xnnpack_created or any(
        "xnnpack" in use.name.lower() for use in output.delegates
    )
    if applied and not asked.xnnpack:
        raise _mismatch("XNNPACK delegate", "off", "applied")
    if asked.xnnpack and echoed is None and not applied:
        raise _mismatch("XNNPACK delegate", "on", None)


def _mismatch(key: str, asked: str, got: str | None) -> BenchmarkOutputError:
    said = "does not say" if got is None else f"says [{got}]"
    return BenchmarkOutputError(
        f"asked the benchmark tool for {key}: [{asked}] but it {said}; "
        "its numbers would describe another setting, use another version of the tool"
    )


def _plain(text: str) -> list[str]:
    """Lines without carriage returns and without the prefix of logcat.

    A last line without its end is cut short: its number could be half a number.
    """
    *complete, _ = text.split("\n")
    return [_LOGCAT.sub("", line.replace("\r", "")) for line in complete]


def _lines(text: str) -> list[str]:
    return [_INFO.sub("", line).rstrip() for line in _plain(text)]


def _last_words(lines: list[str]) -> str:
    return next((line for line in reversed(lines) if line.strip()), "nothing")


def _last_run(lines: list[str]) -> list[str]:
    """The lines of the last run: logcat keeps older ones."""
    starts = [i for i, line in enumerate(lines) if line == _STARTING]
    if starts:
        lines = lines[starts[-1] :]
    if not any(_RUN.fullmatch(line) for line in lines):
        raise BenchmarkOutputError(
            f"found no 'Running benchmark for' in the output, which ends with "
            f"{_last_words(lines)!r}: the benchmark tool did not get as far as measuring"
        )
    return lines


def _two_stats(run: list[str]) -> tuple[Stats | None, Stats]:
    """Warm-up and measured statistics: the one ``count=`` line after each announcement.

    A third ``count=`` line belongs to the operator profile and is the sum of its rows.
    """
    announced = [i for i, line in enumerate(run) if _RUN.fullmatch(line)]
    if len(announced) != 2:
        raise BenchmarkOutputError(
            f"expected one warm-up and one measured phase, found {len(announced)} lines like "
            f"{run[announced[0]]!r}; the output is damaged, run again"
        )
    end = next((i for i, line in enumerate(run) if _SUMMARY.fullmatch(line)), len(run))
    found: list[Stats | None] = []
    for start, stop in ((announced[0], announced[1]), (announced[1], max(end, announced[1]))):
        counts = [line for line in run[start:stop] if line.startswith("count=")]
        if len(counts) != 1:
            raise BenchmarkOutputError(
                f"expected one line of statistics after {run[start]!r}, found {counts or 'none'}; "
                "the benchmark tool was cut short, run again"
            )
        found.append(parse_stats(counts[0], _bounds(run[start]) if found else None))
    warmup, measured = found
    if measured is None:
        raise BenchmarkOutputError(
            f"the benchmark tool measured nothing: {counts[0]!r} after {run[announced[1]]!r}; "
            "ask for at least one run, without --dry_run, and allow more seconds"
        )
    if warmup and (warmup.median_us is None) != (measured.median_us is None):
        raise BenchmarkOutputError(
            f"only one of two lines of statistics has percentiles, the last is {counts[0]!r}; "
            "the output is damaged, run again"
        )
    return warmup, measured


def _bounds(line: str) -> RunBounds:
    found = _RUN.fullmatch(line)
    assert found is not None
    return RunBounds(int(found["runs"]), float(found["min_s"] or 0))


def _summary(run: list[str]) -> dict[str, float]:
    """The summary line, by our names; empty where this version prints none."""
    lines = [line for line in run if "timings in us" in line]
    if not lines:
        return {}
    found = _SUMMARY.fullmatch(lines[-1])
    if len(lines) != 1 or not found:
        raise BenchmarkOutputError(
            f"expected one line 'Inference timings in us: ...', got {lines[-1]!r} "
            f"({len(lines)} in all); the output is damaged, run again"
        )
    pairs = [_PAIR.fullmatch(pair) for pair in found["pairs"].split(", ")]
    values = {_SUMMARY_NAMES.get(pair[1], ""): float(pair[2]) for pair in pairs if pair}
    if None in pairs or set(values) not in (
        {"init", "first", "warmup", "avg"},
        {"init", "warmup", "avg"},
    ):
        raise BenchmarkOutputError(
            f"cannot read the summary {lines[-1]!r}: "
            "expected Init, Warmup and Inference with a number each"
        )
    return values


def _block(lines: list[str], run: list[str]) -> dict[str, float]:
    """LiteRT 2 has a block of results instead of the summary line, rounded to 0.01 ms.

    Too coarse to use, good enough to prove that the run finished.
    """
    rows = {found["name"]: found for line in lines if (found := _BLOCK_ROW.fullmatch(line))}
    if not any(_BLOCK_TITLE in line for line in lines) or "Inference (avg)" not in rows:
        raise BenchmarkOutputError(
            f"found no 'Inference timings in us' and no block of results; the output ends with "
            f"{_last_words(run)!r}: the benchmark tool was cut short, run again"
        )
    warmup, measured = _two_stats(run)
    printed = {
        "Warmup (first)": warmup.first_us if warmup else None,
        "Warmup (avg)": warmup.avg_us if warmup else None,
        "Inference (avg)": measured.avg_us,
        "Inference (min)": measured.min_us,
        "Inference (max)": measured.max_us,
    }
    for name, us in printed.items():
        row = rows.get(name)
        if row and us is not None and abs(float(row["ms"]) * 1e3 - us) > 5.5:
            raise BenchmarkOutputError(
                f"the block of results says {row[0]!r} but the statistics say {us:g} us; "
                "the output is damaged, run again"
            )
    for name, stats in (("Warmup (avg)", warmup), ("Inference (avg)", measured)):
        row = rows.get(name)
        if row and row["runs"] and stats and int(row["runs"]) != stats.count:
            raise BenchmarkOutputError(
                f"the block of results says {row[0]!r} but the statistics count {stats.count} runs"
            )
    init = rows.get("Model initialization")
    return {"init": float(init["ms"]) * 1e3} if init else {}


def _check_agreement(output: BenchmarkOutput, summary: dict[str, float], run: list[str]) -> None:
    """The summary line repeats the statistics; both must say the same."""
    pairs = [("avg", output.measured.avg_us)]
    if output.warmup:
        pairs += [("warmup", output.warmup.avg_us), ("first", output.warmup.first_us)]
    for key, us in pairs:
        if key in summary and not same_printed(summary[key], us):
            raise BenchmarkOutputError(
                f"the summary says {key} = {summary[key]:g} us but the statistics say {us:g} us; "
                "the output is damaged, run again"
            )
    session = [found for line in run if (found := _SESSION.fullmatch(line))]
    if session and output.init_us is not None:
        init_us = float(session[-1]["ms"]) * 1e3
        # Six significant digits in one line, 0.01 ms in the block of LiteRT 2.
        if abs(init_us - output.init_us) > max(
            1e-5 * init_us, 5.5 if "avg" not in summary else 0.5
        ):
            raise BenchmarkOutputError(
                f"{session[-1][0]!r} contradicts an initialisation of {output.init_us:g} us"
            )


def _settings(lines: list[str]) -> dict[str, str]:
    settings: dict[str, str] = {}
    for line in lines:
        if found := _SETTING.fullmatch(line):
            key, value = found["key"], found["value"]
            if settings.setdefault(key, value) != value:
                raise BenchmarkOutputError(
                    f"the benchmark tool echoes two values: {key}: [{settings[key]}] and {line!r}"
                )
    return settings


def _memory(lines: list[str]) -> dict[str, float]:
    memory: dict[str, float] = {}
    for line in lines:
        for pattern, keys in _MEMORY:
            if found := pattern.fullmatch(line.strip()):
                memory.update(zip(keys, map(float, found.groups()), strict=True))
    return memory
