"""The report's plots, as SVG text. Every function takes numbers and draws them, nothing else."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID = "#1f2933", "#7b8794", "#e4e7eb"
BLUE, ORANGE, GREEN, PURPLE = "#2f6fde", "#e8710a", "#1e8e5a", "#7b4fc9"
PART_COLOURS = {"backbone": BLUE, "head": ORANGE, "predictor": GREEN, "other": MUTED}


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)
    axes.tick_params(colors=INK, labelsize=9)
    axes.grid(color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def _svg(figure: Figure) -> str:
    """SVG text; the same drawing gives the same text."""
    import matplotlib

    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "mnasfpn", "svg.fonttype": "none"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    return inline(text.getvalue())


def _legend(axes: Axes, **place: Any) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=9, **place)


def inline(svg: str) -> str:
    """An SVG file's drawing without what has no place in a page: prologue and metadata."""
    return re.sub("<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)


def _label(text: str) -> str:
    """Dollar signs begin no formula."""
    return text.replace("$", r"\$")


def predicted_against_measured(
    measured_ms: Sequence[float],
    predicted_ms: Sequence[float],
    intervals_ms: Sequence[tuple[float, float]] = (),
    band: float = 0.10,
    title: str = "",
) -> str:
    """Scatter of held-out models around the diagonal, with the band of +-10 %."""
    figure, axes = _axes(5.2, 4.8)
    top = 1.05 * max(*measured_ms, *predicted_ms)
    axes.fill_between(
        [0, top],
        [0, top * (1 - band)],
        [0, top * (1 + band)],
        color=BLUE,
        alpha=0.08,
        linewidth=0,
        label=f"within {band:.0%}",
    )
    axes.plot([0, top], [0, top], color=MUTED, linewidth=1)
    if intervals_ms:
        below = [max(p - low, 0) for p, (low, _) in zip(predicted_ms, intervals_ms, strict=True)]
        above = [max(high - p, 0) for p, (_, high) in zip(predicted_ms, intervals_ms, strict=True)]
        axes.errorbar(
            measured_ms,
            predicted_ms,
            yerr=[below, above],
            fmt="none",
            ecolor=BLUE,
            alpha=0.35,
            linewidth=1,
        )
    axes.scatter(measured_ms, predicted_ms, s=22, color=BLUE, zorder=3, label="held-out model")
    axes.set(xlim=(0, top), ylim=(0, top), xlabel="measured, ms", ylabel="predicted, ms")
    axes.set_title(_label(title), loc="left", fontsize=10, color=INK)
    _legend(axes, loc="upper left")
    return _svg(figure)


def frontier(
    trials: Sequence[tuple[float, float]],
    frontier_points: Sequence[tuple[float, float]],
    baseline: Sequence[tuple[float, float]] = (),
    baseline_label: str = "random search",
) -> str:
    """All trials as (latency ms, mAP), and the non-dominated ones joined as a staircase."""
    figure, axes = _axes(6.4, 4.4)
    if baseline:
        x, y = zip(*baseline, strict=True)
        axes.scatter(x, y, s=18, color=MUTED, marker="x", label=baseline_label)
    if trials:
        x, y = zip(*trials, strict=True)
        axes.scatter(x, y, s=20, color=BLUE, alpha=0.55, label="trial")
    if frontier_points:
        x, y = zip(*sorted(frontier_points), strict=True)
        axes.step(x, y, where="post", color=ORANGE, linewidth=1.6)
        axes.scatter(x, y, s=34, color=ORANGE, zorder=3, label="frontier")
    axes.set(xlabel="predicted latency, ms", ylabel="mAP of the proxy task")
    _legend(axes, loc="best")
    return _svg(figure)


def breakdown(rows: Sequence[tuple[str, dict[str, float]]]) -> str:
    """Stacked bars: for each model, milliseconds of backbone, head, predictor and the rest."""
    figure, axes = _axes(6.8, 0.7 + 0.5 * len(rows))
    parts = list(dict.fromkeys(part for _, values in rows for part in values))
    positions = range(len(rows))
    left = [0.0] * len(rows)
    for part in parts:
        widths = [values.get(part, 0.0) for _, values in rows]
        colour = PART_COLOURS.get(part, PURPLE)
        axes.barh(positions, widths, left=left, color=colour, height=0.6, label=_label(part))
        for position, (start, width) in enumerate(zip(left, widths, strict=True)):
            if width > 0.05 * max(sum(values.values()) for _, values in rows):
                axes.text(
                    start + width / 2,
                    position,
                    f"{width:.1f}",
                    ha="center",
                    va="center",
                    color="white",
                    fontsize=9,
                )
        left = [start + width for start, width in zip(left, widths, strict=True)]
    axes.set_yticks(list(positions), [_label(name) for name, _ in rows])
    axes.invert_yaxis()
    axes.set_xlabel("latency, ms")
    axes.grid(axis="y", visible=False)
    _legend(axes, ncols=len(parts), loc="lower right", bbox_to_anchor=(1, 1))
    return _svg(figure)
