"""Centre, interval and verdict of the runs of a model. Pure functions.

How a number comes about. Each model is visited once in each of several rounds; a round is a new
process that visits the models in a new random order. One run's figure is a low or middle percentile
of its repeats (``MeasuringProtocol.statistics``). Where the device reports how fast its core was
(``Run.clock_us``, this PC), the figure is brought to a common clock. The centre is a quantile of
the undisturbed runs (``MeasuringProtocol.quantile``); how well it is known follows from all of them
and from the usual noise of the device (:mod:`.interval`).

No more runs count than the protocol's rounds and extra rounds are: the first of a model, or the
first since it was measured afresh. However often a campaign is started again, noise does not become
VALID by being tried often enough. Disturbed and surplus runs stay in the record.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain

from ..errors import InvalidInput
from .interval import UsualNoise, half_width, quantile, usual_noise
from .measurement import (
    DeviceInfo,
    Measurement,
    Run,
    Status,
    Verdict,
    clock_in_words,
    effective_mhz,
)
from .protocol import STATISTICS, MeasuringProtocol
from .sentinel import Sentinel, Usual, clocks

#: Undisturbed runs that a centre needs, where the protocol asks for so many.
LEAST_UNDISTURBED = 3
NOTHING_KNOWN = UsualNoise()


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
    middle = quantile(_costs(runs, protocol), protocol.quantile)
    scale = clock_us or reference_clock_us(runs)
    return middle * (scale if scale and _clocked(runs) else 1.0)


def spread(runs: Sequence[Run], protocol: MeasuringProtocol) -> float:
    """(slowest - fastest) / fastest; 0 for one run."""
    costs = _costs(runs, protocol)
    return costs[-1] / costs[0] - 1


def inferences(run: Run) -> int:
    """How many a run timed."""
    return len(run.samples_us) or int(run.stats_us.get("count", 0))


def series(runs: Sequence[Run]) -> Sequence[Run]:
    """The runs that may count: all, or those since the model was last measured afresh."""
    begins = [place for place, run in enumerate(runs) if run.afresh]
    return runs[begins[-1] :] if begins else runs


def counted(runs: Sequence[Run], protocol: MeasuringProtocol) -> list[Run]:
    """Those of :func:`series` that have a figure, up to the protocol's bound."""
    return [run for run in series(runs) if not run.error][: protocol.most_rounds]


def failures_in_a_row(runs: Sequence[Run]) -> int:
    """How many of the last runs have an error: a run that has none clears a model of suspicion."""
    failed = 0
    for run in reversed(series(runs)):
        if not run.error:
            break
        failed += 1
    return failed


def judge(
    runs: Sequence[Run],
    protocol: MeasuringProtocol,
    sentinel_runs: Sequence[Run] | None = None,
    usual: UsualNoise = NOTHING_KNOWN,
) -> Verdict:
    """VALID, UNSTABLE with every reason, or FAILED with the last error.

    Args:
        runs: all runs of one model, failed ones included.
        sentinel_runs: the sentinel's; None when there was no sentinel, which leaves drift unseen.
            Rounds before the model's first and after its last are not looked at.
        usual: noise of the device's models; the sentinel's is added where that is greater.
    """
    sentinel = None if sentinel_runs is None else _sentinel(sentinel_runs, protocol)
    return _assess(runs, protocol, sentinel, usual)[0]


def _assess(
    runs: Sequence[Run], protocol: MeasuringProtocol, sentinel: Sentinel | None, usual: UsualNoise
) -> tuple[Verdict, Sequence[Run], float]:
    """The verdict, the runs that centre and spread stand on, and the half width of the centre.

    Those runs are the undisturbed ones, or all where every one was disturbed. The verdict says so
    where there are too few.
    """
    usable = counted(runs, protocol)
    if not usable:
        why = series(runs)[-1].error if runs else "never measured"
        return Verdict(Status.FAILED, (why,)), usable, 0.0
    reasons = []
    if len(usable) < protocol.rounds:
        failed = sum(bool(run.error) for run in series(runs))
        reasons.append(
            f"measured in {len(usable)} of {protocol.rounds} processes"
            + (f", {failed} failed" if failed else "")
        )
    beside = _beside(usable, sentinel)
    disturbed = list(zip(usable, disturbances(usable, protocol, sentinel), strict=True))
    standing = [run for run, why in disturbed if not why]
    if len(standing) < min(LEAST_UNDISTURBED, protocol.rounds):
        reasons += [f"round {run.round}: {text}" for run, why in disturbed for text in why]
        standing = standing or usable
    noise = replace(usual, log_sd=max(usual.log_sd, beside.log_sd))
    half = _half_width(standing, protocol, noise)
    if half > protocol.max_half_width:
        known = f"known to {half:.1%}" if half < 1 else "not known"
        reasons.append(
            f"the centre of {len(standing)} processes is {known}, "
            f"limit {protocol.max_half_width:.0%}"
        )
    threads = [run.cpu_per_wall for run in usable if run.cpu_per_wall is not None]
    if threads and statistics.median(threads) > protocol.max_cpu_per_wall:
        reasons.append(
            f"{statistics.median(threads):.2f} s of CPU time per second: more than one thread"
        )
    verdict = Verdict(Status.UNSTABLE, tuple(reasons)) if reasons else Verdict(Status.VALID)
    return verdict, standing, half


def _half_width(runs: Sequence[Run], protocol: MeasuringProtocol, usual: UsualNoise) -> float:
    if protocol.most_rounds == 1:  # a clock that counts: a second run would say the same
        return 0.0
    return half_width(_costs(runs, protocol), protocol.quantile, usual)


def disturbances(
    runs: Sequence[Run], protocol: MeasuringProtocol, sentinel: Sentinel | None
) -> list[tuple[str, ...]]:
    """For each of some runs without error, why it does not count; empty when it does."""
    usual = _beside(runs, sentinel)
    own_mhz, own_clock_us = clocks(runs)
    usual_mhz, usual_clock_us = usual.mhz or own_mhz, usual.clock_us or own_clock_us
    result = []
    for run in runs:
        why = [run.unpinned] if run.unpinned else []
        if inferences(run) < protocol.runs:
            why.append(f"{inferences(run)} repeats of {protocol.runs}")
        status = run.after.thermal_status
        if isinstance(status, int) and status > protocol.max_thermal_status:
            why.append(f"thermal status {status}")
        mhz = effective_mhz(run)
        if mhz is not None and usual_mhz and mhz < protocol.min_clock_share * usual_mhz:
            why.append(f"{clock_in_words(run)}, usually {usual_mhz:.0f} MHz")
        if run.clock_us is not None and usual_clock_us:
            speed = usual_clock_us / run.clock_us
            if speed < protocol.min_probe_share:
                why.append(f"the core was at {speed:.0%} of its usual speed")
        share = run.cpu_per_wall
        if share is not None and share < protocol.min_cpu_per_wall:
            why.append(f"had the core for {share:.0%} of its time")
        if sentinel is not None:
            why += _drift(sentinel.drift(run, usual), protocol)
        result.append(tuple(why))
    return result


def _beside(runs: Sequence[Run], sentinel: Sentinel | None) -> Usual:
    """What the sentinel saw from the first round of some runs to their last."""
    rounds = [run.round for run in runs]
    return sentinel.usual(min(rounds), max(rounds)) if sentinel and rounds else Usual()


def _drift(drift: float | None, protocol: MeasuringProtocol) -> list[str]:
    if drift is None:
        return ["no sentinel run in this round"]
    if abs(drift) <= protocol.max_sentinel_drift:
        return []
    return [f"the sentinel beside it drifted {drift:+.1%}, limit {protocol.max_sentinel_drift:.0%}"]


class Judge:
    """Verdicts of all that a store has of a device.

    What they have in common, the sentinel and the usual noise, is looked at once.

    Args:
        runs: all runs by key, the sentinel's among them.
        sentinel_key: None where there was no sentinel.
    """

    def __init__(
        self,
        runs: Mapping[str, Sequence[Run]],
        protocol: MeasuringProtocol,
        sentinel_key: str | None,
    ) -> None:
        self._runs, self._protocol = runs, protocol
        self._sentinel = (
            None if sentinel_key is None else _sentinel(runs.get(sentinel_key, ()), protocol)
        )
        usable = (counted(runs[key], protocol) for key in runs if key != sentinel_key)
        rows = (_costs(of_key, protocol) for of_key in usable if of_key)
        self._usual = usual_noise(rows, protocol.quantile)

    def verdict(self, key: str) -> Verdict:
        return self.assess(key)[0]

    def assess(self, key: str) -> tuple[Verdict, Sequence[Run], float]:
        """Verdict, the runs that the centre stands on, and its half width."""
        return _assess(self._runs.get(key, ()), self._protocol, self._sentinel, self._usual)

    def is_spent(self, key: str) -> bool:
        """Whether no further run of a model would count: its rounds are used up, or it failed too
        often in a row. Whether it is VALID or not: only runs made afresh could change it."""
        of_key, protocol = self._runs.get(key, ()), self._protocol
        return (
            failures_in_a_row(of_key) >= protocol.error_runs
            or len(counted(of_key, protocol)) >= protocol.most_rounds
        )

    def is_due(self, key: str) -> bool:
        """Whether a model is to be visited once more."""
        if self.is_spent(key):
            return False
        if len(counted(self._runs.get(key, ()), self._protocol)) < self._protocol.rounds:
            return True  # as most are that are asked about: no need to judge them
        return self.verdict(key).status is not Status.VALID


def measurement(
    key: str,
    device: DeviceInfo,
    runs: Sequence[Run],
    protocol: MeasuringProtocol,
    sentinel_runs: Sequence[Run] | None = None,
    clock_us: float | None = None,
) -> Measurement:
    """Statistics and verdict of a model that nothing but its sentinel was measured beside.

    See :func:`judge` and, for ``clock_us``, :func:`centre_us`.
    """
    watched = {} if sentinel_runs is None else {"": sentinel_runs}
    found = {key: runs, **watched}
    return measurements(device, found, protocol, "" if watched else None, clock_us)[key]


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
    light = {key: [condensed(run, protocol) for run in of_key] for key, of_key in runs.items()}
    judges = Judge(light, protocol, sentinel_key)
    found = {}
    for key, of_key in runs.items():
        if key == sentinel_key:
            continue
        verdict, standing, half = judges.assess(key)
        failed = verdict.status is Status.FAILED
        found[key] = Measurement(
            key,
            device,
            tuple(of_key),
            None if failed else centre_us(standing, protocol, clock_us),
            None if failed else spread(standing, protocol),
            sum(map(inferences, of_key)),
            verdict,
            None if failed else half,
        )
    return found


def _sentinel(runs: Sequence[Run], protocol: MeasuringProtocol) -> Sentinel:
    usable = [run for run in runs if not run.error]
    return Sentinel(usable, _figures(usable, protocol), protocol)


def _clocked(runs: Sequence[Run]) -> bool:
    return all(run.clock_us is not None for run in runs)


def _figures(runs: Sequence[Run], protocol: MeasuringProtocol) -> list[float]:
    """Figures that may be compared: per clock probe where every run has one."""
    if _clocked(runs):
        return [figure_us(run, protocol) / (run.clock_us or 1.0) for run in runs]
    return [figure_us(run, protocol) for run in runs]


def _costs(runs: Sequence[Run], protocol: MeasuringProtocol) -> list[float]:
    """Comparable figures in ascending order."""
    if not runs:
        raise InvalidInput("no runs; a centre and a spread need at least one without error")
    return sorted(_figures(runs, protocol))
