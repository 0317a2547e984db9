"""How many threads PyTorch computes on, for all that trains with it here."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def with_threads(count: int) -> Iterator[None]:
    """PyTorch on so many threads meanwhile. On one it is repeatable, and workers do not compete."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
