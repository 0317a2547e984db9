"""``python -m mnasfpn.benchmarks.coverage PROFILE...``: whether 90 % intervals hold 90 %.

Twice. Simulated: residuals of several shapes, thousands of times. Measured: the heads of profiles
of this PC that were drawn uniformly are divided at random, again and again; a calibration is fitted
to some, and the interval that it states is tried on the others.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import click
import numpy as np

from ..cli.console import command, progress
from ..latency.fitting.calibration_fit import fit_law, model_terms, predict_left_out
from ..latency.fitting.fit import fit_regressions, head_plan, measured_cost
from ..latency.fitting.held_out import Chosen
from ..latency.fitting.intervals import residual_interval
from ..latency.kernels.features import Matrix
from ..latency.profile.calibration import Interval
from ..latency.profile.device_profile import load_profile
from ..storage.atomic import write_atomically
from .ablation import PROFILE

OUT = Path(__file__).parent / "results"
COUNTS = (19, 24, 40)  # of heads to calibrate on
REPEATS = 10_000  # simulated
DIVISIONS = 40  # of the heads of each profile
SHAPES: dict[str, Callable[[np.random.Generator, tuple[int, int]], Matrix]] = {
    "normal": lambda rng, size: rng.normal(0, 0.05, size),
    "heavy tails (Student, 3 degrees)": lambda rng, size: 0.03 * rng.standard_t(3, size),
    "one-sided (exponential)": lambda rng, size: 0.05 * rng.exponential(size=size),
}


@dataclass(frozen=True)
class Held:
    """How often measurements lay where.

    Args:
        of: what was drawn, or the profile.
        count: residuals that each interval was made from.
        inside, below, above: shares.
        low, high: between which 95 % of single intervals held.
        tried: measurements.
    """

    of: str
    count: int
    inside: float
    below: float
    above: float
    low: float
    high: float
    tried: int


def held(of: str, count: int, tried: Sequence[tuple[Interval, Matrix]]) -> Held:
    """Of intervals, each with the ratios of new measurements to their predictions."""
    below = np.asarray([np.mean(ratios < interval.low) for interval, ratios in tried])
    above = np.asarray([np.mean(ratios > interval.high) for interval, ratios in tried])
    low, high = np.quantile(1 - below - above, (0.025, 0.975))
    return Held(
        of,
        count,
        float(1 - below.mean() - above.mean()),
        float(below.mean()),
        float(above.mean()),
        float(low),
        float(high),
        sum(len(ratios) for _, ratios in tried),
    )


def simulated(seed: int = 0) -> Iterator[Held]:
    """Intervals from residuals of each shape, tried on a hundred more each."""
    for shape, draw in SHAPES.items():
        for count in COUNTS:
            ratios = np.exp(draw(np.random.default_rng((seed, count)), (REPEATS, count + 100)))
            tried = [
                (residual_interval(np.ones(count), each[:count]), each[count:]) for each in ratios
            ]
            yield held(shape, count, tried)


def measured(path: Path, seed: int = 0) -> Iterator[Held]:
    """Of a profile's validation heads, divided at random."""
    profile = load_profile(path)
    regressors = {kind: each.regressor for kind, each in fit_regressions(profile).items()}
    cost = measured_cost(replace(profile, regressors=regressors))
    heads = profile.heads_for("validation")
    plans = [head_plan(profile, head) for head in heads]
    arithmetics = sorted({kernel.dtype for plan in plans for kernel in plan.kernels})
    terms = np.asarray([model_terms(plan, cost, arithmetics) for plan in plans])
    latency_us = np.asarray([1e3 * head.latency_ms for head in heads])
    rng = np.random.default_rng(seed)
    for count in COUNTS:
        tried = [
            _divided(terms, latency_us, rng.permutation(len(heads)), count)
            for _ in range(DIVISIONS)
        ]
        yield held(f"seed {profile.campaign.seed}", count, tried)


def _divided(
    terms: Matrix, latency_us: Matrix, order: Chosen, count: int
) -> tuple[Interval, Matrix]:
    """The interval that the first so many of an order give, and ratios of the others."""
    mine, others = order[:count], order[count:]
    fitted_on, us = terms[mine], latency_us[mine]
    interval = residual_interval(predict_left_out(fitted_on, us, fitted_on), us)
    return interval, latency_us[others] / fit_law(fitted_on, us).predict_us(terms[others])


def table(rows: Sequence[Held], of: str) -> list[str]:
    lines = [
        f"| {of} | residuals | inside | below | above | 95 % of single intervals hold | tried |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.of} | {row.count} | {row.inside:.1%} | {row.below:.1%} | {row.above:.1%} | "
        f"{row.low:.0%} to {row.high:.0%} | {row.tried:,} |"
        for row in rows
    ]
    return [*lines, ""]


def all_profiles(rows: Sequence[Held]) -> list[Held]:
    """The mean over profiles for each number of residuals."""
    found = []
    for count in COUNTS:
        its = [row for row in rows if row.count == count]
        if not its:
            continue
        names = ("inside", "below", "above", "low", "high")
        means = {name: float(np.mean([getattr(row, name) for row in its])) for name in names}
        tried = sum(row.tried for row in its)
        found.append(Held(of="all", count=count, tried=tried, **means))
    return found


def markdown(simulation: Sequence[Held], rows: Sequence[Held], device: str) -> str:
    lines = [
        "# Whether 90 % intervals hold 90 %",
        "",
        f"**Simulated** residuals, {REPEATS:,} times: an interval from so many of them, tried on a "
        "hundred more.",
        "",
        *table(simulation, "residuals"),
        f"**Measured** on one pinned core of {device}: held-out heads of the profiles that "
        f"`ablation.md` describes, all drawn uniformly, divided at random {DIVISIONS} times. A "
        "calibration is fitted to so many of them; its interval, from each of them left out, is "
        "tried on the rest. Divisions of the same heads are not independent, and single intervals "
        "are tried on few heads.",
        "",
        *table([*rows, *all_profiles(rows)], "profile"),
    ]
    return "\n".join(lines)


@command
@click.argument("profiles", nargs=-1, required=True, type=PROFILE)
@click.option("--out", type=click.Path(path_type=Path), default=OUT, help="Where results go.")
def main(profiles: tuple[Path, ...], out: Path, as_json: bool) -> dict[str, object]:
    """Simulated residuals, and the held-out heads of profiles divided again and again."""
    rows: list[Held] = []
    simulation = list(simulated())
    with progress("dividing heads", quiet=as_json) as watch:
        for number, path in enumerate(profiles, start=1):
            rows += measured(path)
            watch(number, len(profiles), path.name)
    text = markdown(simulation, rows, load_profile(profiles[0]).device.soc)
    result: dict[str, object] = {
        "simulated": [asdict(row) for row in simulation],
        "measured": [asdict(row) for row in rows],
        "all profiles": [asdict(row) for row in all_profiles(rows)],
    }
    write_atomically(out / "coverage.json", json.dumps(result, indent=1) + "\n")
    write_atomically(out / "coverage.md", text)
    if not as_json:
        click.echo(text)
    return result


if __name__ == "__main__":
    main(prog_name="python -m mnasfpn.benchmarks.coverage")
