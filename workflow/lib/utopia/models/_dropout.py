"""Dropout whose masks are a function of what is dropped: replica, epoch, video, frame, layer, element.

A generator's masks depend on the order in which they are drawn, so on packing, padding and neighbours. Here every row
has a 64-bit key, made of the replica's seed, the epoch, the video and the frame number, and the row's elements take the
bits of a counter-based stream that starts at the key, as in SplitMix64 (Steele, Lea and Flood, 2014): counters are
spread by the golden ratio and scrambled; layers and heads have counters of their own. So a frame's mask is the same
alone or in a pack, padded or not, on any device, and a training that was stopped needs no generator's state to go on.
It costs about as much as drawing. The scrambling is two rounds of xor-shift and multiplication, with
the multiplier that Maiga published in 2020; keys, which are sequential before it, go through a third round.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

GOLDEN = 0x9E3779B97F4A7C15 - 2**64
MULTIPLIER = 0xE9846AF9B1A615D
LAYER, HEAD = 2**32, 2**20
"""Counters from one layer to the next, and from one attention head to the next: more than a row has elements."""


def scramble_(z: Tensor) -> Tensor:
    """Mix the bits of int64 words in place."""
    # the shift repeats the sign, which loses one bit of 64 and saves a pass over memory
    z.bitwise_xor_(z >> 32).mul_(MULTIPLIER)
    return z.bitwise_xor_(z >> 32).mul_(MULTIPLIER)


def counted(start: int, number: Tensor) -> Tensor:
    """Keys of things that are numbered (int64), under a 63-bit start."""
    return _third_round_(scramble_(number * GOLDEN + start))


def pass_keys(key: Tensor, epoch_seed: Tensor | int) -> Tensor:
    """Keys of rows in one pass, under the seed of replica and epoch."""
    return _third_round_(scramble_(key ^ epoch_seed))


def uniform(keys: Tensor, number: int) -> Tensor:
    """Numbers in [0, 1) of rows with these keys [..., n], in double precision [..., n, number]."""
    counter = torch.arange(1, number + 1, device=keys.device)
    words = _third_round_(scramble_(keys[..., None] + counter * GOLDEN))
    return ((words >> 11) & (2**53 - 1)).double() * 2.0**-53


def _third_round_(z: Tensor) -> Tensor:
    return z.bitwise_xor_((z >> 28) & (2**36 - 1)).mul_(MULTIPLIER)


def frame_keys(video: Sequence[int], lengths: Sequence[int], device: torch.device | None = None) -> Tensor:
    """Keys [R] of the frames of packed videos, by each video's own 63-bit number; the same in every pass."""
    keys = [counted(start, torch.arange(frames)) for start, frames in zip(video, lengths, strict=True)]
    return torch.cat(keys).to(device) if keys else torch.empty(0, dtype=torch.int64, device=device)


class Dropout(nn.Module):
    """Zero each element with probability p in training and scale the others by 1 / (1 - p).

    An element takes 8 random bits where p is a multiple of 1/256, else 16, and p is then rounded to a multiple of
    2^-16 (what is kept is scaled by exactly its share). `site` tells layers apart; `number_sites` sets it.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p, self.site = p, 0
        self._bits = 8 if (p * 256).is_integer() else 16
        self._kept = round((1 - p) * 2**self._bits)
        self._counters = torch.empty(0, 0, dtype=torch.int64)

    @property
    def scale(self) -> float:
        """Factor of the elements that are kept."""
        return 2**self._bits / self._kept

    def forward(self, x: Tensor, keys: Tensor | None = None) -> Tensor:
        """x [..., d], dropped by the keys [...] of its rows; without keys as `nn.Dropout` does."""
        if not self.training or self.p == 0:
            return x
        if keys is None:
            return functional.dropout(x, self.p)
        return x * self.mask(keys, x.shape[-1], dtype=x.dtype).mul_(self.scale)

    def weights(self, w_NhTT: Tensor, keys_NT: Tensor | None) -> Tensor:
        """Attention weights of N videos of equal length, dropped by the keys of their rows (the queries)."""
        if not self.training or self.p == 0:
            return w_NhTT
        if keys_NT is None:
            return functional.dropout(w_NhTT, self.p)
        heads, _, frames = w_NhTT.shape[1:]
        return w_NhTT * self.mask(keys_NT[:, None], frames, heads, w_NhTT.dtype).mul_(self.scale)

    def of_videos(
        self, keys_R: Tensor | None, lengths: Sequence[int]
    ) -> tuple[Callable[[Tensor, int], Tensor], float] | None:
        """The same for packed videos, in two parts: which weights [h, T, T] of a video of some number are kept (1, the
        others 0), and their factor. None: all of them.
        """
        if not self.training or self.p == 0:
            return None
        if keys_R is None:
            return lambda w_hTT, video: (torch.rand_like(w_hTT) >= self.p).to(w_hTT.dtype), 1 / (1 - self.p)
        keys = keys_R.split(list(lengths))
        return lambda w_hTT, video: self.mask(keys[video], w_hTT.shape[-1], len(w_hTT), w_hTT.dtype), self.scale

    def mask(self, keys: Tensor, width: int, heads: int | None = None, dtype: torch.dtype = torch.bool) -> Tensor:
        """Which elements of rows with these keys [..., n] are kept (1, the others 0): [..., n, width], or with heads
        [..., h, n, width].

        With heads, keys of more than one axis must have an axis of size 1 where the heads go.
        """
        lane = torch.int8 if self._bits == 8 else torch.int16
        counters_h1W = self._counted(-(-width * self._bits // 64), heads or 1, keys.device)
        words = keys[..., None] + (counters_h1W if heads else counters_h1W[0, 0])
        lanes = scramble_(words).view(lane)[..., :width]
        # compared straight into floats: a bool tensor on the way takes five times as long on a CPU
        kept = torch.empty(lanes.shape, dtype=dtype, device=keys.device)
        return torch.lt(lanes, self._kept - 2 ** (self._bits - 1), out=kept)

    def _counted(self, words: int, heads: int, device: torch.device) -> Tensor:
        """Counters times the golden ratio [h, 1, words]."""
        kept = self._counters
        if kept.shape[0] < heads or kept.shape[-1] < words or kept.device != device:
            word_W = torch.arange(1, max(words, kept.shape[-1]) + 1, device=device)
            head_h11 = torch.arange(max(heads, len(kept)), device=device)[:, None, None]
            kept = self._counters = (word_W + head_h11 * HEAD + self.site * LAYER) * GOLDEN
        return kept[:heads, :, :words]


def number_sites(module: nn.Module) -> None:
    """Give every `Dropout` of a network a number of its own, in the order of its layers."""
    site = 0
    for layer in module.modules():
        if isinstance(layer, Dropout):
            site += 1
            layer.site = site
