"""What the mediapipe wheel really does with the files of the table, each in a process of its own.

``python -m mnasfpn.tests.models.doctor.mediapipe_verdicts > mediapipe_verdicts.json`` records it.
"""

from __future__ import annotations

import json
import os
import signal
import tempfile
from pathlib import Path
from typing import Any

from mnasfpn.tests.models.doctor.mutations import mutants

MOST_S = 60
RECORDED = Path(__file__).with_name("mediapipe_verdicts.json")
LONGEST = 160  # of a reason, from its end: it begins with names of calculators


def judge(content: bytes) -> dict[str, str]:
    """``verdict`` as the doctor calls it, and the wheel's own words or how it died."""
    with tempfile.TemporaryDirectory() as folder:
        path, answer = Path(folder, "model.tflite"), Path(folder, "answer.json")
        path.write_bytes(content)
        child = os.fork()
        if child == 0:
            _answer(path, answer)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        found: dict[str, str] = {"verdict": "refuses", "reason": ""}
        if answer.exists():
            found = json.loads(answer.read_text())
        if os.WIFSIGNALED(status):
            found["reason"] = f"dies: {signal.Signals(os.WTERMSIG(status)).name}"
        return found


def _answer(path: Path, answer: Path) -> None:
    """Opens the file and detects once; what is written last is how far it came."""
    import mediapipe
    import numpy as np
    from mediapipe.tasks.python import BaseOptions, vision

    signal.alarm(MOST_S)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)

    def told(verdict: str, reason: Any) -> None:
        text = str(reason).replace("\n", " ")[-LONGEST:].strip()
        answer.write_text(json.dumps({"verdict": verdict, "reason": text}))

    options = vision.ObjectDetectorOptions(
        base_options=BaseOptions(model_asset_path=str(path)), max_results=5
    )
    try:
        detector = vision.ObjectDetector.create_from_options(options)
    except Exception as error:  # the wheel's reasons are its own
        told("refuses", error)
        return
    told("fails", "")
    pixels = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
    try:
        detector.detect(mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels))
    except Exception as error:
        told("fails", error)
        return
    told("works", "")


def main() -> None:
    import mediapipe
    from mediapipe.tasks.python import vision  # loaded once, before the children

    assert vision
    verdicts = {name: judge(content) for name, content in mutants().items()}
    print(json.dumps({"mediapipe": mediapipe.__version__, "verdicts": verdicts}, indent=1))


if __name__ == "__main__":
    main()
