"""Compiles tables with a real LaTeX and says what does not fit."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

PACKAGES = "Debian: apt-get install texlive-latex-base texlive-latex-recommended"
TOLERANCE = 1.0
"""Points by which a line may be too wide."""


def needs_latex() -> None:
    """Skips the test where there is no LaTeX."""
    if shutil.which("pdflatex") is None:
        pytest.skip(f"needs pdflatex ({PACKAGES})")


def faults(tables: Mapping[str, str], folder: Path, *, full: bool = False, options: str = "a4paper") -> list[str]:
    """Compile all tables in one article, each behind its name, and list what is wrong with them.

    Args:
        tables: name -> its LaTeX.
        folder: where to compile; the pdf is left there.
        full: the full form in place of the compact one.
        options: of the document class.

    Returns:
        Errors, lines that are too wide by more than `TOLERANCE`, and floats that are too high, with the table's name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in tables.items():
        (folder / f"{name}.tex").write_text(text, encoding="utf-8")
    body = "\n".join(rf"\typeout{{TABLE {name}}}\input{{{name}}}\clearpage" for name in tables)
    switch = r"\usepackage{longtable}\def\utopiafull{}" if full else ""
    document = rf"""\documentclass[{options}]{{article}}
\usepackage{{booktabs}}{switch}
\begin{{document}}
{body}
\typeout{{TABLE none}}
\end{{document}}
"""
    (folder / "all.tex").write_text(document, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-no-shell-escape", "all.tex"]
    for _ in range(3 if full else 2):  # a longtable learns its widths from the run before
        done = subprocess.run(command, cwd=folder, capture_output=True, timeout=120, check=False)
    log = (folder / "all.log").read_text(encoding="latin-1")
    found, table = [], "none"
    for line in log.splitlines():
        if line.startswith("TABLE "):
            table = line.removeprefix("TABLE ")
        wide = re.match(r"Overfull \\hbox \(([0-9.]+)pt", line)
        if (wide and float(wide[1]) > TOLERANCE) or line.startswith("!") or "too large" in line:
            found.append(f"{table}: {line}")
        if (high := re.match(r"Overfull \\vbox \(([0-9.]+)pt", line)) and float(high[1]) > TOLERANCE:
            found.append(f"{table}: {line}")
    if done.returncode and not found:
        found.append(f"pdflatex failed: {log[-500:]}")
    return found
