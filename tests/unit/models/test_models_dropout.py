"""Masks as functions of keys: their statistics, and an independent computation with Python's integers."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from utopia.models._dropout import Dropout, counted, frame_keys, number_sites, pass_keys

WORD = 2**64


def signed(word: int) -> int:
    return word - WORD if word >= WORD // 2 else word


def scramble(word: int) -> int:
    """Two rounds of the mixing function, in plain integers."""
    for _ in range(2):
        word = (word ^ ((signed(word) >> 32) % WORD)) * 0xE9846AF9B1A615D % WORD
    return word


def plain_mask(key: int, site: int, p: float, width: int, head: int = 0) -> list[bool]:
    """The mask of one row, element by element."""
    bits = 8 if (p * 256).is_integer() else 16
    lanes, kept = 64 // bits, round((1 - p) * 2**bits)
    mask = []
    for element in range(width):
        counter = element // lanes + 1 + head * 2**20 + site * 2**32
        word = scramble((key + counter * 0x9E3779B97F4A7C15) % WORD)
        lane = (word >> (bits * (element % lanes))) % 2**bits
        mask.append((lane - 2**bits if lane >= 2 ** (bits - 1) else lane) < kept - 2 ** (bits - 1))
    return mask


@given(st.integers(-(2**63), 2**63 - 1), st.integers(0, 40), st.sampled_from([0.5, 0.2, 0.3, 0.25]), st.integers(1, 40))
def test_masks_by_hand(key: int, site: int, p: float, width: int) -> None:
    layer = Dropout(p)
    layer.site = site
    keys = torch.tensor([key, 77])
    assert layer.mask(keys, width)[0].tolist() == plain_mask(key % WORD, site, p, width)
    by_head = layer.mask(keys, width, heads=3)
    assert by_head.shape == (3, 2, width)
    assert by_head[2, 0].tolist() == plain_mask(key % WORD, site, p, width, head=2)


@pytest.mark.parametrize("p", [0.5, 0.2])
def test_the_rate_is_p_everywhere(p: float) -> None:
    rows, width = 4000, 256
    mask = Dropout(p).mask(pass_keys(frame_keys([3, 4], [rows // 2] * 2), 9), width).double()
    deviation = math.sqrt(p * (1 - p))
    assert mask.mean().item() == pytest.approx(1 - p, abs=4 * deviation / math.sqrt(rows * width))
    for axis, other in ((0, rows), (1, width)):
        assert mask.mean(dim=axis).std().item() == pytest.approx(deviation / math.sqrt(other), rel=0.2)


def test_elements_rows_heads_layers_epochs_and_videos_are_independent() -> None:
    """Correlations of masks are no larger than chance: 5 deviations for the largest of many."""
    frames = frame_keys([1], [1 << 15])
    first, second = Dropout(0.5), Dropout(0.5)
    number_sites(torch.nn.Sequential(first, second))
    assert first.site != second.site

    def signs(mask: torch.Tensor) -> torch.Tensor:
        return mask.double() * 2 - 1

    base = signs(first.mask(pass_keys(frames, 5), 64))
    among = base.T @ base / len(base)
    assert among.fill_diagonal_(0).abs().max().item() < 5 / math.sqrt(len(base))
    others = {
        "layer": second.mask(pass_keys(frames, 5), 64),
        "epoch": first.mask(pass_keys(frames, 6), 64),
        "video": first.mask(pass_keys(frame_keys([2], [1 << 15]), 5), 64),
        "next frame": first.mask(pass_keys(frames, 5).roll(1), 64),
        "head": first.mask(pass_keys(frames, 5), 64, heads=2)[1],
    }
    for name, mask in others.items():
        assert (base * signs(mask)).mean(dim=0).abs().max().item() < 5 / math.sqrt(len(base)), name


def test_kept_elements_are_scaled_so_that_the_mean_stays() -> None:
    layer, keys = Dropout(0.2), counted(5, torch.arange(2000))
    y = layer(torch.ones(2000, 100), keys)
    assert y.unique().tolist() == pytest.approx([0.0, 1.25], rel=1e-4)
    assert y.mean().item() == pytest.approx(1.0, abs=0.005)
    assert torch.equal(layer.eval()(torch.ones(2, 3), keys[:2]), torch.ones(2, 3))


def test_the_width_does_not_change_what_comes_first() -> None:
    """So padding of attention does not either."""
    keys = counted(1, torch.arange(50))
    assert torch.equal(Dropout(0.3).mask(keys, 90)[:, :37], Dropout(0.3).mask(keys, 37))


def test_without_keys_it_is_torchs_own() -> None:
    layer, x = Dropout(0.5), torch.randn(20, 20)
    torch.manual_seed(0)
    first = layer(x)
    torch.manual_seed(0)
    assert torch.equal(first, torch.nn.functional.dropout(x, 0.5))
