"""What a training computes on: a device, threads, and processes beside it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ...errors import InvalidInput
from ..networks.torch_threads import with_threads

if TYPE_CHECKING:
    import torch

DEVICES = ("cuda", "mps", "cpu")  # by preference
PATIENCE = timedelta(hours=12)  # of the others, while the first stores features or validates
THREAD_TRIES = 3  # steps timed at each number of threads


@dataclass(frozen=True, slots=True)
class Compute:
    """How a training is computed; another choice changes its result by rounding alone.

    Args:
        device: ``cpu``, ``cuda`` or ``mps``; ``auto`` is the best of this machine.
        bfloat16: multiply and convolve in it.
        compiled: through ``torch.compile``.
        at_once: images of one process at a time; a batch of more is accumulated. None: all.
        workers: processes that prepare images.
        threads: of PyTorch on a CPU; None for what proves fastest here.
    """

    device: str = "auto"
    bfloat16: bool = False
    compiled: bool = False
    at_once: int | None = None
    workers: int = 0
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.device not in ("auto", *DEVICES):
            raise InvalidInput(
                f"no device is called {self.device!r}; choose auto, {', '.join(DEVICES)}"
            )
        if (self.at_once or 1) < 1 or self.workers < 0 or (self.threads or 1) < 1:
            raise InvalidInput(
                "images at once and threads must be positive, and workers not negative, got "
                f"{self.at_once}, {self.threads} and {self.workers}"
            )


@dataclass(frozen=True, slots=True)
class Ranks:
    """The processes that train together, as ``torchrun`` numbers them; one is alone by default."""

    rank: int = 0
    world: int = 1
    local: int = 0

    @property
    def first(self) -> bool:
        """Whether this is the one that writes files and speaks."""
        return self.rank == 0

    def part(self, positions: range) -> range:
        """This process's share of the positions of a batch."""
        share = len(positions) // self.world
        return positions[self.rank * share : (self.rank + 1) * share]

    def wait(self) -> None:
        """Until all processes are here."""
        self.total(0.0)

    def total(self, value: float) -> float:
        """The sum over all processes."""
        if self.world == 1:
            return value
        import torch
        from torch import distributed

        device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
        tensor = torch.tensor([value], dtype=torch.float64, device=device)
        distributed.all_reduce(tensor)
        return float(tensor)


def chosen_device(name: str, ranks: Ranks) -> torch.device:
    """The device of this process.

    Raises:
        InvalidInput: the machine does not have it.
    """
    import torch

    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available() and ranks.world == 1,
        "cpu": True,
    }
    chosen = next(device for device in DEVICES if there[device]) if name == "auto" else name
    if not there[chosen]:
        usable = ", ".join(device for device in DEVICES if there[device])
        raise InvalidInput(f"this machine has no {chosen} that PyTorch can use; it has {usable}")
    return torch.device(chosen, ranks.local) if chosen == "cuda" else torch.device(chosen)


@contextmanager
def joined(device: str) -> Iterator[Ranks]:
    """This process among those that ``torchrun`` started; alone where it was not."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Ranks()
        return
    import torch
    from torch import distributed

    ranks = Ranks(int(os.environ["RANK"]), world, int(os.environ.get("LOCAL_RANK", "0")))
    on_cuda = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    if on_cuda:
        torch.cuda.set_device(ranks.local)
    distributed.init_process_group("nccl" if on_cuda else "gloo", timeout=PATIENCE)
    try:
        yield ranks
    finally:
        distributed.destroy_process_group()


def fastest_threads(step: Callable[[], Any]) -> int:
    """How many threads a step takes the shortest time on, one or all that there are.

    Beside a busy neighbour two threads can take many times as long as one, and on an idle machine
    little more than half. So it is measured: the middle of some steps of each, in turns.
    """
    import torch

    most = torch.get_num_threads()
    seconds: dict[int, list[float]] = {1: [], most: []}
    for _ in range(THREAD_TRIES):
        for count in seconds:
            with with_threads(count):
                begun = time.perf_counter()
                step()
                seconds[count].append(time.perf_counter() - begun)
    return min(seconds, key=lambda count: sorted(seconds[count])[THREAD_TRIES // 2])
