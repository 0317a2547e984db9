"""Export a detector: convert it, prove the file, write it and the report beside it."""

from __future__ import annotations

from pathlib import Path

from ...errors import InvalidInput
from ...storage.atomic import write_atomically
from ..arrays import Floats
from ..detector import Detector
from ..graph.weights import Weights
from .convert import Precision, convert
from .verify import ExportReport, verify


def export(
    detector: Detector,
    weights: Weights,
    path: Path | str,
    images: Floats,
    precision: Precision = "float32",
) -> ExportReport:
    """Convert, run the result in ai-edge-litert, write it and a report beside it.

    Args:
        path: of the file, ending in ``.tflite``; the report has the suffix ``.report.json``.
        images: [K, S, S, 3] in [-1, 1], real ones: compared on, and calibrated on for int8.

    Raises:
        InvalidInput: another suffix, or no images.
        JobFailed: the converter refused, or made a file with operators that are not builtin.
    """
    path = Path(path)
    if path.suffix != ".tflite":
        raise InvalidInput(f"{path}: an exported model's name must end in .tflite")
    if not len(images):
        raise InvalidInput("an export is compared with Keras on real images; got none")
    content = convert(detector, weights, precision, images if precision == "int8" else None)
    report = verify(content, detector, weights, images, precision, path.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, content)
    write_atomically(path.with_suffix(".report.json"), report.to_json())
    return report
