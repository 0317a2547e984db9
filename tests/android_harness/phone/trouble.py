"""The table of troubles in docs/profile-a-phone.md, and which test stands for which row."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

DOCUMENT = Path(__file__).parents[3] / "docs/profile-a-phone.md"
HEADING = "| trouble | what you will see | what to do |"


@dataclass
class Row:
    """One trouble, and as Markdown what is seen and what is to be done."""

    trouble: str
    seen: str
    what_to_do: str
    checked: bool = field(default=False, compare=False)

    @property
    def messages(self) -> list[str]:
        """Quoted in what is seen; ``…`` stands for anything."""
        return re.findall(r"`([^`]+)`", self.seen)

    @property
    def test_name(self) -> str:
        """The row ``no `taskset` `` is tested by ``test_no_taskset``."""
        words = re.sub(r"[^a-z0-9]+", "_", self.trouble.lower().replace("'s", "s"))
        return f"test_{words.strip('_')}"

    def seen_in(self, text: str) -> None:
        """Every message of the row is in what the tool said."""
        self.checked = True
        plain = " ".join(text.split())
        for message in self.messages:
            pattern = ".*?".join(map(re.escape, message.split("…")))
            assert re.search(pattern, plain), f"the row {self.trouble!r} says {message!r}: {plain}"


def table() -> dict[str, Row]:
    """The rows by the name of their test."""
    lines = DOCUMENT.read_text().partition(HEADING)[2].splitlines()[2:]
    end = next((number for number, line in enumerate(lines) if not line.startswith("|")), None)
    rows = [_row(line) for line in lines[:end]]
    return {row.test_name: row for row in rows}


def _row(line: str) -> Row:
    return Row(*(cell.strip() for cell in line.strip("|").split("|")))
