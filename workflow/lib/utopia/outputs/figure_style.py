"""How figures look: one palette, one size of type, and files whose bytes depend on nothing but what is drawn."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from utopia.errors import UtopiaError
from utopia.files import atomic

# Okabe and Ito's palette: distinct for all common kinds of colour blindness.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
YELLOW, BLUE, VERMILLION, PURPLE = "#F0E442", "#0072B2", "#D55E00", "#CC79A7"
GREY, PALE = "#7A7A7A", "#D9D9D9"

COLUMN, PAGE = 3.35, 6.9
"""Widths in inches: one column, and both columns of a printed page. At these widths the type is 7 to 8 points high."""

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

DPI = 200


@contextmanager
def styled() -> Iterator[None]:
    """The context in which figures are drawn and saved; the user's own matplotlib settings play no part in it."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(RC)
        yield


def blank(height: float, *, width: float = PAGE) -> Figure:
    """An empty figure, in inches, outside of pyplot's global state."""
    return Figure(figsize=(width, height))


def title(axes: Axes, letter: str, text: str) -> None:
    """Name a panel."""
    axes.set_title(f"({letter}) {text}")


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


def save(figure: Figure, outputs: Mapping[str, Path]) -> None:
    """Write a figure as `pdf` (vector) and `png`; no date and no program name, so that equal figures are equal files.

    Raises:
        UtopiaError: an output of another kind is asked for.
    """
    metadata = {"pdf": {"CreationDate": None, "Creator": None, "Producer": None}, "png": {"Software": None}}
    for suffix, path in outputs.items():
        if suffix not in metadata:
            raise UtopiaError(f"a figure has no form {suffix!r}", where=path, remedy="ask for pdf, png or csv")
        with atomic(path) as temporary:
            figure.savefig(temporary, format=suffix, dpi=DPI, metadata=metadata[suffix])
