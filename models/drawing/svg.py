"""A cell drawn as a diagram in the manner of the paper's Figure 2, as SVG or PNG."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ...errors import InvalidInput, MnasFpnError
from ...storage.atomic import write_atomically
from ..genotype import Genotype
from ..heads.cell import Cell
from .cell_layout import Box, Layout, Point, Wire, cell_layout

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Wires and outlines, and the lighter fill, by level; told apart by colour-blind readers too.
COLOURS = {
    3: ("#2f6fb0", "#e6f0fa"),
    4: ("#228b5a", "#e4f5ec"),
    5: ("#b9770e", "#fcf2df"),
    6: ("#b0416a", "#fae7ee"),
    7: ("#6a51a3", "#efecf6"),
}
UNUSED = ("#b5b5b5", "#f6f6f6")
TEXT = "#222222"
BAND = "#f7f8fa"
LEFT, TOP, BOTTOM, RIGHT = 1.15, 0.55, 0.32, 0.25  # margins in inches
CORNER = 0.07  # radius of a wire's bend
PNG_DPI = 200


def cell_svg(cell: Cell, input_size: int = 320, title: str = "") -> str:
    """The diagram as SVG text, the same text every time.

    Levels are rows, blocks tell R (resolution), F (expanded channels), k (depthwise kernel) and
    their merge; dashed wires are the cell-wide residual, or the features that NAS-FPN's outputs
    take in; unused blocks are grey.

    Args:
        input_size: pixels of the detector's input, from which R follows.
        title: empty for one made of C and the number of repeats.
    """
    return _render(cell, input_size, title, "svg").decode()


def cell_png(cell: Cell, input_size: int = 320, title: str = "") -> bytes:
    """The same diagram as a PNG file's content."""
    return _render(cell, input_size, title, "png")


def save_cell(
    cell: Cell, path: str | os.PathLike[str], input_size: int = 320, title: str = ""
) -> None:
    """Write the diagram to a file that ends in .svg or .png.

    Raises:
        InvalidInput: another ending.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".svg":
        write_atomically(path, cell_svg(cell, input_size, title))
    elif suffix == ".png":
        write_atomically(path, cell_png(cell, input_size, title))
    else:
        raise InvalidInput(f"{path}: a drawing must end in .svg or .png, got {suffix!r}")


def _render(cell: Cell, input_size: int, title: str, kind: Literal["svg", "png"]) -> bytes:
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        raise MnasFpnError(
            "drawing needs matplotlib, which is not installed; "
            "install it with: pip install 'mnasfpn[report]'"
        ) from None
    layout = cell_layout(cell, input_size)
    width, height = layout.width + LEFT + RIGHT, layout.height + TOP + BOTTOM
    settings = {"svg.fonttype": "none", "svg.hashsalt": "mnasfpn", "font.family": "DejaVu Sans"}
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(width, height))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(-LEFT, layout.width + RIGHT)
        axes.set_ylim(-BOTTOM, layout.height + TOP)
        axes.axis("off")
        _draw_rows(axes, layout, input_size)
        for wire in sorted(layout.wires, key=lambda w: (w.used, w.kind == "feature")):
            _draw_wire(axes, wire)
        for box in layout.boxes:
            _draw_box(axes, box)
        _draw_texts(axes, layout, cell, title)
        content = io.BytesIO()
        options: dict[str, Any] = {"metadata": {"Date": None}} if kind == "svg" else {}
        figure.savefig(content, format=kind, dpi=PNG_DPI, facecolor="white", **options)
    return content.getvalue()


def _draw_rows(axes: Axes, layout: Layout, input_size: int) -> None:
    for level, y in layout.rows.items():
        colour, _ = COLOURS[level]
        side = -(-input_size // 2**level)
        axes.axhspan(y - 0.53, y + 0.53, color=BAND, zorder=0, lw=0)
        place: dict[str, Any] = {"ha": "left", "color": colour}
        axes.text(-LEFT + 0.15, y + 0.09, f"Level {level}", weight="bold", fontsize=9, **place)
        axes.text(-LEFT + 0.15, y - 0.15, f"{side}×{side}", fontsize=8, **place)


def _draw_wire(axes: Axes, wire: Wire) -> None:
    from matplotlib.patches import FancyArrowPatch

    colour = COLOURS[wire.level][0] if wire.used else UNUSED[0]
    dashed = wire.kind != "feature"
    axes.add_patch(
        FancyArrowPatch(
            path=_rounded(wire.points),
            arrowstyle="-|>,head_length=3.2,head_width=1.7",
            linestyle=(0, (4, 2.5)) if dashed else "-",
            linewidth=1.0 if dashed else 1.4,
            color=colour,
            shrinkA=0,
            shrinkB=0,
            joinstyle="round",
            capstyle="round",
            zorder=2 if wire.used else 1,
        )
    )
    if wire.label:
        x, y = wire.points[-1]
        axes.text(x - 0.12, y + 0.03, wire.label, ha="right", fontsize=6.5, color=colour, zorder=4)


def _rounded(points: tuple[Point, ...]) -> Any:
    """A path through the points, with round corners."""
    from matplotlib.path import Path as Curve

    vertices, codes = [points[0]], [Curve.MOVETO]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        vertices += [_towards(corner, before), corner, _towards(corner, after)]
        codes += [Curve.LINETO, Curve.CURVE3, Curve.CURVE3]
    return Curve([*vertices, points[-1]], [*codes, Curve.LINETO])


def _towards(corner: Point, other: Point) -> Point:
    """The point a corner's radius away from it, or half-way where the piece is short."""
    dx, dy = other[0] - corner[0], other[1] - corner[1]
    length = abs(dx) + abs(dy)  # pieces are horizontal or vertical
    share = min(CORNER, length / 2) / length
    return corner[0] + share * dx, corner[1] + share * dy


def _draw_box(axes: Axes, box: Box) -> None:
    from matplotlib.patches import Circle, FancyBboxPatch

    colour, fill = COLOURS[box.level] if box.used else UNUSED
    line: dict[str, Any] = {
        "edgecolor": colour,
        "linewidth": 1.3,
        "linestyle": "-" if box.used else (0, (2, 2)),
        "zorder": 3,
    }
    if box.kind == "sum":
        axes.add_patch(Circle((box.x, box.y), box.height / 2, facecolor="white", **line))
    else:
        corner = (box.x - box.width / 2, box.y - box.height / 2)
        style = f"round,pad=0,rounding_size={0.08 if box.kind == 'block' else 0.2}"
        axes.add_patch(FancyBboxPatch(corner, box.width, box.height, style, facecolor=fill, **line))
    text = TEXT if box.used else UNUSED[0]
    spacing = 0.235
    for position, words in enumerate(box.lines):
        y = box.y + spacing * ((len(box.lines) - 1) / 2 - position)
        bold = position == 0
        axes.text(
            box.x,
            y,
            words,
            ha="center",
            va="center",
            fontsize=9 if bold else 8,
            weight="bold" if bold else "normal",
            color=text,
            zorder=4,
        )


def _draw_texts(axes: Axes, layout: Layout, cell: Cell, title: str) -> None:
    repeats = f"{cell.repeats} repeat{'s' if cell.repeats > 1 else ''}"
    axes.text(
        -LEFT + 0.15,
        layout.height + TOP - 0.2,
        title or f"Cell with C = {cell.channels}, {repeats}",
        va="top",
        fontsize=12,
        weight="bold",
        color=TEXT,
    )
    if isinstance(cell, Genotype):
        notes = ["R resolution, F expanded channels, k depthwise kernel"]
        if not cell.sdo:
            notes.append("without size-dependent ordering")
        if cell.cell_residual:
            notes.append("dashed: residual, where shapes agree")
    else:
        notes = [
            "R resolution, k kernel; dashed: features left over, added to their level's output"
        ]
    if not all(box.used for box in layout.boxes):
        notes.append("grey: unused, left out of the network")
    axes.text(-LEFT + 0.15, -BOTTOM + 0.15, "; ".join(notes), fontsize=7.5, color="#555555")
