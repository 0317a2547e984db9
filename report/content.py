"""What a report says: a profile, a search on it, and the models that came out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import __version__
from ..errors import InvalidInput, NotCovered
from ..latency.estimate.estimate import Estimator, LatencyEstimate
from ..latency.profile.device_profile import DeviceProfile
from ..latency.profiles import open_profile
from ..models.detector import Detector
from ..models.published import PUBLISHED
from ..search import frontier as frontiers
from ..search.detector_task import scorer
from ..search.frontier import FrontierRow
from ..search.study import Study, Trial
from ..storage.atomic import write_atomically
from . import plots
from .page import HtmlTable, Section, render
from .summary import unstable_warning, validation_rows

PROVENANCE_WARNING = {
    "simulated": "These latencies come from a simulated device. They say nothing about the "
    "milliseconds of a real phone.",
    "published": "These latencies were measured by others and published; nothing was measured "
    "for this profile.",
}
MOST_KERNELS = 12
#: Beside a found detector, for scale.
REFERENCE = "mobilenetv2-mnasfpn"


@dataclass(frozen=True, slots=True)
class Shipped:
    """A file that was made, and how it compares with what was promised.

    Args:
        what: for people.
        predicted_ms: latency, low and high end of its interval; None where the profile does not
            cover the file.
        measured_ms: None where it could not be measured.
        verdict: of the measurement.
        keras_difference: largest difference of a score from Keras; None for random weights.
        mean_ap: of the file itself on the task; None for random weights.
    """

    file: str
    what: str
    size_bytes: int
    predicted_ms: tuple[float, float, float] | None
    measured_ms: float | None
    verdict: str
    keras_difference: float | None = None
    mean_ap: float | None = None


def write_report(
    profile_name: str,
    study: Path | None,
    out: Path,
    shipped: Sequence[Shipped] = (),
    baseline: Path | None = None,
) -> None:
    """Write the report of a profile, a study on it, and shipped files.

    Args:
        study: its frontier, best cell and latencies.
        baseline: another study for comparison, say of random search.
    """
    profile = open_profile(profile_name)
    estimator = Estimator(profile)
    sections = [_accuracy(profile)]
    if study:
        sections += _search(study, baseline, profile_name, estimator)
    else:
        sections.append(_published_systems(estimator))
    if shipped:
        sections.append(_shipped(shipped))
    validation = profile.validation
    facts = {
        "device": profile.device.soc,
        "runtime": profile.device.runtime,
        "latencies are": profile.provenance,
        "kernels measured": str(len(profile.table)),
        "R2 on held-out models": f"{validation.accuracy.r2.value:.4f}" if validation else "none",
        "held-out models": str(validation.accuracy.models) if validation else "0",
        "UNSTABLE": profile.unstable or "not said",
    }
    page = render(
        "Latency and search report",
        f"profile {profile.name} · mnasfpn {__version__} · one thread, batch 1, up to NMS",
        facts,
        sections,
    )
    write_atomically(out, page)


def _accuracy(profile: DeviceProfile) -> Section:
    warnings = (
        PROVENANCE_WARNING.get(profile.provenance, ""),
        unstable_warning(profile, "`mnasfpn profile`, as it was made, then `mnasfpn fit`"),
    )
    warning = " ".join(filter(None, warnings))
    validation = profile.validation
    if validation is None:
        return Section(
            "How good are the predictions?",
            ("This profile has not been validated on held-out models.",),
            warning=warning,
        )
    points = validation.points
    svg = plots.predicted_against_measured(
        [point.measured_ms for point in points],
        [point.predicted_ms for point in points],
        [(point.low_ms, point.high_ms) for point in points],
        title=f"{len(points)} held-out models, R2 {validation.accuracy.r2.value:.4f}",
    )
    caption = (
        "Every point is a model that was used for nothing but this comparison; bars are stated "
        "intervals."
    )
    columns = ("figure", "prediction", "95 % interval", "measured again")
    return Section(
        "How good are the predictions?",
        (profile.summary,),
        ((svg, caption),),
        (HtmlTable(columns, tuple(validation_rows(validation))),),
        warning,
    )


def _search(
    study: Path, baseline: Path | None, profile_name: str, estimator: Estimator
) -> list[Section]:
    with Study(study) as store:
        trials, plan = store.trials(), store.plan
    ahead = frontiers.frontier(trials)
    if not ahead:
        raise InvalidInput(
            f"{study} has no finished trial to report; give it some with `mnasfpn search`"
        )
    whole = scorer(plan, profile_name).whole
    best = max(ahead, key=lambda trial: trial.reward or 0.0)
    caption = f"{len(_points(trials))} trials; reward mAP x latency^{plan.reward.exponent:g}."
    svg = plots.frontier(_points(trials), _points(ahead), _baseline(baseline))
    table = HtmlTable(FrontierRow.HEADINGS, tuple(row.cells() for row in frontiers.rows(ahead)))
    text = (
        f"Space {plan.space.space.name}, controller {plan.controller}, seed {plan.seed}. "
        "Accuracy is that of the proxy task, latency is estimated for the whole detector.",
    )
    return [
        Section("What was found?", text, ((svg, caption),), (table,)),
        _cell(best),
        _breakdown(
            estimator,
            {
                f"trial {best.number}": whole(best.cell),
                REFERENCE: PUBLISHED[REFERENCE],
            },
        ),
    ]


def _points(trials: Sequence[Trial]) -> list[tuple[float, float]]:
    scores = (trial.score for trial in trials)
    return [(score.latency_ms, score.mean_ap) for score in scores if score is not None]


def _baseline(study: Path | None) -> list[tuple[float, float]]:
    if study is None:
        return []
    with Study(study) as store:
        return _points(store.trials())


def _cell(best: Trial) -> Section:
    from ..models.drawing.svg import cell_svg

    text = (f"The trial of highest reward is number {best.number}.",)
    svg = plots.inline(cell_svg(best.cell))
    caption = "Rows are pyramid levels; the line below the cell explains its letters and colours."
    return Section("The chosen cell", text, ((svg, caption),))


def _published_systems(estimator: Estimator) -> Section:
    covered = {}
    for name, detector in PUBLISHED.items():
        try:
            estimator.estimate(detector.graph())
        except NotCovered:
            continue
        covered[name] = detector
    return _breakdown(estimator, covered)


def _breakdown(estimator: Estimator, detectors: dict[str, Detector]) -> Section:
    found = {
        name: estimator.estimate(detector.graph(), allow_gaps=True)
        for name, detector in detectors.items()
    }
    svg = plots.breakdown([(name, value.by_part_ms) for name, value in found.items()])
    caption = "Estimated milliseconds; overhead is what no kernel measured alone shows."
    first, value = next(iter(found.items()))
    rows = tuple(
        (
            name,
            f"{value.latency_ms:.2f}",
            f"{value.low_ms:.2f} to {value.high_ms:.2f}",
            ", ".join(f"{source} {ms:.1f}" for source, ms in value.by_source_ms.items()),
            value.stands_on,
        )
        for name, value in found.items()
    )
    columns = ("model", "ms", f"interval ({value.coverage:.0%})", "ms known from", "stands on")
    return Section(
        "Where does the time go?",
        (
            f"The last table has the {MOST_KERNELS} costliest kernels of {first}.",
            *(
                f"{name} has kernels that the profile does not cover: {', '.join(value.uncovered)}."
                for name, value in found.items()
                if value.uncovered
            ),
        ),
        ((svg, caption),),
        (HtmlTable(columns, rows), _costliest(value)),
    )


def _costliest(value: LatencyEstimate) -> HtmlTable:
    totals: dict[str, tuple[float, int, str]] = {}
    for item in value.contributions:
        ms, count, _ = totals.get(item.kernel, (0.0, 0, ""))
        totals[item.kernel] = (ms + item.latency_ms, count + 1, item.source)
    ranked = sorted(totals.items(), key=lambda entry: -entry[1][0])[:MOST_KERNELS]
    return HtmlTable(
        ("kernel", "times", "ms in all", "from"),
        tuple((kernel, str(count), f"{ms:.3f}", source) for kernel, (ms, count, source) in ranked),
    )


def _shipped(shipped: Sequence[Shipped]) -> Section:
    columns = (
        "file", "what", "MB", "predicted ms", "measured ms", "verdict", "from Keras", "mAP",
    )  # fmt: skip
    rows = tuple(
        (
            item.file,
            item.what,
            f"{item.size_bytes / 1e6:.2f}",
            "not covered"
            if item.predicted_ms is None
            else "{:.2f} ({:.2f} to {:.2f})".format(*item.predicted_ms),
            "not measured" if item.measured_ms is None else f"{item.measured_ms:.2f}",
            item.verdict,
            "" if item.keras_difference is None else f"{item.keras_difference:.2g}",
            "" if item.mean_ap is None else f"{item.mean_ap:.3f}",
        )
        for item in shipped
    )
    text = (
        "Each file was run on the device of the profile. The difference from Keras is the largest "
        "of any score on real images; mAP is the file's own on the task's validation images.",
    )
    return Section(
        "What was shipped, and does it keep its promise?", text, (), (HtmlTable(columns, rows),)
    )
