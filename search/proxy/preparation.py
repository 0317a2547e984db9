"""Preparing the proxy task of a search: the backbone is taught, and its features are stored."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from ...errors import InvalidInput
from ...models.data.coco import CocoSplit, read_coco
from ...models.data.images import load_image, normalise
from ...models.detection.anchors import anchors_for
from ...models.detection.target_assignment import Assigner, stack
from ...models.detector import Detector
from ...models.genotype import Genotype
from ...models.graph.graph import Graph
from ...models.graph.parts import features_read
from ...models.graph.weights import Weights
from ...models.networks.torch_threads import with_threads
from ...models.published import MNASFPN_BLOCKS
from ...models.training.pretrain import pretrain
from ...models.training.run_folder import save_weights
from ...models.training.train import training_graph
from ...progress import Progress, silent
from ...storage.atomic import whole_or_nothing, write_atomically
from .proxy_settings import ProxySettings
from .task import (
    BACKBONE,
    CODES,
    FEATURE_BATCH,
    LABELS,
    TRAIN_FEATURES,
    VALIDATION_FEATURES,
    ProxyTask,
)

PROXY_SCHEMA = "mnasfpn-proxy-1"
ORIGIN = "proxy.json"


def prepare_proxy(
    dataset: Path | str,
    folder: Path | str,
    settings: ProxySettings | None = None,
    *,
    splits: tuple[str, str] = ("train", "val"),
    progress: Progress | None = None,
) -> ProxyTask:
    """Teach the backbone and store its features, unless the folder holds just that already.

    The folder appears complete or not at all, and any number of processes may open it.

    Args:
        dataset: in COCO's layout.
        folder: of the prepared task.
        splits: to train and to score on.
        progress: called with (steps done, steps in all, what is being done).

    Raises:
        InvalidInput: the folder holds another task.
    """
    settings = settings or ProxySettings()
    folder = Path(folder)
    train, validation = (read_coco(dataset, split) for split in splits)
    origin = _Origin(settings, _digest(train), _digest(validation))
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with whole_or_nothing(folder) as unfinished:
            unfinished.mkdir()
            _prepare(unfinished, origin, train, validation, progress or silent)
    found = _read_origin(folder)
    if found != origin:
        what = "settings" if found.settings != settings else "data"
        raise InvalidInput(
            f"{folder} holds a proxy task of other {what}; choose another folder, or remove it"
        )
    return ProxyTask(folder, settings, validation)


@dataclass(frozen=True, slots=True)
class _Origin:
    """What a prepared folder was made of: settings and the digests of both annotation files."""

    settings: ProxySettings
    train: str
    validation: str
    schema: str = PROXY_SCHEMA


def _digest(data: CocoSplit) -> str:
    return hashlib.sha256(data.annotations.read_bytes()).hexdigest()


def _read_origin(folder: Path) -> _Origin:
    path = folder / ORIGIN
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Origin)
    except (OSError, msgspec.DecodeError) as error:
        raise InvalidInput(f"{path}: not a prepared proxy task ({error})") from None


def _prepare(
    folder: Path, origin: _Origin, train: CocoSplit, validation: CocoSplit, progress: Progress
) -> None:
    settings = origin.settings
    detector = Detector(
        settings.backbone,
        Genotype(channels=16, repeats=1, blocks=MNASFPN_BLOCKS),  # it reads C3, C4 and C5
        settings.predictor,
        len(train.classes),
        settings.input_size,
    )
    graph = training_graph(detector, settings.norm_momentum)
    anchors = anchors_for(settings.input_size, graph["predictor/boxes"].shape[1])
    assign = Assigner(anchors)
    backbone = graph.prune(features_read(graph))
    weights = pretrain(
        backbone,
        train,
        settings.pretrain,
        settings.seed,
        lambda done, total, right: progress(done, total, "teaching the backbone"),
    )
    save_weights(folder / BACKBONE, weights)
    for name, data in ((TRAIN_FEATURES, train), (VALIDATION_FEATURES, validation)):
        features = _compute_features(backbone, weights, data, settings.input_size, progress)
        targets = stack([assign(e.boxes, e.labels) for e in data.examples])
        save_weights(folder / name, {**features, CODES: targets.codes, LABELS: targets.labels})
    write_atomically(folder / ORIGIN, msgspec.json.format(msgspec.json.encode(origin)))


def _compute_features(
    backbone: Graph, weights: Weights, data: CocoSplit, size: int, progress: Progress
) -> dict[str, NDArray[np.float32]]:
    """The backbone's features of every image, [images, H, W, C] by layer name."""
    import torch

    from ...models.networks.torch_network import TorchGraph, to_nchw

    found: dict[str, list[NDArray[np.float32]]] = {name: [] for name in backbone.outputs}
    with with_threads(1), torch.no_grad():
        network = TorchGraph(backbone, weights).eval()
        for first in range(0, len(data), FEATURE_BATCH):
            examples = data.examples[first : first + FEATURE_BATCH]
            images = np.stack([normalise(load_image(example, size)) for example in examples])
            for name, value in network({"image": to_nchw(images)}).items():
                found[name].append(value.permute(0, 2, 3, 1).numpy())
            progress(first + len(examples), len(data), "storing features")
    return {name: np.concatenate(values) for name, values in found.items()}
