"""How rows of a tensor are arranged in videos: packed one after another, or padded and stacked by replica.

A model is written once, over rows, and leaves to a layout what looks along time: attention within a video, cutting
videos into segments, a table by frame. Packed rows of one replica need no mask and waste nothing, which is the fastest
on a CPU. On a GPU the number of kernels decides: there videos are padded, all replicas of a pack go through each layer
together, and every tensor has a leading axis K of replicas.

Shapes besides those of `_common`: K replicas, V videos, P rows with padding (P = V T), h heads, c width of a head.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from utopia.models._attention import attend
from utopia.models._dropout import Dropout


class Bias(Protocol):
    """A constant that is added to attention energies."""

    def add_to(self, e_hTT: Tensor) -> None:
        """Add it in place to the energies of one video."""

    def padded(self, frames_KV: Tensor, longest: int, like: Tensor) -> Tensor | None:
        """What is added to the energies of padded videos, to be broadcast to [K, V, longest, longest]; None: nothing.

        Entries beyond a video's own frames may hold anything finite.
        """


Run = Callable[[Tensor, Tensor | None], Tensor]
"""A function of slices: of equal length [N, L, d], with None; or padded [K, N, L, d], with which steps are real
[K, N, L]. It gives [..., L, width]."""


class Layout(Protocol):
    """An arrangement of rows."""

    @abstractmethod
    def attend(
        self, qkv: Tensor, heads: int, *, scale: float, bias: Bias, dropout: Dropout, keys: Tensor | None
    ) -> Tensor:
        """y = dropout(softmax(scale q k^T + bias)) v for every head of every video.

        Args:
            qkv: queries, keys and values [..., 3 h c], in this order, each head after head.
            heads: h.
            scale: of the energies.
            bias: added to the energies.
            dropout: of the attention weights.
            keys: of the rows, see `_dropout`.
        """

    @abstractmethod
    def by_frame(self, table_Td: Tensor) -> Tensor:
        """The table's row of each row's frame number."""

    @abstractmethod
    def longest(self) -> int:
        """Frames of the longest video."""

    @abstractmethod
    def by_slice(self, x: Tensor, size: int, run: Run) -> Tensor:
        """Apply a function to slices of `size` frames, the last one of a video shorter, and put its rows in order."""

    @abstractmethod
    def cut(self, number: int) -> Cut:
        """Cut every video into `number` contiguous segments of ceil(T / number) frames, the last one shorter."""


class Cut(Protocol):
    """Videos cut into segments."""

    @property
    def parts(self) -> Sequence[Layout]:
        """The layout of all first segments, of all second ones, ..."""

    @abstractmethod
    def split(self, x: Tensor) -> list[Tensor]:
        """The rows of each part."""

    @abstractmethod
    def join(self, x_s: Sequence[Tensor]) -> Tensor:
        """The parts' rows in their old order."""


def segment_lengths(frames: int, number: int) -> list[int]:
    """Frames of each segment: ceil(frames / number), the last one shorter; fewer than `number` segments where some
    would be empty.
    """
    size = -(-frames // number)
    return [min(size, frames - start) for start in range(0, frames, size)]


class Packed:
    """Videos of one replica, one after another: [R, d]."""

    def __init__(self, lengths: Sequence[int]) -> None:
        self.lengths = list(lengths)
        self._cuts: dict[int, PackedCut] = {}

    def attend(
        self, qkv: Tensor, heads: int, *, scale: float, bias: Bias, dropout: Dropout, keys: Tensor | None
    ) -> Tensor:
        """See `Layout.attend`; one video at a time."""
        return attend(qkv, self.lengths, heads, scale, bias.add_to, dropout.of_videos(keys, self.lengths))

    def by_frame(self, table_Td: Tensor) -> Tensor:
        """See `Layout.by_frame`."""
        return torch.cat([table_Td[:frames] for frames in self.lengths])

    def longest(self) -> int:
        """See `Layout.longest`."""
        return max(self.lengths)

    def by_slice(self, x: Tensor, size: int, run: Run) -> Tensor:
        """See `Layout.by_slice`; slices of equal length run together."""
        sizes = [min(size, frames - start) for frames in self.lengths for start in range(0, frames, size)]
        pieces = list(x.split(sizes))
        for length in sorted(set(sizes)):
            mine = [number for number, frames in enumerate(sizes) if frames == length]
            done = run(torch.stack([pieces[number] for number in mine]), None)
            for number, piece in zip(mine, done.unbind(), strict=True):
                pieces[number] = piece
        return torch.cat(pieces)

    def cut(self, number: int) -> PackedCut:
        """See `Layout.cut`."""
        if number not in self._cuts:
            self._cuts[number] = PackedCut(self.lengths, number)
        return self._cuts[number]


class PackedCut:
    """Packed videos cut into segments. A part may be empty, if no video is long enough for it."""

    def __init__(self, lengths: Sequence[int], number: int) -> None:
        cut = [segment_lengths(frames, number) for frames in lengths]
        self._sizes = [frames for segments in cut for frames in segments]
        part_of = [part for segments in cut for part in range(len(segments))]
        self._mine = [[place for place, of in enumerate(part_of) if of == part] for part in range(number)]
        self._lengths = [[self._sizes[place] for place in mine] for mine in self._mine]
        self.parts = [Packed(own) for own in self._lengths]

    def split(self, x: Tensor) -> list[Tensor]:
        """See `Cut.split`."""
        pieces = x.split(self._sizes)
        return [torch.cat([pieces[place] for place in mine]) if mine else x[:0] for mine in self._mine]

    def join(self, x_s: Sequence[Tensor]) -> Tensor:
        """See `Cut.join`."""
        pieces: list[Tensor] = [x_s[0]] * len(self._sizes)
        empty = []
        for mine, own, x in zip(self._mine, self._lengths, x_s, strict=True):
            for place, piece in zip(mine, x.split(own), strict=True):
                pieces[place] = piece
            if not mine:  # no rows, but the gradient of what made them is then 0 and not missing
                empty.append(x)
        return torch.cat(pieces + empty)


class Padded:
    """Videos of K replicas, each padded to the longest: [K, P, d] with P = V T. A replica may have fewer than V."""

    def __init__(self, frames_KV: Tensor, longest: int) -> None:
        self.frames_KV, self._longest = frames_KV, longest
        self.replicas, self.videos = frames_KV.shape
        frame_T = torch.arange(longest, device=frames_KV.device)
        self.real_KVT = frame_T < frames_KV[:, :, None]
        # A padded video's energies must not all be -inf: their softmax would be NaN, and NaN times 0 is NaN.
        self._hidden_KV1T = frame_T[None, None, None] >= frames_KV.clamp(min=1)[:, :, None, None]
        self._bias: dict[int, tuple[Bias, Tensor]] = {}
        self._cuts: dict[int, PaddedCut] = {}

    def attend(
        self, qkv: Tensor, heads: int, *, scale: float, bias: Bias, dropout: Dropout, keys: Tensor | None
    ) -> Tensor:
        """See `Layout.attend`; all videos of all replicas at once."""
        batch, longest = self.replicas * self.videos, self._longest
        split = qkv.reshape(batch, longest, 3, heads, -1).permute(2, 0, 3, 1, 4)
        q_NTc, k_NTc, v_NTc = split.reshape(3, batch * heads, longest, -1).unbind()
        e_NTT = torch.bmm(q_NTc if scale == 1 else q_NTc * scale, k_NTc.transpose(1, 2))
        e_NTT = e_NTT.view(batch, heads, longest, longest) + self._whole_bias(bias, e_NTT).flatten(0, 1)[:, None]
        w_NTT = dropout.weights(e_NTT.softmax(dim=-1), None if keys is None else keys.reshape(batch, longest))
        y_NTc = torch.bmm(w_NTT.flatten(0, 1), v_NTc)
        return y_NTc.view(batch, heads, longest, -1).transpose(1, 2).reshape(self.replicas, -1, qkv.shape[-1] // 3)

    def _whole_bias(self, bias: Bias, like: Tensor) -> Tensor:
        """The bias with -inf where a key is padding [K, V, 1 or T, T], made once."""
        kept = self._bias.get(id(bias))
        if kept is None or kept[1].dtype != like.dtype:
            own = bias.padded(self.frames_KV, self._longest, like)
            zero = like.new_zeros(()) if own is None else own
            whole = torch.where(self._hidden_KV1T, like.new_full((), -torch.inf), zero)
            kept = self._bias[id(bias)] = bias, whole
        return kept[1]

    def by_frame(self, table_Td: Tensor) -> Tensor:
        """See `Layout.by_frame`."""
        return table_Td[: self._longest].repeat(self.videos, 1)

    def longest(self) -> int:
        """See `Layout.longest`."""
        return self._longest

    def by_slice(self, x: Tensor, size: int, run: Run) -> Tensor:
        """See `Layout.by_slice`; all slices at once."""
        more = -self._longest % size
        x_KVTd = functional.pad(x.unflatten(1, (self.videos, self._longest)), (0, 0, 0, more))
        real_KVT = functional.pad(self.real_KVT, (0, more))
        shape = (self.replicas, -1, size)
        done = run(x_KVTd.reshape(*shape, x.shape[-1]), real_KVT.reshape(shape))
        whole_KVTd = done.reshape(self.replicas, self.videos, self._longest + more, -1)
        return whole_KVTd[:, :, : self._longest].flatten(1, 2)

    def cut(self, number: int) -> PaddedCut:
        """See `Layout.cut`."""
        if number not in self._cuts:
            self._cuts[number] = PaddedCut(self, number)
        return self._cuts[number]


class PaddedCut:
    """Padded videos cut into segments: all segments of all videos padded to the longest segment S."""

    def __init__(self, whole: Padded, number: int) -> None:
        replicas, videos, longest = whole.replicas, whole.videos, whole.longest()
        size_KV = (whole.frames_KV + number - 1).div(number, rounding_mode="floor").clamp(min=1)
        widest = -(-longest // number)
        device = size_KV.device
        start_KVs = size_KV[:, :, None] * torch.arange(number, device=device)
        frames_KVs = (whole.frames_KV[:, :, None] - start_KVs).clamp(min=0).minimum(size_KV[:, :, None])
        self.parts = [Padded(frames_KVs[:, :, part].contiguous(), widest) for part in range(number)]
        # split: row of the whole that each row [K, s, V, S] of the parts takes; join: the other way round
        offset_KVsS = start_KVs[..., None] + torch.arange(widest, device=device)
        first_V11 = torch.arange(videos, device=device)[:, None, None] * longest
        split_KVsS = offset_KVsS.clamp(max=longest - 1) + first_V11
        self._split = split_KVsS.transpose(1, 2).reshape(replicas, -1)
        self._filled = (torch.arange(widest, device=device) < frames_KVs[..., None]).transpose(1, 2).flatten(1)
        frame_T = torch.arange(longest, device=device)
        part_KVT = frame_T.div(size_KV[:, :, None], rounding_mode="floor").clamp(max=number - 1)
        inside_KVT = (frame_T - part_KVT * size_KV[:, :, None]).clamp(max=widest - 1)
        video_V1 = torch.arange(videos, device=device)[:, None]
        self._join = ((part_KVT * videos + video_V1) * widest + inside_KVT).flatten(1)
        self._real = whole.real_KVT.flatten(1)
        self._number = number

    def split(self, x: Tensor) -> list[Tensor]:
        """See `Cut.split`."""
        taken = take(x, self._split, self._join, self._real) if x.dim() == 3 else x.gather(1, self._split)
        return list(taken.chunk(self._number, dim=1))

    def join(self, x_s: Sequence[Tensor]) -> Tensor:
        """See `Cut.join`."""
        return take(torch.cat(list(x_s), dim=1), self._join, self._split, self._filled)


def take(x_KPd: Tensor, index_KN: Tensor, back_KP: Tensor, met_KP: Tensor) -> Tensor:
    """y[k, n] = x[k, index[k, n]], where each row that matters is taken once: its gradient is then a gather too, the
    same in every run, which an addition of gradients by index is not on a GPU.

    Args:
        x_KPd: rows.
        index_KN: which to take.
        back_KP: where in the result each of `x`'s rows is.
        met_KP: whether it is there; the others have no gradient.
    """
    taken: Tensor = _Take.apply(x_KPd, index_KN, back_KP, met_KP)
    return taken


def rows_at(x_KPd: Tensor, index_KN: Tensor) -> Tensor:
    """x[k, index[k, n]]."""
    replicas, rows = x_KPd.shape[:2]
    first_K1 = torch.arange(replicas, device=x_KPd.device)[:, None] * rows
    return x_KPd.flatten(0, 1).index_select(0, (index_KN + first_K1).flatten()).view(*index_KN.shape, -1)


class _Take(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_KPd: Tensor, index_KN: Tensor, back_KP: Tensor, met_KP: Tensor) -> Tensor:
        ctx.save_for_backward(back_KP, met_KP)
        return rows_at(x_KPd, index_KN)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gy_KNd: Tensor) -> tuple[Tensor | None, ...]:
        back_KP, met_KP = ctx.saved_tensors
        return rows_at(gy_KNd.contiguous(), back_KP) * met_KP[..., None], None, None, None
