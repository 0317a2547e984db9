"""``python -m mnasfpn.benchmarks.ablation PROFILE... --loaded PROFILE...``: which law pays.

From kernels measured alone to whole models lead plain laws and rich ones. Each is fitted to the
calibration heads of profiles of this PC and predicts their held-out heads. Next to the error stands
how much larger it is than the best law's, with an interval: profiles are resampled, and heads in
them, the same for both laws. The default is the simplest law that is not significantly worse.

Profiles made by version 0.1.0 with ``--operators yes`` also hold what every kernel of a calibration
head took inside it. With them each law is fitted once more, its coefficients of kernels drawn
towards what the operators say.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import click
import numpy as np

from ..cli.console import command, progress
from ..latency.fitting.fit import fit_regressions, head_plan, measured_cost
from ..latency.fitting.held_out import Chosen
from ..latency.kernels.cache_traffic import MEGABYTE, cold_megabytes, family
from ..latency.kernels.execution import ExecutionPlan
from ..latency.kernels.features import Matrix
from ..latency.profile.device_profile import DeviceProfile, MeasuredHead, load_profile
from ..storage.atomic import write_atomically
from .laws import LAWS, Law, Models, fit, predict

OUT = Path(__file__).parent / "results"
RESAMPLES = 4000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Campaign:
    """One profile: what laws are fitted to, and what they are tested on."""

    seed: int
    condition: str
    calibration: Models
    validation: Models
    sigma: float
    unstable: float


def campaign(path: Path, condition: str) -> Campaign:
    profile = load_profile(path)
    heads = json.loads(path.read_text())["heads"]
    steps_us = {head["name"]: head.get("steps_us", ()) for head in heads}
    regressors = {kind: each.regressor for kind, each in fit_regressions(profile).items()}
    profile = replace(profile, regressors=regressors)
    plans = {head.name: head_plan(profile, head) for head in profile.heads}
    names = sorted({family(kernel) for plan in plans.values() for kernel in plan.kernels})
    validation = profile.heads_for("validation")
    twice = [(each.latency_ms, each.repeat_ms) for each in validation if each.repeat_ms]
    once, again = np.asarray(twice).T
    return Campaign(
        profile.campaign.seed,
        condition,
        _models(profile, profile.heads_for("calibration"), plans, names, steps_us),
        _models(profile, validation, plans, names, {}),
        rms(again / once - 1) / np.sqrt(2),
        profile.campaign.unstable,
    )


def _models(
    profile: DeviceProfile,
    heads: Sequence[MeasuredHead],
    plans: dict[str, ExecutionPlan],
    names: list[str],
    steps_us: dict[str, Sequence[float]],
) -> Models:
    cost = measured_cost(profile)
    families, overheads, steps = [], [], []
    for head in heads:
        plan = plans[head.name]
        each = np.zeros((len(plan.kernels), len(names), 4))
        for step, kernel in zip(each, plan.kernels, strict=True):
            step[names.index(family(kernel))] = (cost(kernel)[0], *cold_megabytes(kernel))
        families.append(each.sum(axis=0))
        partitions = plan.delegate_partitions
        crossing = sum(partition.bytes_in + partition.bytes_out for partition in partitions)
        overheads.append((1.0, len(partitions), crossing / MEGABYTE))
        wanted_us = np.asarray(steps_us.get(head.name, ()), dtype=float)
        steps.append((each[: len(wanted_us)], wanted_us))
    latency_us = np.asarray([1e3 * head.latency_ms for head in heads])
    return Models(latency_us, np.asarray(families), np.asarray(overheads), tuple(steps))


def rms(values: Matrix) -> float:
    return float(np.sqrt((values**2).mean()))


@dataclass(frozen=True)
class Row:
    """One law.

    Args:
        rmspe: of held-out heads, by campaign.
        ratio, low, high: of its error to the best law's, and the interval of that.
    """

    law: Law
    rmspe: tuple[float, ...]
    ratio: float
    low: float
    high: float

    @property
    def worse(self) -> bool:
        """Whether it is significantly worse than the best."""
        return self.low > 1


def compare(errors: dict[Law, list[Matrix]], conditions: Sequence[str], seed: int = 0) -> list[Row]:
    """Rows of laws.

    Args:
        errors: law -> of each campaign, relative errors of its held-out heads, in one order.
        conditions: of the campaigns, which are resampled among those of the same.
    """
    found = {law: [rms(each) for each in its] for law, its in errors.items()}
    best = min(found, key=lambda law: float(np.log(found[law]).mean()))
    rng = np.random.default_rng(seed)
    logs: dict[Law, list[float]] = {law: [] for law in errors}
    for _ in range(RESAMPLES):
        drawn = _resample(rng, errors[best], conditions)
        for law, its in errors.items():
            mean = np.mean([np.log(rms(its[i][heads])) for i, heads in drawn])
            logs[law].append(float(mean))
    tail = (1 - CONFIDENCE) / 2
    rows = []
    for law, rmspe in found.items():
        difference = np.asarray(logs[law]) - np.asarray(logs[best])
        low, high = np.exp(np.quantile(difference, (tail, 1 - tail)))
        ratio = float(np.exp((np.log(rmspe) - np.log(found[best])).mean()))
        rows.append(Row(law, tuple(rmspe), ratio, float(low), float(high)))
    return rows


def _resample(
    rng: np.random.Generator, errors: list[Matrix], conditions: Sequence[str]
) -> list[tuple[int, Chosen]]:
    """(campaign, its heads) as often as there are campaigns."""
    drawn = []
    for condition in sorted(set(conditions)):
        its = [i for i, each in enumerate(conditions) if each == condition]
        for i in rng.choice(its, len(its)):
            drawn.append((int(i), rng.integers(0, len(errors[i]), len(errors[i]))))
    return drawn


def simplest(rows: Sequence[Row]) -> Row:
    """The first that is not significantly worse than the best; rows from simple to rich."""
    return next(row for row in rows if not row.worse)


def errors_of(law: Law, each: Campaign) -> Matrix:
    """Relative errors of the held-out heads."""
    fitted = fit(law, each.calibration)
    return predict(law, each.validation, fitted) / each.validation.latency_us - 1


def markdown(
    rows: Sequence[Row], campaigns: Sequence[Campaign], device: str, note: str = ""
) -> str:
    chosen = simplest(rows)
    lines = [
        "# Which law leads from kernels to models",
        "",
        f"Provenance: measured, on one pinned core of {device}. Every campaign has the kernels of "
        f"the MnasFPN space, {len(campaigns[0].calibration.latency_us)} heads to fit laws to "
        f"and {len(campaigns[0].validation.latency_us)} others, drawn uniformly, that are "
        "predicted. While the loaded ones were measured, another program kept the pinned core "
        "busy. Sigma is what one measurement is off by (of two of the same head, the RMS relative "
        "difference over the square root of 2): it is in every error."
        + (f" {note}" if note else ""),
        "",
        "| campaign | condition | sigma | UNSTABLE | fastest and slowest held-out head |",
        "|---|---|---|---|---|",
    ]
    for each in campaigns:
        low, high = each.validation.latency_us.min() / 1e3, each.validation.latency_us.max() / 1e3
        lines.append(
            f"| seed {each.seed} | {each.condition} | {each.sigma:.1%} | {each.unstable:.1%} | "
            f"{low:.1f} and {high:.1f} ms |"
        )
    seeds = " | ".join(f"{each.condition} {each.seed}" for each in campaigns)
    lines += [
        "",
        "RMSPE of the held-out heads by campaign; the error over the best law's, all campaigns "
        f"together, with its {CONFIDENCE:.0%} interval ({RESAMPLES} resamples of campaigns and of "
        "their heads, in pairs). From the simplest law to the richest; with operators: "
        "coefficients of kernels are drawn to what operator profiles of the heads say.",
        "",
        f"| law | {seeds} | over the best | significantly worse |",
        "|---|" + "---|" * (len(campaigns) + 2),
    ]
    for row in rows:
        name = row.law.name + (", with operators" if row.law.operators else "")
        errors = " | ".join(f"{each:.1%}" for each in row.rmspe)
        lines.append(
            f"| {f'**{name}**' if row is chosen else name} | {errors} | {row.ratio:.2f} "
            f"[{row.low:.2f}, {row.high:.2f}] | {'yes' if row.worse else 'no'} |"
        )
    return "\n".join(lines) + "\n"


PROFILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@command
@click.argument("profiles", nargs=-1, required=True, type=PROFILE)
@click.option("--loaded", multiple=True, type=PROFILE, help="One of a busy machine; repeatable.")
@click.option("--note", default="", help="On how the profiles were made; goes into the results.")
@click.option("--out", type=click.Path(path_type=Path), default=OUT, help="Where results go.")
def main(
    profiles: tuple[Path, ...], loaded: tuple[Path, ...], note: str, out: Path, as_json: bool
) -> dict[str, object]:
    """Laws from kernels to models, fitted and compared on profiles of this PC."""
    campaigns = [campaign(path, "quiet") for path in profiles]
    campaigns += [campaign(path, "loaded") for path in loaded]
    by_operator = all(len(us) for each in campaigns for _, us in each.calibration.steps)
    laws = [law for law in LAWS if by_operator or not law.operators]
    errors: dict[Law, list[Matrix]] = {}
    with progress("fitting laws", quiet=as_json) as watch:
        for number, law in enumerate(laws, start=1):
            errors[law] = [errors_of(law, each) for each in campaigns]
            watch(number, len(laws), law.name)
    rows = compare(errors, [each.condition for each in campaigns])
    text = markdown(rows, campaigns, load_profile(profiles[0]).device.soc, note)
    result: dict[str, object] = {
        "provenance": "measured",
        "note": note,
        "campaigns": [
            {name: getattr(each, name) for name in ("seed", "condition", "sigma", "unstable")}
            for each in campaigns
        ],
        "laws": [{**asdict(row), "significantly_worse": row.worse} for row in rows],
        "chosen": asdict(simplest(rows).law),
    }
    write_atomically(out / "ablation.json", json.dumps(result, indent=1) + "\n")
    write_atomically(out / "ablation.md", text)
    if not as_json:
        click.echo(text)
    return result


if __name__ == "__main__":
    main(prog_name="python -m mnasfpn.benchmarks.ablation")
