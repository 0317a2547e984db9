"""The main job from end to end on this PC: profile, fit, search, train, export, measure, report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..android_harness.measurement import HOST
from ..android_harness.protocol import HOST_PROTOCOL, quick
from ..errors import InvalidInput, JobFailed
from ..latency.estimate.estimate import Estimator
from ..latency.fitting.fit import fit
from ..latency.profile.device_profile import DeviceProfile, load_profile, save_profile
from ..latency.profiling.measured_files import measure_files
from ..latency.profiling.profile_device import profile_device
from ..latency.profiling.profile_options import ProfileOptions
from ..latency.profiling.session import Session
from ..latency.profiling.store import MeasurementStore
from ..models.data.digits import DigitsSettings
from ..models.detector import Detector
from ..models.graph.graph import Graph
from ..models.published import published
from ..models.space import MNASFPN, Space
from ..models.training.recipes import RECIPES, Recipe
from ..report.content import Shipped, write_report
from ..report.summary import unstable_warning
from ..search.detector_search import search
from ..search.detector_task import DETECTOR, DetectorTask, scorer
from ..search.proxy.preparation import prepare_proxy
from ..search.proxy.proxy_settings import ProxySettings
from ..search.proxy.task import BACKBONE
from ..search.search_request import SearchRequest
from ..search.study import Study, StudyPlan, Trial
from ..storage.atomic import write_atomically
from .console import progress, say, say_unused

if TYPE_CHECKING:
    from ..models.export.convert import Precision

EXPORT_IMAGES = 32
QUICK_AP_DROP = 0.1  # so small a detector, trained for so short, loses more to int8
SHIPPED: tuple[Precision, ...] = ("float32", "int8")
DIGIT_CLASSES = 10


@dataclass(frozen=True)
class Size:
    """How much of everything; the defaults fit into ten minutes on two cores.

    Args:
        space: whose kernels and heads are measured.
        calibration_heads, validation_heads: measured whole; the latter for validation alone.
        samples: trials of the controller, and of random search beside it.
        batch: trials between two updates of the controller; few, for it to learn from few.
        workers: processes that train trials.
        digits, proxy: the task of the search.
        recipe: of the winner's training.
    """

    space: Space = MNASFPN
    calibration_heads: int = 20
    validation_heads: int = 24
    samples: int = 16
    batch: int = 4
    workers: int = 2
    digits: DigitsSettings = DigitsSettings()  # noqa: RUF009 - frozen
    proxy: ProxySettings = ProxySettings()  # noqa: RUF009 - frozen
    recipe: Recipe = RECIPES["digits"]


FULL = Size()


@dataclass(frozen=True, slots=True)
class Folder:
    """What the quickstart leaves behind, and what lies in it."""

    root: Path

    @property
    def profile(self) -> Path:
        return self.root / "profile.json"

    @property
    def store(self) -> Path:
        return self.root / "measurements.db"

    @property
    def study(self) -> Path:
        return self.root / "study.db"

    @property
    def baseline(self) -> Path:
        return self.root / "random-search.db"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def report(self) -> Path:
        return self.root / "report.html"

    def model(self, name: str) -> Path:
        return self.root / f"{name}.tflite"


def run_quickstart(out: Path, seed: int, quiet: bool, size: Size = FULL) -> dict[str, Any]:
    """Do everything; a folder that holds part of it already is continued.

    Args:
        quiet: print nothing; the result is what ``--json`` prints.
    """
    started = time.perf_counter()
    folder = Folder(out)
    out.mkdir(parents=True, exist_ok=True)
    profile = _profile(folder, seed, quiet, size)
    best, plan = _search(folder, seed, quiet, size)
    files = _ship(folder, best, plan, seed, quiet, size)
    shipped = _measure(folder, profile, files, quiet)
    write_report(str(folder.profile), folder.study, folder.report, shipped, folder.baseline)
    seconds = time.perf_counter() - started
    if not quiet:
        _print_summary(folder, profile, shipped, seconds)
    validation = profile.validation
    assert validation is not None
    return {
        "folder": str(out),
        "seconds": seconds,
        "r2": validation.accuracy.r2.value,
        "repeat_r2": validation.noise_floor.r2.value if validation.noise_floor else None,
        "unstable_share": profile.unstable_shares,
        "best_trial": best.number,
        "shipped": [asdict(item) for item in shipped],
        "report": str(folder.report),
    }


def _profile(folder: Folder, seed: int, quiet: bool, size: Size) -> DeviceProfile:
    """Measure this PC and fit; validated on heads that are used for nothing else."""
    from ..android_harness.devices import opened

    if folder.profile.exists():  # finished by an earlier call; the search's trials stand on it
        return _validated(load_profile(folder.profile), folder.profile)
    asked = ProfileOptions(
        calibration_heads=size.calibration_heads,
        validation_heads=size.validation_heads,
        seed=seed,
    )
    detectors = (published(DETECTOR).graph(), _small_detector(size).graph())
    plan = replace(asked.plan(), space=size.space, detectors=detectors)
    with (
        opened(HOST, None) as pc,
        MeasurementStore(folder.store) as store,
        progress("1/6 profile this PC", quiet=quiet) as report,
    ):
        protocol = quick(HOST_PROTOCOL)
        session = Session(pc, store, protocol, seed=seed, progress=report)
        if not quiet:
            say_unused(session.runs_without_digest)
        measured = profile_device(session, plan)
    with progress("2/6 fit, validate ", quiet=quiet) as report:
        fitted = fit(measured)
        report(1, 1, fitted.summary)
    save_profile(fitted, folder.profile)
    return fitted


def _validated(profile: DeviceProfile, path: Path) -> DeviceProfile:
    if profile.validation is None:
        raise InvalidInput(
            f"{path} was not made by the quickstart: it is not fitted; choose another folder with "
            f"--out, or run `mnasfpn fit {path}`"
        )
    return profile


def _small_detector(size: Size) -> Detector:
    """What the proxy task trains, with the paper's cell: the winner shares all but the cell."""
    proxy = size.proxy
    head = published(DETECTOR).head
    return Detector(proxy.backbone, head, proxy.predictor, DIGIT_CLASSES, proxy.input_size)


def _search(folder: Folder, seed: int, quiet: bool, size: Size) -> tuple[Trial, StudyPlan]:
    """PPO, and random search for comparison; the trial of highest reward of the first."""
    for study, controller in ((folder.study, "ppo"), (folder.baseline, "random")):
        asked = SearchRequest(
            profile=str(folder.profile),
            study=study,
            controller=controller,
            samples=size.samples,
            workers=size.workers,
            seed=seed,
            batch=size.batch if controller == "ppo" else None,
            proxy=size.proxy,
            digits=size.digits,
        )
        with progress(f"3/6 search {controller:7}", quiet=quiet) as report:
            search(asked, report)
    with Study(folder.study) as store:
        finished = [trial for trial in store.trials() if trial.reward is not None]
        plan = store.plan
    if not finished:
        raise JobFailed(f"no trial of {folder.study} finished; see their reasons in the study")
    return max(finished, key=lambda trial: trial.reward or 0.0), plan


@dataclass(frozen=True, slots=True)
class _File:
    """A file to measure, before it is."""

    path: Path
    what: str
    graph: Graph | None  # None: the profile does not cover its number format
    keras_difference: float | None = None
    mean_ap: float | None = None


def _ship(
    folder: Folder, best: Trial, plan: StudyPlan, seed: int, quiet: bool, size: Size
) -> list[_File]:
    """Train the winner on the task, export it; and its full-size detector as a benchmark file."""
    from ..models.data.coco import read_coco
    from ..models.export.description import training_data
    from ..models.export.export import Shipment, export
    from ..models.export.judged_images import HeldOut, calibration_images
    from ..models.export.shipped_graph import shipped_graph
    from ..models.tflite.reader import read_tflite
    from ..models.tflite.writer import write_tflite
    from ..models.training.run_folder import load_weights
    from ..models.training.train import train

    task = DetectorTask.of(plan)
    train_split, val_split = (read_coco(task.dataset, split) for split in ("train", "val"))
    small = prepare_proxy(task.dataset, task.proxy, size.proxy).detector(best.cell)
    with progress("4/6 train winner  ", quiet=quiet) as report:
        run = train(
            small,
            train_split,
            size.recipe,
            folder.run,
            seed=seed,
            initial=load_weights(task.proxy / BACKBONE),
            progress=report,
        )
    files = []
    images = calibration_images(train_split, small.input_size, EXPORT_IMAGES, seed)
    held_out = HeldOut(small.input_size, val_split)
    with progress("5/6 export        ", quiet=quiet) as report:
        for done, precision in enumerate(SHIPPED, start=1):
            path = folder.model(f"winner-{precision}")
            shipment = Shipment(
                small, run.weights, val_split.classes, precision, "raw", training_data(run)
            )
            comparison = export(shipment, path, held_out, images, QUICK_AP_DROP).comparison
            precisions = comparison.average_precision
            files.append(
                _File(
                    path,
                    f"winner, trained on {task.task} at {small.input_size} px, {precision}",
                    read_tflite(path) if precision == "float32" else None,
                    comparison.max_score_difference,
                    precisions.after if precisions else None,
                )
            )
            report(done, len(SHIPPED), precision)
    whole = scorer(plan).whole(best.cell)
    what = f"winner as it would ship at {whole.input_size} px, random weights, for timing"
    graph = shipped_graph(whole)
    path = write_atomically(folder.model("winner-full-size"), write_tflite(graph))
    return [*files, _File(path, what, graph)]


def _measure(
    folder: Folder, profile: DeviceProfile, files: Sequence[_File], quiet: bool
) -> list[Shipped]:
    """Every file's latency on this PC, beside what the profile promised."""
    from ..android_harness.devices import opened

    estimator = Estimator(profile)
    with (
        opened(HOST, None) as pc,
        MeasurementStore(folder.store) as store,
        progress("6/6 measure       ", quiet=quiet) as report,
    ):
        session = Session(pc, store, quick(HOST_PROTOCOL), progress=report)
        found = measure_files(session, {file.path.name: file.path for file in files})
    shipped = []
    for file in files:
        measured = found[file.path.name]
        value = estimator.estimate(file.graph) if file.graph else None
        shipped.append(
            Shipped(
                file.path.name,
                file.what,
                file.path.stat().st_size,
                (value.latency_ms, value.low_ms, value.high_ms) if value else None,
                None if measured.centre_us is None else measured.centre_us / 1e3,
                measured.verdict.status.value,
                file.keras_difference,
                file.mean_ap,
            )
        )
    return shipped


def _print_summary(
    folder: Folder, profile: DeviceProfile, shipped: Sequence[Shipped], seconds: float
) -> None:
    say(f"\nDone in {seconds / 60:.1f} minutes.", "bold")
    say(profile.summary)
    warning = unstable_warning(profile, "mnasfpn quickstart --out ANOTHER_FOLDER")
    if warning:
        say(warning, "yellow")
    for item in shipped:
        predicted = f"{item.predicted_ms[0]:.2f} ms" if item.predicted_ms else "not covered"
        measured = "not measured" if item.measured_ms is None else f"{item.measured_ms:.2f} ms"
        say(f"  {item.file}: predicted {predicted}, measured {measured} ({item.verdict})")
    say(
        f"In {folder.root}/: report.html (open it in a browser), profile.json, study.db, "
        "random-search.db, run/, *.tflite\nTry next:\n"
        f"  mnasfpn estimate mobilenetv3-mnasfpn --profile {folder.profile} --layers\n"
        f"  mnasfpn frontier {folder.study} --out {folder.root}/finalists\n"
        "  mnasfpn estimate mobilenetv2-mnasfpn --profile pixel1-published"
    )
