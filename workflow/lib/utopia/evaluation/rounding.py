"""How values are printed. Apart from the verdicts, so that it needs no NumPy."""

from __future__ import annotations


def rounded(value: float, decimals: int) -> str:
    """A value as it is printed: rounded once, half to even on the binary value, and never "-0"."""
    text = f"{value:.{decimals}f}"
    return text.lstrip("-") if not float(text) else text
