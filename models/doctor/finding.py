"""What a client needs of a file, what the file has, and what to change."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

#: ``refuses``: the client does not open the file, or crashes when it tries. ``fails``: it opens it,
#: and the first image ends in an error. ``warns``: it works otherwise than meant, or slower.
Level = Literal["refuses", "fails", "warns", "notes"]
LEVELS: tuple[Level, ...] = get_args(Level)
#: What a client does with a file.
Verdict = Literal["works", "fails", "refuses"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing about a file.

    Args:
        part: of the file: graph, input, outputs, metadata, labels, anchors, operators, alignment.
        needs: of the client.
        found: in the file.
        change: what to do; empty where nothing must be done.
    """

    level: Level
    part: str
    needs: str
    found: str
    change: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All findings of one file for one client, the worst first.

    Args:
        partitions: that XNNPACK took when the file was run here; None if it was not, or if the
            runtime does not tell.
    """

    client: str
    findings: tuple[Finding, ...]
    partitions: int | None = None

    @classmethod
    def of(cls, client: str, findings: Iterable[Finding], partitions: int | None) -> Diagnosis:
        ordered = sorted(findings, key=lambda found: LEVELS.index(found.level))
        return cls(client, tuple(ordered), partitions)

    @property
    def verdict(self) -> Verdict:
        levels = {finding.level for finding in self.findings}
        return "refuses" if "refuses" in levels else "fails" if "fails" in levels else "works"
