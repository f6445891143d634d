"""Settings of the recurrent fusion of modalities, shared by the models that take it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from utopia.config.base import Strict


class SliceFusion(Strict):
    """Bidirectional LSTM over the steps of a slice, from the concatenated modalities to one vector per slice (ULDA sec.
    4.3)."""

    enabled: bool = False
    """Whether there is one; it is meant for several modalities."""
    slice: int = Field(10, ge=1, le=100_000)
    """Steps of a slice; each starts from a zero state [U]."""
    layers: int = Field(2, ge=1, le=64)
    """Layers of the LSTM."""
    units: int = Field(64, ge=1, le=16_384)
    """Its units per direction: both together are 128 wide, as the models are [U]."""
    pool: Literal["last", "mean", "step"] = "last"
    """How a slice becomes one vector, which all of its steps share: the last state of each direction, or the mean of
    its states [U]. `step`: no such vector, each step keeps its own state; the paper has one vector per slice."""
