"""The ``count=`` line of the benchmark tools: statistics that must be possible.

Format: ``Stat::OutputToStream`` in ``tensorflow/core/util/stat_summarizer`` and its LiteRT
successor. Averages have six significant digits, everything else is whole microseconds, the standard
deviation is of the population and truncated.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from ...errors import BenchmarkOutputError
from .profiler import NUMBER

_COUNT = r"count=(?P<count>\d+)"
_PERCENTILES = rf"(?: p5=(?P<p5>{NUMBER}) median=(?P<median>{NUMBER}) p95=(?P<p95>{NUMBER}))?"
_FULL = re.compile(
    rf"{_COUNT} first=(?P<first>{NUMBER}) curr=(?P<curr>{NUMBER}) min=(?P<min>{NUMBER}) "
    rf"max=(?P<max>{NUMBER}) avg=(?P<avg>{NUMBER}) std=(?P<std>{NUMBER}){_PERCENTILES}"
)
_SAME = re.compile(rf"{_COUNT} curr=(?P<curr>{NUMBER})(?P<same>\(all same\))?{_PERCENTILES}")


@dataclass(frozen=True, slots=True)
class RunBounds:
    """What the tool announced: it goes on until both are reached."""

    runs: int = 0
    min_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Stats:
    """Statistics of repeated inference, microseconds; percentiles only where printed."""

    count: int
    first_us: float
    curr_us: float
    min_us: float
    max_us: float
    avg_us: float
    std_us: float
    median_us: float | None = None
    p5_us: float | None = None
    p95_us: float | None = None

    def as_dict(self) -> dict[str, float]:
        """By the keys of a Run: count, first, min, max, avg, std; percentiles where printed."""
        values = {
            "count": float(self.count), "first": self.first_us, "min": self.min_us,
            "max": self.max_us, "avg": self.avg_us, "std": self.std_us,
            "median": self.median_us, "p5": self.p5_us, "p95": self.p95_us,
        }  # fmt: skip
        return {key: value for key, value in values.items() if value is not None}


def parse_stats(line: str, bounds: RunBounds | None = None) -> Stats | None:
    """Read one ``count=`` line; None for ``count=0``: nothing was run.

    Args:
        bounds: what was announced for the measured phase, which must be possible in every respect;
            None for the warm-up, whose spread nobody uses.

    Raises:
        BenchmarkOutputError: not such a line, or numbers that no samples can have.
    """
    if line.strip() == "count=0":
        return None
    text = line.strip()
    found = _FULL.fullmatch(text) or _SAME.fullmatch(text)
    if not found:
        raise BenchmarkOutputError(
            f"cannot read the statistics {line!r}: expected count=N first=.. curr=.. min=.. max=.. "
            "avg=.. std=.. or count=N curr=..; the output is damaged, run again"
        )
    values = {
        key: float(value) for key, value in found.groupdict().items() if value and key != "same"
    }
    if "same" in found.groupdict():
        if (values["count"] > 1) != bool(found["same"]):
            raise _impossible(line, "several runs need '(all same)', one run must not have it")
        values = (
            dict.fromkeys(("first", "min", "max", "avg"), values["curr"]) | {"std": 0.0} | values
        )
    stats = Stats(count=int(values.pop("count")), **{f"{key}_us": us for key, us in values.items()})
    _check_order(stats, line)
    if bounds:
        _check_spread(stats, line, bounds)
    return stats


def same_printed(a: float, b: float) -> bool:
    """Equal once printed the way the tool prints averages: six significant digits."""
    return f"{a:g}" == f"{b:g}"


def _slack_us(s: Stats) -> float:
    """Whole microseconds, six digits of the average."""
    return 1.0 + 10.0 ** (math.floor(math.log10(s.avg_us)) - 5) if s.avg_us > 0 else 1.0


def _check_order(s: Stats, line: str) -> None:
    ordered = [s.min_us, s.p5_us, s.median_us, s.p95_us, s.max_us]
    known = [value for value in ordered if value is not None]
    # Times are cut to whole microseconds: a run of a tiny model may have taken 0, but not all.
    if not (s.min_us >= 0 < s.avg_us and math.isfinite(s.avg_us) and math.isfinite(s.max_us)):
        raise _impossible(line, "a time must not be negative, nor their mean 0, and both be finite")
    if known != sorted(known):
        raise _impossible(line, "min <= p5 <= median <= p95 <= max does not hold")
    if not all(s.min_us <= value <= s.max_us for value in (s.first_us, s.curr_us)):
        raise _impossible(line, "first and last run lie between min and max")
    if not s.min_us - _slack_us(s) <= s.avg_us <= s.max_us + _slack_us(s):
        raise _impossible(line, "the average lies between min and max")


def _check_spread(s: Stats, line: str, bounds: RunBounds) -> None:
    slack = _slack_us(s)
    below, above, std = s.avg_us - s.min_us, s.max_us - s.avg_us, s.std_us
    # Bhatia-Davis: a variance is at most (max - mean)(mean - min).
    if std**2 > (above + slack) * (below + slack):
        raise _impossible(line, f"a spread of {std:g} does not fit between min and max")
    # Samuelson: no sample is further from the mean than sqrt(n - 1) standard deviations.
    if max(below, above) > (std + 1) * math.sqrt(max(s.count - 1, 1)) + slack:
        raise _impossible(line, f"min or max is too far away for a spread of {std:g}")
    if s.median_us is not None and abs(s.median_us - s.avg_us) > std + 1 + slack:
        raise _impossible(line, "median and average differ by more than the spread")
    # More runs than asked only while the minimum time had not passed.
    spent_s = (s.count * s.avg_us - s.max_us) * 1e-6
    if s.count > max(bounds.runs, 1) and spent_s > 1.01 * bounds.min_s:
        raise _impossible(
            line,
            f"it was to stop after {bounds.runs} runs and {bounds.min_s:g} s, not {spent_s:.3g} s",
        )


def _impossible(line: str, why: str) -> BenchmarkOutputError:
    return BenchmarkOutputError(
        f"no runs can have the statistics {line!r}: {why}; the output is damaged, run again"
    )
