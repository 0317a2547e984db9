"""The operator profile that TensorFlow Lite's and LiteRT's tools print, as text or as CSV.

Format: ``tensorflow/core/util/stats_calculator.cc`` and LiteRT's ``profile_summary_formatter.cc``.
A table is accepted only when its own redundancy holds: percentages follow from the times, the
running sum from the percentages, and both end at 100 %.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ...errors import BenchmarkOutputError
from ..measurement import OpTiming

NUMBER = r"[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"
_RULE = re.compile(r"=+ (?P<title>[\w ]+) =+")
_TITLE = re.compile(
    r"(?P<title>Profiling Info for Benchmark Initialization|"
    r"Operator-wise Profiling Info for Regular Benchmark Runs|"
    r"Primary graph \(name: .*\).*|Subgraph \(index: .*\).*|Delegate internal):"
)
_TEXT_HEADER = re.compile(r"\s*\[node type\]\s+(?:\[start\]\s+)?\[first\]\s+\[avg ms\].*")
_CSV_HEADER = re.compile(
    r"node type, (?:start, )?first, avg_ms, %, cdf%, mem KB, times called, name"
)
_TEXT_ROW = re.compile(
    rf"\s*(?P<op>.*?\S)\s+(?:(?P<start>{NUMBER})\s+)?(?P<first>{NUMBER})\s+(?P<avg>{NUMBER})\s+"
    rf"(?P<percent>{NUMBER})%\s+(?P<cdf>{NUMBER})%\s+(?P<memory>{NUMBER})\s+(?P<times>\d+)[ \t]+"
    r"(?P<name>.*)"
)
_TIMINGS = re.compile(rf"Timings \(microseconds\): count=\d+ (?:.* avg|curr)=(?P<us>{NUMBER}).*")
_OBSERVED = re.compile(r"(?P<count>\d+) nodes observed")

#: Titles whose rows are not one inference of the model: they nest inside it or come before it.
_NOT_THE_MODEL = ("Profiling Info for Benchmark Initialization", "Subgraph", "Delegate internal")


@dataclass(frozen=True, slots=True)
class ProfileRow:
    """One row of a "Run Order" table.

    ``avg_ms`` is per call. Rows are merged by name, so ``times_called`` may exceed one.
    """

    op: str
    name: str
    first_ms: float
    avg_ms: float
    percent: float
    cdf_percent: float
    memory_kb: float
    times_called: int
    start_ms: float | None = None

    @property
    def cost_us(self) -> float:
        """Time per inference, all calls together."""
        return self.avg_ms * self.times_called * 1e3


@dataclass(frozen=True, slots=True)
class ProfileSection:
    """One "Run Order" table; ``total_us`` is the tool's own mean of the sum of its rows."""

    title: str
    rows: tuple[ProfileRow, ...]
    total_us: float | None = None


@dataclass(frozen=True, slots=True)
class OpProfile:
    """Every table of one profile, in the order printed."""

    sections: tuple[ProfileSection, ...]

    @property
    def rows(self) -> tuple[ProfileRow, ...]:
        """The rows of one inference of the model, in execution order."""
        for section in self.sections:
            if not section.title.startswith(_NOT_THE_MODEL):
                return section.rows
        return ()

    def timings(self) -> tuple[OpTiming, ...]:
        return tuple(
            OpTiming(row.op, row.name, row.avg_ms * 1e3, row.times_called) for row in self.rows
        )


def parse_profile(text: str) -> OpProfile:
    """Read an operator profile: the text tables, or the CSV that the tool wrote to a file.

    Args:
        text: the whole output of the tool, or the CSV file, or a LiteRT profile summary.

    Raises:
        BenchmarkOutputError: no table, an unreadable row, or a table that contradicts itself.
    """
    sections = tuple(_sections(text.replace("\r", "").split("\n")))
    profile = OpProfile(sections)
    if not profile.rows:
        raise BenchmarkOutputError(
            f"found no operator table in {_excerpt(text)}: expected a 'Run Order' section "
            "with rows; run the tool with --enable_op_profiling=true"
        )
    return profile


def has_profile(text: str) -> bool:
    return "Run Order" in text


def _sections(lines: list[str]) -> Iterator[ProfileSection]:
    title, position = "", 0
    while position < len(lines):
        line = lines[position].removeprefix("INFO: ").strip()
        if found := _TITLE.fullmatch(line):
            title = found["title"]
        rule = _RULE.fullmatch(line)
        position += 1
        if rule and rule["title"] == "Run Order":
            end = _end_of_table(lines, position)
            rows = tuple(_rows(lines[position:end]))
            position = end
            _check_table(rows)
            total_us = _check_trailer(rows, lines[end : _next_table(lines, end)])
            yield ProfileSection(title, rows, total_us)


def _end_of_table(lines: list[str], start: int) -> int:
    for position in range(start, len(lines)):
        if not lines[position].strip():
            return position
    raise BenchmarkOutputError(
        f"the operator table breaks off after {lines[-1]!r}: expected an empty line to close it; "
        "the output is truncated, run again"
    )


def _next_table(lines: list[str], start: int) -> int:
    for position in range(start, len(lines)):
        if "Run Order" in lines[position]:
            return position
    return len(lines)


def _rows(lines: list[str]) -> Iterator[ProfileRow]:
    if not lines:
        return
    header = lines[0].removeprefix("INFO: ")
    if _CSV_HEADER.fullmatch(header.strip()):
        has_start = ", start, " in header
        yield from (_csv_row(line, has_start) for line in lines[1:])
    elif _TEXT_HEADER.fullmatch(header):
        yield from (_text_row(line, "[start]" in header) for line in lines[1:])
    else:
        raise BenchmarkOutputError(
            f"unknown heading of an operator table: {lines[0]!r}; expected the columns "
            "[node type] ([start]) [first] [avg ms] [%] [cdf%] [mem KB] [times called] [Name]"
        )


def _text_row(line: str, has_start: bool) -> ProfileRow:
    found = _TEXT_ROW.fullmatch(line)
    if not found or (found["start"] is not None) != has_start:
        raise _unreadable(line)
    return _row(**found.groupdict())


def _csv_row(line: str, has_start: bool) -> ProfileRow:
    """Types hold unquoted commas, names have tabs for theirs: split from the right."""
    cells = line.split(", ")
    if len(cells) < 8 + has_start:
        raise _unreadable(line)
    op, *numbers, name = line.rsplit(", ", 7 + has_start)
    start = numbers.pop(0) if has_start else None
    first, avg, percent, cdf, memory, times = numbers
    plain = [*numbers[:2], *(cell.removesuffix("%") for cell in (percent, cdf)), memory]
    if start is not None:
        plain.append(start)
    if not (
        op
        and percent.endswith("%")
        and cdf.endswith("%")
        and times.isdecimal()
        and all(re.fullmatch(NUMBER, cell) for cell in plain)
    ):
        raise _unreadable(line)
    return _row(
        op=op, name=name.replace("\t", ","), start=start, first=first, avg=avg,
        percent=percent[:-1], cdf=cdf[:-1], memory=memory, times=times,
    )  # fmt: skip


def _row(**cell: str | None) -> ProfileRow:
    def number(column: str) -> float:
        return float(cell[column] or "nan")

    return ProfileRow(
        op=cell["op"] or "",
        name=cell["name"] or "",
        start_ms=None if cell["start"] is None else number("start"),
        first_ms=number("first"),
        avg_ms=number("avg"),
        percent=number("percent"),
        cdf_percent=number("cdf"),
        memory_kb=number("memory"),
        times_called=int(number("times")),
    )


def _unreadable(line: str) -> BenchmarkOutputError:
    return BenchmarkOutputError(
        f"cannot read the row {line!r} of the operator table: expected a type, times in ms, "
        "two percentages, KB, a call count and a name; the output is damaged, run again"
    )


def _check_table(rows: tuple[ProfileRow, ...]) -> None:
    """Percentages must follow from the times, and the running sum from the percentages."""
    total_ms = sum(row.avg_ms * row.times_called for row in rows)
    running = 0.0
    for row in rows:
        # Times are printed to 1 us at worst and percentages to 0.001.
        share = 100 * row.avg_ms * row.times_called / total_ms if total_ms else row.percent
        rounding = 100 * 0.0005 * (row.times_called + len(rows)) / total_ms if total_ms else 0.0
        running += row.percent
        if abs(share - row.percent) > 0.01 * max(share, row.percent) + rounding + 0.01:
            raise _contradiction(row, f"{row.percent} % is said, the times give {share:.3f} %")
        if abs(running - row.cdf_percent) > 0.0006 * (len(rows) + 1):
            raise _contradiction(row, f"it sums to {running:.3f} %, not {row.cdf_percent} %")
    if rows and total_ms and abs(rows[-1].cdf_percent - 100) > 0.01:
        raise _contradiction(rows[-1], "the last row must reach 100 %: rows are missing")


def _contradiction(row: ProfileRow, why: str) -> BenchmarkOutputError:
    return BenchmarkOutputError(
        f"the operator table contradicts itself at {row.op!r} {row.name!r}: {why}; "
        "the output is damaged, run again"
    )


def _check_trailer(rows: tuple[ProfileRow, ...], lines: Iterable[str]) -> float | None:
    """The lines after a text table repeat its sum and its length; CSV has neither."""
    total_us = None
    for line in lines:
        if found := _OBSERVED.fullmatch(line.strip()):
            if int(found["count"]) != len(rows):
                raise BenchmarkOutputError(
                    f"read {len(rows)} rows of the operator table but the tool says {line!r}; "
                    "the output is damaged, run again"
                )
        elif found := _TIMINGS.fullmatch(line.strip()):
            total_us = float(found["us"])
            seen_us = sum(row.cost_us for row in rows)
            rounding_us = 0.5 * sum(row.times_called for row in rows)
            if abs(seen_us - total_us) > 0.01 * total_us + rounding_us:
                raise BenchmarkOutputError(
                    f"the rows of the operator table add up to {seen_us:.0f} us but the tool says "
                    f"{line!r}; the output is damaged, run again"
                )
    return total_us


def _excerpt(text: str) -> str:
    stripped = text.strip()
    return repr(stripped if len(stripped) <= 200 else f"{stripped[:100]} ... {stripped[-100:]}")
