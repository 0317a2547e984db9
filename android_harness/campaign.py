"""A measuring campaign: rounds in seeded random order, a sentinel throughout, resume, retries."""

from __future__ import annotations

import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from ..errors import InvalidInput, StableDeviceError, TransientDeviceError
from .cooling import Cooling
from .device import Device, Job, RunSettings
from .measurement import Run, Status
from .protocol import MeasuringProtocol
from .verdict import Judge, condensed, failures_in_a_row


def campaign(
    device: Device,
    jobs: Sequence[Job],
    protocol: MeasuringProtocol,
    seed: int,
    settings: RunSettings | None = None,
    *,
    sentinel: Job,
    already: Mapping[str, Sequence[Run]] | None = None,
    afresh: bool = False,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[tuple[Job, Run]]:
    """Measure until every job is VALID or its bound is reached; yield each run as it happens.

    Store a run before asking for the next: then an interruption loses nothing, and the next call
    with the stored runs as ``already`` measures only what is missing. A job that is VALID, whose
    rounds are used up or that failed too often in a row is not visited again. Nothing is shared
    between campaigns: two devices are two calls in two threads.

    Args:
        seed: of the order of every round, with the round's number; store it.
        settings: of a visit; by default the protocol's.
        sentinel: visited at both ends of a round and every ``sentinel_every`` jobs; yielded like
            any other job.
        already: stored runs by key, the sentinel's among them.
        afresh: jobs that are not VALID and would not be visited again begin anew, and what was
            measured of them no longer counts: for a device that is quieter now.

    Raises:
        InvalidInput: two jobs with one key, or a job with the sentinel's.
        TransientDeviceError: the device did not come back within the protocol's retries.
        StableDeviceError: the device cannot go on.
    """
    check_keys(job.key for job in (*jobs, sentinel))
    settings = settings or protocol.run_settings()
    runs: defaultdict[str, list[Run]] = defaultdict(list)
    for key, stored in (already or {}).items():
        runs[key] += [condensed(run, protocol) for run in stored]
    number = 1 + max((run.round for stored in runs.values() for run in stored), default=-1)
    judges = Judge(runs, protocol, sentinel.key)
    anew = {
        job.key
        for job in jobs
        if afresh and judges.is_spent(job.key) and judges.verdict(job.key).status != Status.VALID
    }
    for key in anew:
        runs[key].clear()
    pending = [job for job in jobs if judges.is_due(job.key)]
    if not pending:
        return
    cooling = Cooling(device, protocol, sleep)
    while pending:
        order = round_order(pending, sentinel, protocol, seed, number)
        for job, visit in _round(device, order, settings, number, protocol, runs, sleep):
            run = replace(visit, afresh=True) if job.key in anew else visit
            anew.discard(job.key)
            runs[job.key].append(condensed(run, protocol))
            yield job, run
            cooling.after(run)
        number += 1
        judges = Judge(runs, protocol, sentinel.key)
        pending = [job for job in jobs if judges.is_due(job.key)]


def round_order(
    jobs: Sequence[Job], sentinel: Job, protocol: MeasuringProtocol, seed: int, number: int
) -> list[Job]:
    """The jobs shuffled by seed and round, with the sentinel first, last and in between."""
    shuffled = sorted(jobs, key=lambda job: job.key)  # the same order whatever the caller's
    random.Random(f"{seed}/{number}").shuffle(shuffled)
    order = [sentinel]
    for start in range(0, len(shuffled), protocol.sentinel_every):
        order += [*shuffled[start : start + protocol.sentinel_every], sentinel]
    return order


def _round(
    device: Device,
    order: Sequence[Job],
    settings: RunSettings,
    number: int,
    protocol: MeasuringProtocol,
    runs: Mapping[str, Sequence[Run]],
    sleep: Callable[[float], None],
) -> Iterator[tuple[Job, Run]]:
    """One round, begun again at the job that was interrupted after each transient error.

    A job that was under way whenever the device was lost, ``error_runs`` times in a row, is what
    the device cannot bear: it has failed, and the round goes on. A job that comes through the next
    time is cleared: a cable was pulled. The sentinel is never blamed.

    Args:
        runs: what the campaign has so far, by key.
    """
    done = failures = 0
    lost: list[Run] = []
    while done < len(order):
        try:
            for job, run in device.run_round(order[done:], settings, number):
                done, failures, lost = done + 1, 0, []
                yield job, replace(run, position=done - 1)
        except TransientDeviceError as error:
            failures += 1
            job, blamed = order[done], error.under_way
            if blamed is None:  # the driver cannot tell; what has failed again may be out of reach
                blamed = failures == 1 or _answers(device)
            if blamed and job != order[0]:
                why = f"the device was lost while it ran this model: {error}"
                lost.append(Run(number, done, error=why))
            before = failures_in_a_row(runs.get(job.key, ()))
            given_up = bool(lost) and before + len(lost) >= protocol.error_runs
            if failures > protocol.retries or given_up:
                yield from ((job, run) for run in lost)
            if failures > protocol.retries:
                raise TransientDeviceError(
                    f"{error} (gave up after {protocol.retries} retries at {job.key}; "
                    "finished runs are kept: start the same command again to go on)"
                ) from error
            if given_up:
                done, lost = done + 1, []
            sleep(protocol.retry_wait_s * 2 ** (failures - 1))
        else:
            if done < len(order):
                raise StableDeviceError(
                    f"the device ended round {number} after {done} of {len(order)} visits without "
                    "saying why; this is a defect of its driver"
                )


def _answers(device: Device) -> bool:
    try:
        device.telemetry()
    except TransientDeviceError:
        return False
    return True


def check_keys(keys: Iterable[str]) -> None:
    """Keys of the jobs of a campaign, the sentinel's among them.

    Raises:
        InvalidInput: two are the same.
    """
    repeated = [key for key, n in Counter(keys).items() if n > 1]
    if repeated:
        raise InvalidInput(
            f"{len(repeated)} keys name more than one job, {repeated[0]!r} first; expected a key "
            "of its own for every job and for the sentinel"
        )
