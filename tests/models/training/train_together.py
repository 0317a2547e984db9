"""One of the processes that ``torchrun`` starts: ``DATASET OUT``, as test_train trains alone."""

from __future__ import annotations

import sys
from pathlib import Path

from mnasfpn.models.data.coco import read_coco
from mnasfpn.tests.models.training.test_train import TOGETHER, training

if __name__ == "__main__":
    folder, out = map(Path, sys.argv[1:])
    training(read_coco(folder, "train"), out, TOGETHER)
