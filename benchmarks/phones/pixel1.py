"""A Pixel 1 without a Pixel 1: rates from published numbers, checked on the paper's detectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...android_harness.measurement import UNREADABLE, DeviceInfo
from ...latency import profiles
from ...latency.fitting.accuracy import validate
from ...latency.fitting.held_out import held_out
from ...latency.fitting.intervals import COVERAGE, conformal_half_width
from ...latency.fitting.kernel_rates import (
    RateModel,
    TimedModel,
    fit_rates,
    geometric_factor,
    predict_held_out,
)
from ...latency.kernels.execution import execution_plan
from ...latency.kernels.features import Matrix
from ...latency.kernels.kernel import Kernel
from ...latency.kernels.runtimes import BUILTIN
from ...latency.profile.calibration import Calibration, FamilyCalibration
from ...latency.profile.device_profile import CampaignRecord, DeviceProfile, save_profile
from ...latency.profile.validation import HeldOutModel
from ...latency.profiling.space_kernels import space_kernels
from ...models.published import PAPER, published
from ...models.space import MNASFPN_SPACES
from .classifiers import ARCHITECTURES, classifier, lut_entry
from .figures import Figures, figures, number, read_rows

# MobileNetV2's and MnasNet-A1's rows are of 2018. MobileNetV3's paper of 2019 has MobileNetV2 at
# 64 ms instead of 73.8 ms: another version of the runtime.
SPEEDS = {"mobilenet_v2": "2018", "mnasnet_a1": "2018", "mobilenet_v3": "2019"}
REFERENCE = "2018"
BUNDLED = Path(profiles.__file__).parent
BLOCK_WEIGHT = 0.05  # a network has about twenty blocks, so that many rows count as one model
# NAS-FPNLite is left out: no model as described has its figures, so none can be timed.
DETECTORS = tuple(name for name in PAPER if name != "mobilenetv2-nasfpnlite")
SOURCES = (
    "Chen et al., MnasFPN, CVPR 2020, Tables 1 and 3: eleven detectors (calibration, validation)",
    "tensorflow/models, research/slim/nets/mobilenet/README.md: MobileNetV2, MobileNetV3",
    "tensorflow/tpu, models/official/mnasnet/README.md: MnasNet-A1",
    "han-cai/files, proxylessnas/mobile_trim.yaml: ProxylessNAS block table",
)


def published_models(path: Path) -> list[TimedModel]:
    """Float TFLite classifiers that can be built here; other runtimes' rows are left out."""
    found = []
    for row in read_rows(path, "model", "width", "resolution", "runtime", "latency_ms"):
        architecture = ARCHITECTURES.get(row["model"])
        if architecture and row["runtime"] == "TFLite":
            graph = classifier(row["model"], number(row, "width"), int(row["resolution"]))
            name = f"{row['model']} {row['width']} {row['resolution']}"
            kernels = execution_plan(graph, BUILTIN).kernels
            found.append(
                TimedModel(
                    name,
                    kernels,
                    number(row, "latency_ms"),
                    architecture,
                    SPEEDS[architecture],
                )
            )
    return found


def proxylessnas_blocks(path: Path) -> list[TimedModel]:
    """The rows of the ProxylessNAS look-up table that are blocks."""
    found = []
    columns = ("hin", "win", "cin", "hout", "wout", "cout", "mean_ms", "std_ms", "count")
    for index, row in enumerate(read_rows(path, "layer", *columns)):
        entry = lut_entry(row)
        if entry.layer != "AvgPool2D":
            kernels = execution_plan(entry.graph(fuse_relu6=True), BUILTIN).kernels
            found.append(
                TimedModel(
                    f"{entry.layer} {index}",
                    kernels,
                    entry.mean_ms,
                    "proxylessnas",
                    "proxylessnas",
                    BLOCK_WEIGHT,
                )
            )
    return found


def detectors() -> list[TimedModel]:
    """The paper's detectors that can be built as described, with its latencies."""
    return [
        TimedModel(
            name,
            execution_plan(published(name).graph(), BUILTIN).kernels,
            PAPER[name].latency_ms,
            "paper",
            "paper",
        )
        for name in DETECTORS
    ]


def searched_kernels() -> tuple[Kernel, ...]:
    """Of the spaces that the paper searched; what NAS-FPNLite-S has is among what they have."""
    return tuple(
        kernel
        for space in MNASFPN_SPACES.values()
        for kernel in space_kernels(space, runtime=BUILTIN)
    )


def fit(models: list[TimedModel]) -> RateModel:
    return fit_rates(models, reference=REFERENCE)


def leave_one_architecture_out(models: list[TimedModel]) -> list[Figures]:
    """Each architecture of classifiers predicted from the others, with and without its own factor.

    The factor is calibrated leave-one-out on the architecture's: rates carry over between them,
    the speed of a runtime's version does not.
    """
    from sklearn.model_selection import LeaveOneGroupOut

    found = []
    groups = np.asarray([model.architecture for model in models])
    from_others = predict_held_out(models, LeaveOneGroupOut().split(models, groups=groups), fit)
    for architecture in SPEEDS:
        tested = np.flatnonzero(groups == architecture)
        measured, predicted = _measured([models[i] for i in tested]), from_others[tested]
        for text, values in (
            ("as predicted", predicted),
            ("one factor, leave-one-out", one_factor(measured, predicted)),
        ):
            what = f"Pixel 1, {architecture} from the other architectures, {text}"
            names = [models[i].name for i in tested]
            found.append(figures(what, len(models) - len(tested), names, measured, values))
    return found


def paper_detectors(models: list[TimedModel]) -> tuple[Figures, Matrix]:
    """The paper's detectors from classifiers and blocks, one factor calibrated leave-one-out."""
    tested = detectors()
    measured = _measured(tested)
    predicted = one_factor(measured, fit(models).predict_ms([m.kernels for m in tested]))
    what = "Pixel 1, the paper's eleven detectors, one factor, leave-one-out"
    names = [model.name for model in tested]
    return figures(what, len(models), names, measured, predicted), predicted


def one_factor(measured: Matrix, predicted: Matrix) -> Matrix:
    """Predictions times the factor that fits all models but the one predicted."""
    from sklearn.model_selection import LeaveOneOut

    return held_out(
        LeaveOneOut().split(measured),
        lambda kept, left: predicted[left] * geometric_factor(measured[kept], predicted[kept]),
    )


def profile(models: list[TimedModel]) -> DeviceProfile:
    """The bundled ``pixel1-published``: rates as regressions, the paper's speed as calibration."""
    tested = detectors()
    measured = _measured(tested)
    rates = fit(models)
    factor = geometric_factor(measured, rates.predict_ms([m.kernels for m in tested]))
    _, left_out = paper_detectors(models)
    half_width = conformal_half_width(left_out, measured)
    # Half of what another architecture was off by: all of it outside the range fitted.
    errors = [row.agreement.rmspe.value for row in leave_one_architecture_out(models)]
    measured_kernels = [kernel for model in (*models, *tested) for kernel in model.kernels]
    unseen = (kernel for kernel in searched_kernels() if kernel.kind not in rates.kinds)
    regressors = rates.regressors([*measured_kernels, *unseen], half_width=max(errors[1::2]) / 2)
    points = [
        HeldOutModel(
            model.name,
            model.latency_ms,
            float(p),
            float(p / (1 + half_width)),
            float(p * (1 + half_width)),
        )
        for model, p in zip(tested, left_out, strict=True)
    ]
    calibration = Calibration(
        families=dict.fromkeys(regressors, FamilyCalibration(factor)),
        models=len(tested),
        shrinkage=0.0,
        half_width=half_width,
        coverage=COVERAGE,
    )
    return DeviceProfile(
        name="pixel1-published",
        provenance="published",
        device=DeviceInfo(
            serial=UNREADABLE,
            model="Google Pixel 1",
            soc="Qualcomm Snapdragon 821",
            os=UNREADABLE,
            abi="arm64-v8a",
            runtime="TensorFlow Lite of 2019, built-in kernels, one large core",
            provenance="published",
        ),
        runtime=BUILTIN.name,
        campaign=CampaignRecord(
            protocol="published",
            statistic="latencies as published; validation leaves one detector out of the factor",
            seed=0,
            settings={"models fitted on": len(models)},
        ),
        dispatch_us=0.0,
        table=(),
        regressors=regressors,
        calibration=calibration,
        validation=validate(points),
        sources=SOURCES,
    )


def write_profile(models: list[TimedModel]) -> None:
    """Renew the profile that the package bundles."""
    save_profile(profile(models), BUNDLED / "pixel1-published.json")


def train_and_test(train: list[TimedModel], test: list[TimedModel]) -> list[Figures]:
    """Test models as predicted; those of another group have one factor, leave-one-out."""
    rates = fit_rates(train, reference=train[0].group)
    measured, names = _measured(test), [model.name for model in test]
    predicted = rates.predict_ms([model.kernels for model in test])
    what, count = "Pixel 1 classifiers", len(train)
    plain = figures(f"{what}, as predicted", count, names, measured, predicted)
    values = one_factor(measured, predicted)
    return [
        plain,
        figures(f"{what}, one factor, leave-one-out", count, names, measured, values),
    ]


def _measured(models: list[TimedModel]) -> Matrix:
    return np.asarray([float(model.latency_ms) for model in models])
