"""One step after another of any training here: of detectors, of heads, of backbones.

This file needs PyTorch to be imported; it is imported where training begins.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from ..data.loading import Batch
from ..detection.losses import TRAINED_OUTPUTS, detection_loss
from ..networks.torch_network import TorchGraph
from .compute import Ranks
from .recipes import Recipe

MOMENTUM = 0.9


class DetectionTask(nn.Module):
    """A detector's network with its loss.

    Args:
        network: up to ``predictor/boxes`` and ``predictor/logits``.
    """

    names = ("classes", "boxes")

    def __init__(self, network: TorchGraph) -> None:
        super().__init__()
        self.network = network

    def count(self, batch: Batch) -> float:
        """What the losses of a batch are divided by: its matched anchors."""
        return float((batch.labels >= 0).sum())

    def forward(self, batch: Batch, count: float) -> Tensor:
        """Losses by name, [2]."""
        inputs = {name: as_input(value) for name, value in batch.inputs.items()}
        outputs = self.network(inputs)
        codes, logits = (outputs[name].float() for name in TRAINED_OUTPUTS)
        loss = detection_loss(torch, codes, logits, batch.codes, batch.labels, count)
        return torch.stack([loss.classes, loss.boxes])


class ClassificationTask(nn.Module):
    """A backbone that tells objects apart: a linear classifier on each of its pooled features.

    Args:
        network: its outputs are the features.
        generator: of the classifiers' first weights.

    Attributes:
        recognised: share of the last batch that the best of the classifiers was right about.
    """

    names = ("classes",)

    def __init__(self, network: TorchGraph, classes: int, generator: np.random.Generator) -> None:
        super().__init__()
        self.network = network
        self.recognised = 0.0
        self.readers = nn.ModuleDict()
        for name in network.graph.outputs:
            reader = nn.Linear(network.graph[name].filters, classes)
            drawn = generator.standard_normal((reader.in_features, classes))
            with torch.no_grad():
                reader.weight.copy_(torch.from_numpy(drawn.T / np.sqrt(reader.in_features)))
                reader.bias.zero_()
            self.readers[name] = reader

    def count(self, batch: Batch) -> float:
        """Images of a batch."""
        return float(len(batch.labels))

    def forward(self, batch: Batch, count: float) -> Tensor:
        """The losses of all classifiers together, [1]."""
        features = self.network({name: as_input(v) for name, v in batch.inputs.items()})
        logits = [reader(features[name].mean((2, 3))) for name, reader in self.readers.items()]
        wanted = batch.labels
        right = [float((each.argmax(1) == wanted).float().mean()) for each in logits]
        self.recognised = max(right)
        losses = [functional.cross_entropy(each, wanted, reduction="sum") for each in logits]
        return torch.stack(losses).sum()[None] / count


def as_input(value: Tensor) -> Tensor:
    """Images [B, H, W, 3] of bytes as NCHW in [-1, 1]; features as they are."""
    if value.dtype == torch.uint8:
        return value.permute(0, 3, 1, 2).float() / 127.5 - 1
    return value.float()


class Trainer:
    """A task with its optimizer: everything that a checkpoint must hold.

    Args:
        task: a module with a ``network``; called with a batch and what to divide by, it gives the
            losses called ``names``.
        recipe: learning rates by layer, optimizer, clipping, average.
        bfloat16, compiled: as in :class:`.compute.Compute`.
    """

    def __init__(
        self,
        task: Any,
        recipe: Recipe,
        device: torch.device,
        ranks: Ranks | None = None,
        *,
        bfloat16: bool = False,
        compiled: bool = False,
    ) -> None:
        self.task, self.recipe, self.device = task.to(device), recipe, device
        self.ranks = ranks or Ranks()
        self.bfloat16 = bfloat16
        self.parameters = self._freeze()
        self.optimizer = _optimizer(recipe, self._groups())
        self.average: dict[str, Tensor] = (
            {key: value.detach().clone() for key, value in self._state().items()}
            if recipe.ema
            else {}
        )
        self.steps = 0
        self.model: Any = task
        if self.ranks.world > 1:
            self.model = DistributedDataParallel(task, broadcast_buffers=False)
        if compiled:
            self.model = torch.compile(self.model)

    def _freeze(self) -> list[nn.Parameter]:
        """Parameters that are trained."""
        network: TorchGraph = self.task.network
        for layer in network.graph:
            if layer.weights is not None and self.recipe.is_frozen(layer):
                network.fixed_norms |= {layer.name}
                for key, parameter in network.named_parameters():
                    if key.rpartition("/")[0] == layer.name:
                        parameter.requires_grad_(False)
        return [p for p in self.task.parameters() if p.requires_grad]

    def _groups(self) -> list[dict[str, Any]]:
        """Parameters by learning rate."""
        network: TorchGraph = self.task.network
        backbone = {
            id(parameter)
            for key, parameter in network.named_parameters()
            if network.graph[key.rpartition("/")[0]].part == "backbone"
        }
        shares = ((False, 1.0), (True, self.recipe.backbone_rate))
        groups = [
            {"params": [p for p in self.parameters if (id(p) in backbone) == is_in], "share": share}
            for is_in, share in shares
        ]
        return [group for group in groups if group["params"]]

    def step(self, parts: Sequence[Batch], rate: float) -> dict[str, float]:
        """One step on a batch, given in parts that are computed one after the other.

        Every loss is divided by the count of the whole batch, of all processes: but for batch norm,
        which sees a part of each process at a time, the parts do not matter.

        Args:
            rate: of the learning.

        Returns:
            Losses of the step by name, of all processes, and the L2 term as ``l2``. Where their sum
            is no finite number, no parameter was changed.
        """
        self.task.train()
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["share"]
        self.optimizer.zero_grad(set_to_none=True)
        count = max(self.ranks.total(sum(self.task.count(part) for part in parts)), 1.0)
        found = torch.zeros(len(self.task.names), device=self.device)
        l2 = torch.zeros(())
        for position, part in enumerate(parts):
            last = position == len(parts) - 1
            hold = contextlib.nullcontext() if last else self._without_exchange()
            with hold:
                with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
                    losses = self.model(self._moved(part), count)
                found += losses.detach()
                # Processes' gradients are averaged, and each has only its part of the sum.
                total = losses.sum() * self.ranks.world
                if last:
                    l2 = self.task.network.l2()
                    total = total + l2
                total.backward()
        named = zip(self.task.names, found.tolist(), strict=True)
        result = {
            **{name: self.ranks.total(value) for name, value in named},
            "l2": float(l2.detach()),
        }
        if not math.isfinite(sum(result.values())):
            return result
        if self.recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.recipe.clip_norm)
        self.optimizer.step()
        self._update_average()
        self.steps += 1
        return result

    def _without_exchange(self) -> Any:
        if isinstance(self.model, DistributedDataParallel):
            return self.model.no_sync()
        return contextlib.nullcontext()

    def _moved(self, batch: Batch) -> Batch:
        return Batch(
            {name: value.to(self.device) for name, value in batch.inputs.items()},
            batch.codes.to(self.device),
            batch.labels.to(self.device),
            batch.names,
        )

    def _state(self) -> dict[str, Tensor]:
        """Parameters and buffers by key."""
        return {**dict(self.task.named_parameters()), **dict(self.task.named_buffers())}

    def _update_average(self) -> None:
        if self.recipe.ema:
            with torch.no_grad():
                for key, value in self._state().items():
                    self.average[key].lerp_(value, 1 - self.recipe.ema)

    @contextlib.contextmanager
    def averaged(self) -> Any:
        """The averaged weights in place of the present ones, where the recipe keeps an average."""
        state = self._state()
        kept = {key: state[key].detach().clone() for key in self.average}
        with torch.no_grad():
            for key, value in self.average.items():
                state[key].copy_(value)
        try:
            yield
        finally:
            with torch.no_grad():
                for key, value in kept.items():
                    state[key].copy_(value)

    def state(self) -> dict[str, Any]:
        """All that decides the steps to come, as PyTorch stores it."""
        return {
            "task": self.task.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average,
            "steps": self.steps,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Inverse of :meth:`state`."""
        self.task.load_state_dict(state["task"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.steps = state["steps"]
        for key, value in state["average"].items():
            self.average[key].copy_(value)


def _optimizer(recipe: Recipe, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=MOMENTUM, foreach=True)
    if recipe.optimizer == "adam":
        return torch.optim.Adam(groups, lr=recipe.learning_rate, foreach=True)
    return torch.optim.AdamW(
        groups, lr=recipe.learning_rate, weight_decay=recipe.weight_decay, foreach=True
    )
