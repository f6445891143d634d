"""How figures look: one palette, one size of type, and files whose bytes depend on nothing but what is drawn."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from utopia.errors import UtopiaError
from utopia.files import atomic

# Okabe and Ito's palette: distinct for all common kinds of colour blindness.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILLION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
GREY, PALE = "#7A7A7A", "#D9D9D9"
LIGHT_RED, PALE_RED, LIGHT_BLUE = "#F3C3A2", "#FBE3D3", "#8CC0E2"
"""Tints of `VERMILLION` and `BLUE` for areas, apart from each other and from the lines over them, also in grey."""

COLUMN = 3.35
"""Width of every figure in inches: one column of a printed page (8.5 cm), at which the type is 6.5 to 8 points high."""

RC: Any = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same glyphs on every machine
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.labelsize": 7.5,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 1.4,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlepad": 4,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.5,
    "patch.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "figure.constrained_layout.use": True,
    "pdf.fonttype": 42,
}

DPI = 300
_LEGEND_ROW = 9.3
"""Points that a row of a legend takes."""


@contextmanager
def styled() -> Iterator[None]:
    """The context in which figures are drawn and saved; the user's own matplotlib settings play no part in it."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(RC)
        yield


def blank(height: float) -> Figure:
    """An empty figure, one column wide and so many inches high, outside of pyplot's global state."""
    return Figure(figsize=(COLUMN, height))


def title(
    axes: Axes, letter: str, text: str, *, legend: int = 0, handles: list[Artist] | None = None, room: float = 0
) -> None:
    """Name a panel, and put its legend between name and panel, where it can lie over no data.

    Args:
        axes: the panel.
        letter: of the panel; empty for none.
        text: what it shows.
        legend: columns of the legend; 0 for none.
        handles: what the legend lists; None for all that has a label.
        room: points between panel and legend, for words that stand there.
    """
    rows = 0
    if legend:
        listed = axes.get_legend_handles_labels()[0] if handles is None else handles
        rows = -(-len(listed) // legend)
        figure = axes.get_figure(root=True)
        assert figure is not None
        higher = axes.transAxes + ScaledTranslation(0, room / 72, figure.dpi_scale_trans)
        axes.legend(
            handles=listed, loc="lower left", bbox_to_anchor=(0, 1), bbox_transform=higher, ncols=legend,
            borderpad=0.15, borderaxespad=0.1, labelspacing=0.25, columnspacing=1.0, handletextpad=0.4,
        )  # fmt: skip
    words = f"({letter}) {text}" if letter else text
    axes.set_title(words, pad=4 + room + _LEGEND_ROW * rows, parse_math=False)


def signed(value: float, decimals: int) -> str:
    """A number with its sign, and a minus that is as wide as a plus."""
    return f"{value:+.{decimals}f}".replace("-", "−")


def count(number: int, thing: str) -> str:
    """`1 frame`, `2 frames`."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def statement(axes: Axes, text: str, *, width: int = 40) -> None:
    """Say in a frame, in place of a drawing, why there is none; lines are broken after `width` characters."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(visible=True, color=GREY, linewidth=0.6, linestyle=(0, (4, 3)))
    lines = [part for line in text.splitlines() for part in textwrap.wrap(line, width) or [""]]
    words = axes.text(
        0.5, 0.5, "\n".join(lines), ha="center", va="center", fontsize=6.5, color="#444444", transform=axes.transAxes
    )
    words.set_in_layout(False)


def save(figure: Figure, outputs: Mapping[str, Path], mark: str | None = None) -> None:
    """Write a figure as `pdf` (vector) and `png`; no date and no program name, so that equal figures are equal files.

    Args:
        figure: what is drawn.
        outputs: form -> file.
        mark: says in each file which numbers it shows; see `figure_data.mark`.

    Raises:
        UtopiaError: an output of another kind is asked for.
    """
    for suffix, path in outputs.items():
        if suffix not in ("pdf", "png"):
            raise UtopiaError(f"a figure has no form {suffix!r}", where=path, remedy="ask for pdf, png or csv")
        with atomic(path) as temporary:
            if suffix == "pdf":
                nothing = {"CreationDate": None, "Creator": None, "Producer": None}
                figure.savefig(temporary, format="pdf", metadata={**nothing, "Keywords": mark})
            else:
                _save_png(figure, temporary, mark)


def _save_png(figure: Figure, path: Path, mark: str | None) -> None:
    """256 colours, chosen for the largest difference to be small (Pillow's "maximum coverage"): a third of the bytes,
    which git and the page keep for every figure."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DPI, pil_kwargs={"compress_level": 0})  # it is read again at once
    few = Image.open(drawn).convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    words = PngInfo()
    if mark:
        words.add_text("Comment", mark)
    few.save(path, format="png", optimize=True, dpi=(DPI, DPI), pnginfo=words)
