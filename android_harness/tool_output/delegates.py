"""What the runtime says about delegates: how much of the graph XNNPACK or another one took."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

_REPLACING = re.compile(
    r"Replacing (?P<taken>\d+) out of (?P<nodes>\d+) node\(s\) "
    r"with delegate \((?P<name>.*?)\) node, yielding (?P<partitions>\d+) partitions.*"
)
_APPLIED = re.compile(
    r"Explicitly applied (?P<name>\w+) delegate, and the model graph will be "
    r"(?P<extent>completely|partially) executed by the delegate"
    r"(?: w/ (?P<kernels>\d+) delegate kernels)?\."
)
_NOT_APPLIED = re.compile(
    r"Though (?P<name>\w+) delegate is explicitly applied, "
    r"the model graph will not be executed by the delegate\."
)


@dataclass(frozen=True, slots=True)
class DelegateUse:
    """How much of the graph a delegate took, in the tool's own words; None where not printed."""

    name: str
    extent: str = ""  # completely, partially, none
    nodes_taken: int | None = None
    nodes: int | None = None
    partitions: int | None = None
    kernels: int | None = None


def parse_delegates(lines: Iterable[str]) -> tuple[DelegateUse, ...]:
    """One value per statement of the runtime, in order; ``lines`` without log prefixes."""
    uses = []
    for line in lines:
        if found := _REPLACING.fullmatch(line):
            counts = (int(found[key]) for key in ("taken", "nodes", "partitions"))
            taken, nodes, partitions = counts
            extent = "completely" if taken == nodes else "partially" if taken else "none"
            uses.append(DelegateUse(found["name"], extent, taken, nodes, partitions))
        elif found := _APPLIED.fullmatch(line):
            kernels = found["kernels"]
            uses.append(
                DelegateUse(
                    found["name"], found["extent"], kernels=int(kernels) if kernels else None
                )
            )
        elif found := _NOT_APPLIED.fullmatch(line):
            uses.append(DelegateUse(found["name"], "none"))
    return tuple(uses)
