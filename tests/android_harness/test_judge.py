"""Which runs count, and verdicts of all that a store has."""

from __future__ import annotations

from dataclasses import replace

from mnasfpn.android_harness import verdict as verdict_module
from mnasfpn.android_harness.measurement import Run, Status
from mnasfpn.android_harness.sentinel import Sentinel
from mnasfpn.android_harness.verdict import (
    Judge,
    counted,
    failures_in_a_row,
    judge,
    measurement,
    measurements,
)
from mnasfpn.tests.android_harness.test_verdict import DEVICE, QUIET, THREE, run, runs, sentinels

# Runs that count


def test_runs_beyond_the_bound_never_count():
    """Six noisy runs, and then as many that agree as anybody likes."""
    noisy = runs(100, 130, 160, 190, 110, 140)
    more = [*noisy, *(run(100, 6 + n) for n in range(50))]
    assert counted(more, THREE) == noisy
    assert judge(more, THREE, None, QUIET) == judge(noisy, THREE, None, QUIET)


def test_measured_afresh_what_was_before_does_not_count():
    noisy = runs(100, 130, 160, 190, 110, 140)
    anew = [run(100, 6, afresh=True), run(100, 7), run(100, 8)]
    assert counted([*noisy, *anew], THREE) == anew
    found = measurement("k", DEVICE, [*noisy, *anew], THREE)
    assert (found.verdict.status, found.centre_us, len(found.runs)) == (Status.VALID, 100, 9)


def test_a_run_that_works_clears_a_model_of_its_failures():
    error = Run(0, 0, error="lost")
    assert failures_in_a_row([]) == 0
    assert failures_in_a_row([error, error]) == 2
    assert failures_in_a_row([error, run(100), error]) == 1
    assert failures_in_a_row([error, error, run(100)]) == 0
    assert failures_in_a_row([error, error, replace(error, afresh=True)]) == 1


# All that a store has


def store(*, models: int, apart: float, each: int = 3) -> dict[str, list[Run]]:
    """So many models of as many runs, whose figures lie that far apart."""
    return {f"m{n}": runs(*(100 * (1 + apart * i) for i in range(each))) for n in range(models)}


def test_a_model_is_judged_by_the_noise_of_all():
    for apart, expected in ((0.001, Status.VALID), (0.08, Status.UNSTABLE)):
        known = {"sentinel": sentinels(50, 50, 50), **store(models=20, apart=apart)}
        known["lucky"] = runs(100, 100, 100)
        assert Judge(known, THREE, "sentinel").verdict("lucky").status is expected


def test_the_sentinels_noise_is_the_least():
    """However quiet the models look: over groups of as many visits as a model has runs."""
    known = store(models=20, apart=0.0)
    for factor, expected in ((1.0, Status.VALID), (1.1, Status.UNSTABLE)):
        known["sentinel"] = sentinels(*[50, 50 * factor, 50 / factor] * 4)
        lax = replace(THREE, max_sentinel_drift=1.0)
        assert Judge(known, lax, "sentinel").verdict("m0").status is expected


def test_what_is_due():
    failed, good = Run(0, 0, error="no memory"), runs(100, 100, 100)
    noisy = runs(100, 130, 160, 190, 110, 140)
    known = {
        "valid": good,
        "begun": good[:1],
        "failed once": [failed],
        "given up": [failed, failed],
        "cleared": [failed, failed, run(100, 2)],
        "unstable": noisy[:4],
        "used up": noisy,
    }
    judges = Judge(known | store(models=20, apart=0.0), THREE, None)
    due = {key for key in (*known, "never seen") if judges.is_due(key)}
    assert due == {"begun", "failed once", "cleared", "unstable", "never seen"}
    assert {key for key in known if judges.is_spent(key)} == {"given up", "used up"}


def test_verdicts_of_thousands_of_models_look_at_the_sentinel_once(monkeypatch):
    looked = []
    monkeypatch.setattr(
        verdict_module, "Sentinel", lambda *seen: looked.append(seen) or Sentinel(*seen)
    )
    known = {"sentinel": sentinels(50, 50, 50), **store(models=50, apart=0.001)}
    measurements(DEVICE, known, THREE, "sentinel")
    assert len(looked) == 1
