"""``mnasfpn models``: the systems of the paper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..console import command, print_table, say

if TYPE_CHECKING:
    from ...models.published import PublishedRow


@command
def models(as_json: bool) -> Any:
    """The systems of the paper, MAdds and params beside its figures."""
    from ...models.published import published_table

    rows = published_table()
    if not as_json:
        _print(rows)
    return {"models": rows}


def _print(rows: Sequence[PublishedRow]) -> None:
    print_table(
        "Systems of the paper, counted on their graphs (320x320)",
        ("name", "MAdds B", "paper", "dev %", "params M", "paper", "dev %", "counts"),
        [
            (
                row.name,
                f"{row.madds / 1e9:.4f}",
                f"{row.paper.madds_b:g}",
                f"{row.madds_deviation_percent:+.1f}",
                f"{row.params / 1e6:.4f}",
                f"{row.paper.params_m:g}",
                f"{row.params_deviation_percent:+.1f}",
                row.paper.counting,
            )
            for row in rows
        ],
        words=("name", "counts"),
    )
    for row in rows:
        if row.paper.note:
            say(f"{row.name}: {row.paper.note}")
