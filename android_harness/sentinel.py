"""What the sentinel saw: how fast the device was, and whether it drifted, beside each run."""

from __future__ import annotations

import statistics
from bisect import bisect
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from .interval import usual_noise
from .measurement import Run, effective_mhz
from .protocol import MeasuringProtocol


@dataclass(frozen=True, slots=True)
class Usual:
    """Medians over the sentinel's visits of some rounds; None where nothing is known.

    Args:
        log_sd: noise of groups of visits, as many in each as a model has runs.
    """

    log_sd: float = 0.0
    cost: float | None = None
    mhz: float | None = None
    clock_us: float | None = None


class Sentinel:
    """The sentinel's visits, in order; looked at once for the runs of thousands of models.

    Args:
        runs: without errors.
        costs: of each, comparable.
        protocol: by which models are measured beside it.
    """

    def __init__(
        self, runs: Sequence[Run], costs: Sequence[float], protocol: MeasuringProtocol
    ) -> None:
        self._protocol = protocol
        self._visits: defaultdict[int, list[tuple[int, float]]] = defaultdict(list)
        self._runs: defaultdict[int, list[Run]] = defaultdict(list)
        for run, cost in zip(runs, costs, strict=True):
            self._visits[run.round].append((run.position, cost))
            self._runs[run.round].append(run)
        for visits in self._visits.values():
            visits.sort()
        self._usual: dict[tuple[int, int], Usual] = {}

    def usual(self, first: int, last: int) -> Usual:
        """From the first of some rounds to the last, both included."""
        if (first, last) not in self._usual:
            rounds = [number for number in self._visits if first <= number <= last]
            costs = [cost for number in rounds for _, cost in self._visits[number]]
            runs = [run for number in rounds for run in self._runs[number]]
            self._usual[first, last] = Usual(self._log_sd(costs), median(costs), *clocks(runs))
        return self._usual[first, last]

    def _log_sd(self, costs: Sequence[float]) -> float:
        size = self._protocol.most_rounds
        groups = (sorted(costs[start : start + size]) for start in range(0, len(costs), size))
        return usual_noise(groups, self._protocol.quantile).log_sd

    def drift(self, run: Run, usual: Usual) -> float | None:
        """Of the faster of the visits just before and after a run; None without any in its round.

        The faster, because one noisy visit accuses nobody.
        """
        visits = self._visits.get(run.round)
        if not visits or usual.cost is None:
            return None
        at = bisect(visits, (run.position, 0.0))
        near = visits[max(at - 1, 0) : at + 1]
        return min(cost for _, cost in near) / usual.cost - 1


def clocks(runs: Sequence[Run]) -> tuple[float | None, float | None]:
    """Median of the effective frequency in MHz, and of the clock probe in us."""
    mhz = [value for run in runs if (value := effective_mhz(run)) is not None]
    return median(mhz), median([run.clock_us for run in runs if run.clock_us is not None])


def median(values: Sequence[float]) -> float | None:
    return statistics.median(values) if values else None
