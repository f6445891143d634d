"""PGL-SUM: the summariser of Apostolidis et al. (ISM 2021; ULDA secs. 4.2 and 7.3): attention over the whole video and
over its quarters, fused, scored.

Attention over the whole video (8 heads) and, with weights of their own, over each of 4 contiguous segments (4 heads);
energies are not scaled by the root of the head's width, and a sinusoidal matrix is added to them; both results are
normalised per frame and added, the input is added to that, and a frame-wise scorer follows: dropout -> LayerNorm ->
Linear(d, d) -> ReLU -> dropout -> LayerNorm -> Linear(d, 1) -> output function. 9,443,329 parameters at the reference
width D = d = 1024. TNS acts on the sum of fusion and input, before the scorer [U].

One deviation: segments have ceil(T / 4) frames, so a video of T <= 3 ceil(T / 4) frames (1 to 3, 5, 6 or 9) leaves the
last segments empty; the reference code fails there, here such a video has fewer segments. Shapes as in `_common`; c is
the width of a head.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from utopia.config.base import Strict
from utopia.config.fusion import SliceFusion
from utopia.config.training import Training
from utopia.errors import ConfigError
from utopia.models._attention import unit_norm
from utopia.models._common import Activation, Regressor, activate
from utopia.models._dropout import Dropout
from utopia.models._fusion import SliceLstm
from utopia.models._layers import LayerNorm, Linear
from utopia.models._layout import Layout

STACKABLE = True

EPSILON = 1e-6
"""Of both LayerNorms."""


class Config(Strict):
    """PGL-SUM: attention over the whole video and over its segments (Apostolidis et al., ISM 2021)."""

    class Recipe(Training):
        """The training recipe of the reference code; a setting that is not given has the value here."""

        learning_rate: float = Field(5e-5, gt=0, le=1000)
        """Adam's learning rate."""
        weight_decay: float = Field(1e-5, ge=0)
        """L2 term added to the gradient, as `torch.optim.Adam(weight_decay=...)` does."""
        clip_norm: float | None = Field(5.0, gt=0)
        """Largest global gradient norm of a replica; null clips nothing."""
        batching: Literal["per_video", "accumulate_all"] = "accumulate_all"
        """One optimiser step per video, or one per epoch on gradients summed over all videos (full batch)."""
        selection: Literal["early_stopping", "last", "pgl_rule", "best_test", "best_validation"] = "pgl_rule"
        """Which epoch is reported. `pgl_rule`: the reference code's, on the training loss alone, so that all training
        videos are fitted to; `early_stopping`, `last` and the oracle `best_test` as for the other models [U]."""

    slices: SliceFusion = Field(default_factory=SliceFusion)
    """A bidirectional LSTM within slices before all else, for several modalities (ULDA sec. 4.3)."""
    d_model: int | None = Field(None, ge=16, le=16_384)
    """Model width d. Null: that of the features, as in the reference code (1024). A number (ULDA's appendix: 128): a
    linear map of the input to this width comes first, unless the features have it already [U]."""
    heads: int = Field(8, ge=1, le=1024)
    """Heads of the attention over the whole video."""
    segments: int | None = Field(4, ge=2, le=10_000)
    """Segments with an attention cell each, of width d / segments. Null: none, and no fusion."""
    segment_heads: int = Field(4, ge=1, le=1024)
    """Heads of the attention within a segment."""
    fusion: Literal["add", "mult", "avg", "max"] = "add"
    """How the two attentions are combined, after each is scaled to unit norm per frame."""
    position: Literal["absolute", "relative", "none"] = "absolute"
    """Sinusoidal matrix added to the attention energies."""
    frequency: float = Field(10000.0, gt=1)
    """Base of that matrix."""
    dropout: float = Field(0.5, ge=0, lt=1)
    """Dropout on the attention weights and, twice, in the scorer."""
    out_act: Literal["by_range", "tanh", "sigmoid", "linear"] = "by_range"
    """Output function; `by_range`: sigmoid for labels in [0, 1] as in the reference code, tanh for [-1, 1] [U]."""
    training: Recipe = Field(default_factory=Recipe)
    """The training recipe (reference code: Adam, 5e-5, L2 1e-5, clipped at 5, 200 full-batch steps)."""


class Positions:
    """The sinusoidal matrix that is added to the energies of every head, computed once."""

    def __init__(self, kind: Literal["absolute", "relative", "none"], width: int, frequency: float) -> None:
        self.kind, self.width, self.frequency = kind, width, frequency
        self._table = torch.empty(0, 0)
        self._of_length: dict[int, Tensor] = {}

    def add_to(self, e_hTT: Tensor) -> None:
        """Add the matrix in place. It is a constant, so gradients pass as they are."""
        frames = e_hTT.shape[1]
        if self.kind == "none":
            return
        with torch.no_grad():
            if self.kind == "relative":
                e_hTT.add_(self._relative(frames, e_hTT))
            else:  # columns go in pairs: the last one of an odd number has none, as in the reference code
                paired = frames // 2 * 2
                e_hTT[..., :paired].add_(self._absolute(frames, e_hTT)[:frames, :paired])

    def padded(self, frames_KV: Tensor, longest: int, like: Tensor) -> Tensor | None:
        """The matrix of each padded video [K, V, T, T]."""
        if self.kind == "none":
            return None
        if self.kind == "relative":
            whole = like.new_zeros(*frames_KV.shape, longest, longest)
            for (replica, video), frames in np.ndenumerate(frames_KV.cpu().numpy()):
                whole[replica, video, :frames, :frames] = self._relative(int(frames), like) if frames else 0.0
            return whole
        paired_KV = frames_KV.div(2, rounding_mode="floor") * 2
        in_pair_KV1T = torch.arange(longest, device=frames_KV.device) < paired_KV[:, :, None, None]
        return self._absolute(longest, like)[:longest, :longest] * in_pair_KV1T

    def _absolute(self, frames: int, like: Tensor) -> Tensor:
        """P[t, 2i] = sin(t / f^(2i/d)), P[t, 2i + 1] = cos(t / f^(2i/d)), of at least this many frames."""
        if len(self._table) < frames or self._table.dtype != like.dtype or self._table.device != like.device:
            t = torch.arange(frames, dtype=torch.float64)[:, None]
            even = torch.arange(0, frames, 2, dtype=torch.float64)
            angle = t * torch.exp(even * (-math.log(self.frequency) / self.width))
            self._table = torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)[:, :frames].to(like)
        return self._table

    def _relative(self, frames: int, like: Tensor) -> Tensor:
        """With r = j - i + T - 1: sin(r / f^((i+j)/2T)) in even columns j, the cosine in odd ones.

        As in the reference code, columns go in pairs: the last one of an odd number is 0.
        """
        kept = self._of_length.get(frames)
        if kept is None or kept.dtype != like.dtype or kept.device != like.device:
            i = torch.arange(frames, dtype=torch.float64)[:, None]
            j = torch.arange(frames, dtype=torch.float64)
            angle = (j - i + frames - 1) * torch.exp((i + j) * (-math.log(self.frequency) / (2 * frames)))
            kept = torch.where(j % 2 == 0, angle.sin(), angle.cos())
            kept[:, frames // 2 * 2 :] = 0
            kept = kept.to(like)
            self._of_length[frames] = kept
        return kept


class Attention(nn.Module):
    """A multi-head attention cell without biases and without scaling, within videos or segments of videos."""

    def __init__(self, width: int, hidden: int, heads: int, dropout: float, positions: Positions) -> None:
        super().__init__()
        self.heads, self.size, self.positions = heads, hidden // heads, positions
        self.qkv = Linear(width, 3 * heads * self.size, bias=False)
        self.out = Linear(heads * self.size, width, bias=False)
        self.dropout = Dropout(dropout)

    def forward(self, x_Rd: Tensor, rows: Layout, keys_R: Tensor | None) -> Tensor:
        """The maps of all heads run over all rows at once, attention within each video."""
        qkv = self.qkv(x_Rd)
        return self.out(rows.attend(qkv, self.heads, scale=1.0, bias=self.positions, dropout=self.dropout, keys=keys_R))


class Summariser(Regressor):
    """The network; see the module."""

    def __init__(self, config: Config, d_in: int, activation: Activation) -> None:
        super().__init__()
        self.slices = SliceLstm(config.slices, d_in) if config.slices.enabled else None
        d_in = self.slices.width if self.slices else d_in
        d = config.d_model or d_in
        least = max(config.heads, (config.segments or 0) * config.segment_heads)
        if d < least:
            raise ConfigError(
                f"d_model is {d}, but the heads need a width of at least {least}",
                where="models.pgl_sum",
                remedy="choose a larger d_model, or fewer heads, segments or segment_heads",
            )
        self.fusion, self.activation = config.fusion, activation
        self.enter = Linear(d_in, d) if d != d_in else nn.Identity()
        positions = Positions(config.position, d, config.frequency)
        self.whole = Attention(d, d, config.heads, config.dropout, positions)
        number = config.segments or 0
        self.parts = nn.ModuleList(
            Attention(d, d // number, config.segment_heads, config.dropout, positions) for _ in range(number)
        )
        self.dropout, self.norm = Dropout(config.dropout), LayerNorm(d, eps=EPSILON)
        self.hidden, self.hidden_norm = Linear(d, d), LayerNorm(d, eps=EPSILON)
        self.hidden_dropout, self.out = Dropout(config.dropout), Linear(d, 1)
        _initialise(self)

    def encode(self, x_RD: Tensor, rows: Layout, keys_R: Tensor | None = None) -> Tensor:
        """See `Regressor.encode`."""
        x_Rd = self.enter(self.slices(x_RD, rows) if self.slices else x_RD)
        g_Rd = self.whole(x_Rd, rows, keys_R)
        if not self.parts:
            return g_Rd + x_Rd
        return self._fuse(unit_norm(g_Rd), unit_norm(self._by_part(x_Rd, rows, keys_R))) + x_Rd

    def head(self, f_Rd: Tensor, keys_R: Tensor | None = None) -> Tensor:
        """See `Regressor.head`."""
        h_Rd = self.hidden(self.norm(self.dropout(f_Rd, keys_R))).relu()
        y_R1 = self.out(self.hidden_norm(self.hidden_dropout(h_Rd, keys_R)))
        return activate(y_R1.squeeze(-1), self.activation)

    def _by_part(self, x_Rd: Tensor, rows: Layout, keys_R: Tensor | None) -> Tensor:
        """The attentions within segments. Cell s runs over segment s of all videos at once."""
        cut = rows.cut(len(self.parts))
        keys = [None] * len(self.parts) if keys_R is None else cut.split(keys_R)
        inputs = zip(self.parts, cut.split(x_Rd), cut.parts, keys, strict=True)
        return cut.join([cell(x_Sd, part, keys_S) for cell, x_Sd, part, keys_S in inputs])

    def _fuse(self, g_Rd: Tensor, l_Rd: Tensor) -> Tensor:
        match self.fusion:
            case "add":
                return g_Rd + l_Rd
            case "mult":
                return g_Rd * l_Rd
            case "avg":
                return (g_Rd + l_Rd) / 2
            case "max":
                return torch.maximum(g_Rd, l_Rd)


def _initialise(model: Summariser) -> None:
    """Xavier-uniform weights with gain sqrt(2); biases 0.1, those of the LayerNorms too, as in the reference code."""
    for name, parameter in model.named_parameters():
        if name.startswith("slices."):
            continue  # an LSTM starts as torch's does
        if name.endswith("bias"):
            nn.init.constant_(parameter, 0.1)
        elif "norm" not in name and not name.endswith("qkv.weight"):
            nn.init.xavier_uniform_(parameter, gain=math.sqrt(2))
    for cell in model.modules():
        if isinstance(cell, Attention):  # query, key and value of every head are maps of their own: c outputs each
            for block_cd in cell.qkv.weight.split(cell.size):
                nn.init.xavier_uniform_(block_cd, gain=math.sqrt(2))


def build(config: Config, d_in: int, activation: Activation) -> Regressor:
    """The model.

    Args:
        config: its settings.
        d_in: width D of the input features.
        activation: the output function that fits the label range, used with `out_act: by_range`.

    Raises:
        ConfigError: the model is narrower than its heads.
    """
    return Summariser(config, d_in, activation if config.out_act == "by_range" else config.out_act)
