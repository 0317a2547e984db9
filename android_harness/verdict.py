"""Centre, spread and verdict of the runs of a model. Pure functions.

How a number comes about. Each model is visited once in each of several rounds; a round is a new
process that visits the models in a new random order. One run's figure is a low or middle percentile
of its repeats (``MeasuringProtocol.statistics``). Where the device reports how fast its core was
(``Run.clock_us``, this PC), the figure is brought to a common clock. The centre is a quantile of
the undisturbed runs (``MeasuringProtocol.quantile``), the spread the range of the ``agreeing`` runs
nearest to it. Disturbed runs stay in the record.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np

from ..errors import InvalidInput
from .measurement import DeviceInfo, Measurement, Run, Status, Verdict, effective_mhz
from .protocol import STATISTICS, MeasuringProtocol


def figure_us(run: Run, protocol: MeasuringProtocol) -> float:
    """The protocol's statistic of one run, at the clock the core had.

    Raises:
        InvalidInput: the run failed, or has none of the protocol's statistics.
    """
    for name in protocol.statistics:
        if run.samples_us:
            return STATISTICS[name](run.samples_us)
        if name in run.stats_us:
            return run.stats_us[name]
    raise InvalidInput(
        f"protocol {protocol.name!r} reads {' or '.join(protocol.statistics)}; the run has "
        f"{', '.join(run.stats_us) or f'only an error: {run.error}'}"
    )


def condensed(run: Run, protocol: MeasuringProtocol) -> Run:
    """The run with the two numbers the verdict needs in place of its samples: light to keep."""
    if run.error:
        return run
    stats = {protocol.statistics[0]: figure_us(run, protocol), "count": float(inferences(run))}
    return replace(run, samples_us=(), stats_us=stats)


def reference_clock_us(runs: Iterable[Run]) -> float | None:
    """The clock that centres refer to: the median over the runs; None if one of them has none."""
    clocks = [run.clock_us for run in runs if not run.error]
    known = [clock for clock in clocks if clock is not None]
    return statistics.median(known) if known and len(known) == len(clocks) else None


def centre_us(
    runs: Sequence[Run], protocol: MeasuringProtocol, clock_us: float | None = None
) -> float:
    """The protocol's quantile of the runs, at ``clock_us``.

    ``clock_us`` must be the same for all models that are compared; left out, it is the median of
    these runs alone.
    """
    middle = _middle(_costs(runs, protocol), protocol)
    scale = clock_us or reference_clock_us(runs)
    return middle * (scale if scale and _clocked(runs) else 1.0)


def spread(runs: Sequence[Run], protocol: MeasuringProtocol) -> float:
    """(slowest - fastest) / fastest of the ``agreeing`` runs nearest the centre; 0 for one run."""
    costs = _costs(runs, protocol)
    middle = _middle(costs, protocol)
    nearest = sorted(costs, key=lambda cost: (abs(cost - middle), cost))[: protocol.agreeing]
    return max(nearest) / min(nearest) - 1


def inferences(run: Run) -> int:
    """How many a run timed."""
    return len(run.samples_us) or int(run.stats_us.get("count", 0))


def judge(
    runs: Sequence[Run], protocol: MeasuringProtocol, sentinel_runs: Sequence[Run] | None = None
) -> Verdict:
    """VALID, UNSTABLE with every reason, or FAILED with the last error.

    Args:
        runs: all runs of one model, failed ones included.
        sentinel_runs: the sentinel's in the same campaign; None when there was no sentinel, which
            leaves drift unseen. Later rounds than the model's own are not looked at, so that a
            verdict never changes once the model is done.
    """
    return _assess(runs, protocol, sentinel_runs)[0]


def _assess(
    runs: Sequence[Run], protocol: MeasuringProtocol, sentinel_runs: Sequence[Run] | None
) -> tuple[Verdict, Sequence[Run]]:
    """The verdict, and the runs that centre and spread stand on: the undisturbed ones, or all where
    every one was disturbed. The verdict says so where there are too few."""
    usable = [run for run in runs if not run.error]
    if not usable:
        why = runs[-1].error if runs else "never measured"
        return Verdict(Status.FAILED, (why,)), usable
    reasons = []
    if len(usable) < protocol.rounds:
        failed = f", {len(runs) - len(usable)} failed" if len(runs) > len(usable) else ""
        reasons.append(f"measured in {len(usable)} of {protocol.rounds} processes{failed}")
    disturbed = list(zip(usable, disturbances(usable, protocol, sentinel_runs), strict=True))
    standing = [run for run, why in disturbed if not why]
    if len(standing) < protocol.agreeing:
        reasons += [f"round {run.round}: {text}" for run, why in disturbed for text in why]
        standing = standing or usable
    apart = spread(standing, protocol)
    if apart > protocol.max_spread:
        reasons.append(
            f"the {protocol.agreeing} closest processes are {apart:.1%} apart, "
            f"limit {protocol.max_spread:.0%}"
        )
    threads = [run.cpu_per_wall for run in usable if run.cpu_per_wall is not None]
    if threads and statistics.median(threads) > protocol.max_cpu_per_wall:
        reasons.append(
            f"{statistics.median(threads):.2f} s of CPU time per second: more than one thread"
        )
    verdict = Verdict(Status.UNSTABLE, tuple(reasons)) if reasons else Verdict(Status.VALID)
    return verdict, standing


def is_valid(
    key: str, runs: Mapping[str, Sequence[Run]], protocol: MeasuringProtocol, sentinel_key: str
) -> bool:
    """Whether the runs of one model are enough, beside the sentinel's among them."""
    of_key = runs.get(key, ())
    if len(of_key) < protocol.rounds:  # as most are that are asked about: no need to judge them
        return False
    return judge(of_key, protocol, runs.get(sentinel_key, ())).status is Status.VALID


def disturbances(
    runs: Sequence[Run], protocol: MeasuringProtocol, sentinel_runs: Sequence[Run] | None
) -> list[tuple[str, ...]]:
    """For each run without error, why it does not count; empty when it does."""
    last = max((run.round for run in runs), default=0)
    sentinels = [run for run in sentinel_runs or () if not run.error and run.round <= last]
    speeds = [mhz for run in (*runs, *sentinels) if (mhz := effective_mhz(run)) is not None]
    costs = _costs(sentinels, protocol) if sentinels else []
    usual = statistics.median(costs) if costs else 1.0
    relative = [(other, cost / usual) for other, cost in zip(sentinels, costs, strict=True)]
    result = []
    for run in runs:
        why = [run.unpinned] if run.unpinned else []
        if inferences(run) < protocol.runs:
            why.append(f"{inferences(run)} repeats of {protocol.runs}")
        status = run.after.thermal_status
        if isinstance(status, int) and status > protocol.max_thermal_status:
            why.append(f"thermal status {status}")
        mhz = effective_mhz(run)
        if mhz is not None and mhz < protocol.min_clock_share * max(speeds):
            why.append(f"{mhz:.0f} MHz on average, {max(speeds):.0f} MHz in the best run")
        share = run.cpu_per_wall
        if share is not None and share < protocol.min_cpu_per_wall:
            why.append(f"had the core for {share:.0%} of its time")
        if sentinel_runs is not None:
            why += _drift(run, relative, protocol)
        result.append(tuple(why))
    return result


def measurement(
    key: str,
    device: DeviceInfo,
    runs: Sequence[Run],
    protocol: MeasuringProtocol,
    sentinel_runs: Sequence[Run] | None = None,
    clock_us: float | None = None,
) -> Measurement:
    """Statistics and verdict of one model, with its runs; see ``centre_us`` for ``clock_us``."""
    verdict, standing = _assess([condensed(run, protocol) for run in runs], protocol, sentinel_runs)
    return Measurement(
        key,
        device,
        tuple(runs),
        centre_us(standing, protocol, clock_us) if standing else None,
        spread(standing, protocol) if standing else None,
        sum(map(inferences, runs)),
        verdict,
    )


def measurements(
    device: DeviceInfo,
    runs: Mapping[str, Sequence[Run]],
    protocol: MeasuringProtocol,
    sentinel_key: str | None = None,
    clock_us: float | None = None,
) -> dict[str, Measurement]:
    """Every model of a store at one common clock, so that they can be compared and added up.

    Args:
        runs: all runs by key, the sentinel's under ``sentinel_key``; it is not in the result.
        clock_us: the common clock. Two sets of measurements that are compared (a table and the
            models it predicts, the same models twice) need the same one, say
            ``reference_clock_us`` of the first: a PC's usual clock differs by percent from one
            minute to the next. Left out, it is the median over the models whose runs all have one;
            figures of the others stay as they are.
    """
    clocked = (of_key for of_key in runs.values() if reference_clock_us(of_key) is not None)
    clock_us = clock_us or reference_clock_us(chain.from_iterable(clocked))
    sentinels = (
        None
        if sentinel_key is None
        else [condensed(run, protocol) for run in runs.get(sentinel_key, ())]
    )
    return {
        key: measurement(key, device, of_key, protocol, sentinels, clock_us)
        for key, of_key in runs.items()
        if key != sentinel_key
    }


def _clocked(runs: Sequence[Run]) -> bool:
    return all(run.clock_us is not None for run in runs)


def _middle(costs: Sequence[float], protocol: MeasuringProtocol) -> float:
    return float(np.quantile(costs, protocol.quantile))


def _costs(runs: Sequence[Run], protocol: MeasuringProtocol) -> list[float]:
    """Figures that may be compared: per clock probe where every run has one."""
    if not runs:
        raise InvalidInput("no runs; a centre and a spread need at least one without error")
    if _clocked(runs):
        return [figure_us(run, protocol) / (run.clock_us or 1.0) for run in runs]
    return [figure_us(run, protocol) for run in runs]


def _drift(
    run: Run, sentinels: Sequence[tuple[Run, float]], protocol: MeasuringProtocol
) -> list[str]:
    """The faster of the sentinel's visits just before and just after the run.

    Args:
        sentinels: each with its cost over the median of all.
    """
    beside = [(other, cost) for other, cost in sentinels if other.round == run.round]
    before = [pair for pair in beside if pair[0].position < run.position]
    after = [pair for pair in beside if pair[0].position > run.position]
    near = [
        *sorted(before, key=_position)[-1:],
        *sorted(after, key=_position)[:1],
    ]
    if not near:
        return ["no sentinel run in this round"]
    drift = min(cost for _, cost in near) - 1
    if abs(drift) <= protocol.max_sentinel_drift:
        return []
    return [f"the sentinel beside it drifted {drift:+.1%}, limit {protocol.max_sentinel_drift:.0%}"]


def _position(pair: tuple[Run, float]) -> int:
    return pair[0].position
