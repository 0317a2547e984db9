"""Export a detector: make the file, prove it, and write it with its description and its report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from ...errors import InvalidInput, JobFailed
from ...progress import Progress, silent
from ...storage.atomic import write_atomically, write_together
from ..arrays import Floats
from ..detection.anchors import anchors_for
from ..detection.client_detections import IN_FILE
from ..detector import Detector
from ..evaluation.predictors import detector_predictor
from ..graph.weights import Weights
from ..tflite.model_object import pack, unpack
from ..tflite.reader import read_tflite
from ..tflite.schema import DETECTION_NAME
from ..tflite.writer import write_tflite
from .convert import Precision, convert, raw_model, sign
from .description import Latency, TrainingData, describe
from .file_facts import (
    OutputQuantisation,
    delegate_partitions,
    list_operators,
    output_quantisation,
)
from .judged_images import HeldOut
from .metadata import Form, add_metadata, with_labels
from .post_process import add_post_process
from .shipped_graph import shipped_graph, shipped_weights
from .tensor_noise import TensorNoise, noisiest
from .verify import MAX_AP_DROP, Comparison, compare

if TYPE_CHECKING:
    from ..graph.graph import Graph

REPORT_SCHEMA = "mnasfpn-export-2"
NOISE_IMAGES = 4  # at which every tensor is looked at

Predict = Callable[["Graph"], "Latency | None"]


@dataclass(frozen=True)
class Shipment:
    """What is to be shipped.

    Args:
        weights: of the detector's own graph.
        classes: names, as many as the detector has classes.
        training: where the weights come from; None if nobody trained them.

    Raises:
        InvalidInput: another number of names, or one that is no line of text.
    """

    detector: Detector
    weights: Weights
    classes: tuple[str, ...]
    precision: Precision = "float32"
    form: Form = "raw"
    training: TrainingData | None = None

    def __post_init__(self) -> None:
        if len(self.classes) != self.detector.classes:
            raise InvalidInput(
                f"there are {len(self.classes)} labels and the detector has "
                f"{self.detector.classes} classes; give one label for each, in their order"
            )
        for name in self.classes:
            if not name.strip() or len(name.splitlines()) != 1:
                raise InvalidInput(
                    f"the label {name!r} is not one line of text, as the file of labels needs it; "
                    "give others with --labels"
                )


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was exported and how far it is from what was trained.

    Args:
        file: name of the .tflite file.
        size_bytes: of the file.
        operators: builtin operator -> how often it occurs.
        partitions: pieces into which XNNPACK's part of the file falls on this PC.
        custom_operators: others; only TFLite_Detection_PostProcess, in the form ``nms``.
        quantisation: of the last tensors that hold the raw outputs before they become float.
        comparison: with the trained network, on held-out images.
        noisiest: tensors that lost most by the precision, worst first; none in float32.
        latency: that a profile predicts; None without one.
        faults: why the file was refused; none in the report of one that was written.
    """

    file: str
    form: Form
    precision: Precision
    size_bytes: int
    operators: dict[str, int]
    custom_operators: tuple[str, ...]
    partitions: int
    quantisation: tuple[OutputQuantisation, ...]
    comparison: Comparison
    noisiest: tuple[TensorNoise, ...]
    latency: Latency | None
    faults: tuple[str, ...]
    schema: str = REPORT_SCHEMA

    def to_json(self) -> str:
        return msgspec.json.format(msgspec.json.encode(self)).decode()


def export(
    shipment: Shipment,
    path: Path | str,
    held_out: HeldOut,
    calibration: Floats | None = None,
    max_ap_drop: float = MAX_AP_DROP,
    predict: Predict | None = None,
    progress: Progress = silent,
) -> ExportReport:
    """Make the file, judge it, and write it with ``NAME.json`` and ``NAME.report.json`` beside it.

    Args:
        path: of the file, ending in ``.tflite``.
        held_out: images to judge it on, neither trained nor calibrated on.
        calibration: [K, S, S, 3] in [-1, 1], real ones; for int8.
        max_ap_drop: average precision that the file may lose, where it is known.
        predict: a profile's latency of the file's network.
        progress: called after every image.

    Raises:
        InvalidInput: another suffix, no images, or the files could not be written.
        JobFailed: the file could not be made, or is not good enough: nothing is written under its
            name, and ``NAME.refused.json`` says what is wrong with it.
    """
    path = Path(path)
    if path.suffix != ".tflite":
        raise InvalidInput(f"{path}: an exported model's name must end in .tflite")
    if not len(held_out):
        raise InvalidInput("an export is judged on real images; got none")
    detector = shipment.detector
    raw, content = tflite_files(shipment, calibration)
    original = detector_predictor(detector, shipment.weights)
    comparison = compare(original, raw, content, shipment.form, held_out, progress)
    latency = predict(read_tflite(raw)) if predict else None
    operators, custom = list_operators(content)
    faults = comparison.faults(shipment.precision, max_ap_drop)
    foreign = sorted(set(custom) - ({DETECTION_NAME} if shipment.form == "nms" else set()))
    if foreign:
        faults = (*faults, f"operators that are not builtin: {', '.join(foreign)}")
    report = ExportReport(
        file=path.name,
        form=shipment.form,
        precision=shipment.precision,
        size_bytes=len(content),
        operators=operators,
        custom_operators=custom,
        partitions=delegate_partitions(content),
        quantisation=output_quantisation(raw),
        comparison=comparison,
        noisiest=_noisiest(shipment, raw, held_out),
        latency=latency,
        faults=faults,
    )
    if faults:
        _refuse(path, report)
    description = describe(
        content,
        path.name,
        shipment.form,
        shipment.precision,
        detector.input_size,
        shipment.classes,
        anchors_for(detector.input_size, original.boxes),
        shipment.training,
        latency,
    )
    _write(path, content, description.to_json(), report.to_json())
    return report


def tflite_files(shipment: Shipment, calibration: Floats | None = None) -> tuple[bytes, bytes]:
    """(the network in the raw form, the file that ships); the same bytes in the raw form."""
    detector = shipment.detector
    model = raw_model(detector, shipment.weights, shipment.precision, calibration)
    network = pack(model)
    (graph,) = model.subgraphs
    anchors = anchors_for(detector.input_size, int(graph.tensors[graph.outputs[0]].shape[1]))
    files = {"raw": described_file(network, "raw", shipment.classes, anchors)}
    if shipment.form == "nms":
        files["nms"] = described_file(network, "nms", shipment.classes, anchors)
    return files["raw"], files[shipment.form]


def described_file(network: bytes, form: Form, classes: Sequence[str], anchors: Floats) -> bytes:
    """A file in one of the forms, with its metadata.

    Args:
        network: with the outputs ``boxes`` and ``scores``.
        anchors: [N, 4] (yc, xc, h, w).
    """
    model = unpack(network)
    if form == "nms":
        add_post_process(model, anchors, len(classes), IN_FILE)
        sign(model)
    add_metadata(model, form, "MnasFPN detector", classes, anchors)
    return with_labels(pack(model), classes)


def _noisiest(shipment: Shipment, raw: bytes, held_out: HeldOut) -> tuple[TensorNoise, ...]:
    """Beside the float32 file of whoever made this one: its tensors have the same names."""
    if shipment.precision == "float32":
        return ()
    graph = shipped_graph(shipment.detector)
    weights = shipped_weights(shipment.detector, shipment.weights)
    write = write_tflite if shipment.precision == "float16" else convert
    return noisiest(write(graph, weights), raw, islice(held_out, NOISE_IMAGES))


def _refuse(path: Path, report: ExportReport) -> None:
    refused = path.with_suffix(".refused.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(refused, report.to_json())
    hurt = ", ".join(f"{each.tensor} ({each.snr_db:.0f} dB)" for each in report.noisiest)
    raise JobFailed(
        f"{path} was not written: {'; '.join(report.faults)}"
        f"{f'; most was lost in {hurt}' if hurt else ''}; see {refused}"
    )


def _write(path: Path, content: bytes, description: str, report: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_together(
            {
                path.with_suffix(".report.json"): report,
                path.with_suffix(".json"): description,
                path: content,
            }
        )
    except OSError as error:
        raise InvalidInput(f"{path.parent}: cannot be made a folder: {error.strerror}") from error
    except JobFailed as error:  # the place that was given, not the model, is at fault
        raise InvalidInput(str(error)) from error
    path.with_suffix(".refused.json").unlink(missing_ok=True)
