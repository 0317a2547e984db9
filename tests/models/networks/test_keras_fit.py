"""The example of docs/training.md, under both of Keras' backends, in processes of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCUMENT = Path(__file__).parents[3] / "docs" / "training.md"
BEFORE = """
import sys
from mnasfpn.models.data.coco import read_coco
from mnasfpn.models.data.digits import DigitsSettings, write_digits
from mnasfpn.tests.models.training.test_train import DETECTOR as detector
settings = DigitsSettings(train=8, validation=1, size=64, most=2, smallest=0.3)
data = read_coco(write_digits(sys.argv[1], settings), "train")
"""
AFTER = """
import torch
from mnasfpn.models.networks.torch_network import TorchGraph, to_nchw
found = [keras.ops.convert_to_numpy(value) for value in model([images], training=False)]
with torch.no_grad():
    outputs = TorchGraph(graph, weights).eval()({"image": to_nchw(np.ascontiguousarray(images))})
for name, value in zip(graph.outputs, found, strict=True):
    np.testing.assert_allclose(outputs[name].numpy(), value, atol=1e-4, rtol=1e-3)
losses = model.history.history["loss"]
assert losses[-1] < losses[0], losses
print(keras.backend.backend())
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "torch"])
def test_the_documented_fit_learns_and_its_weights_go_to_torch(backend, tmp_path):
    (example,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", BEFORE + example + AFTER, str(tmp_path / "digits")],
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": backend},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == backend
