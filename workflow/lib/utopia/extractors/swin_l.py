"""Swin-L stage 4, 1536 numbers per frame (Liu et al. 2021; EEV 2021 sec. 2.1), trained on ImageNet-22k."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import nn
from torchvision.models.swin_transformer import ShiftedWindowAttention, SwinTransformer

from utopia.config.base import Strict
from utopia.extractors._common import FrameNetwork, device_of, fill, load_state
from utopia.extractors._images import FrameEncoder, Preprocessing

MEDIUM = "frames"
WIDTH = 1536
VERSION = 1


class Config(Strict):
    """Swin-L features of frames: the last stage, normalised and averaged over the picture."""

    fps: float = Field(6.0, gt=0, le=1000)
    """Frames per second; EEV's labels come six times per second."""
    size: int = Field(224, ge=32, le=8192)
    """Side of the square that the network sees, in pixels; 224 is the published one."""
    batch: int = Field(8, ge=1, le=100_000)
    """Frames per call of the network."""
    weights: Literal["swin_large_imagenet22k", "swin_large_imagenet22k_timm", "random"] = "swin_large_imagenet22k"
    """A card of workflow/resources/weights/ (the same numbers in the authors' file and in timm's), or `random`."""
    random: Literal["large", "tiny"] = "large"
    """Which network `weights: random` means: the published one, or, for trials, one of a ten-thousandth of its work,
    whose last stage a random matrix brings to the same width."""

    @model_validator(mode="after")
    def _only_random(self) -> Self:
        if self.random != "large" and self.weights != "random":
            raise ValueError(f"random: {self.random} needs weights: random; only the large one's are published")
        return self


_DEPTHS, _HEADS, _CHANNELS, _WINDOW = (2, 2, 18, 2), (6, 12, 24, 48), 192, 7
_TINY: dict[str, Any] = {"depths": (1, 1, 1, 1), "heads": (1, 2, 4, 8), "channels": 16, "window": 2}
_UNUSED = ("head.",)


def swin(
    depths: Sequence[int] = _DEPTHS, heads: Sequence[int] = _HEADS, channels: int = _CHANNELS, window: int = _WINDOW
) -> SwinTransformer:
    """The network up to its global average pooling, 194,995,476 parameters at the published sizes, not yet filled."""
    with torch.device("meta"):  # no time is spent on an initialisation that is replaced at once
        network = SwinTransformer([4, 4], channels, list(depths), list(heads), [window, window])
        network.head = nn.Identity()
    network.to_empty(device="cpu")
    for module in network.modules():
        if isinstance(module, nn.LayerNorm):
            module.reset_parameters()
        elif isinstance(module, ShiftedWindowAttention):
            nn.init.zeros_(module.relative_position_bias_table)
            module.define_relative_position_index()
            # It follows from the geometry, so no file has to hold it.
            module.register_buffer("relative_position_index", module.relative_position_index, persistent=False)
    return network


def read(path: Path) -> dict[str, torch.Tensor]:
    """The parameters in a published file, by their names in torchvision's network.

    The authors' file has them below `model` and calls the merging of patches after stage i `layers.i.downsample`; timm
    calls it `layers.(i+1).downsample`. What follows from the geometry alone (`relative_position_index`, `attn_mask`)
    is computed, not read.

    Raises:
        InputError: it is not a file of tensors.
    """
    return rename(load_state(path, within="model"))


def rename(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Parameters of the authors' or timm's Swin by their names in torchvision's; unknown names stay as they are."""
    merged_before = 0 if "layers.0.downsample.reduction.weight" in state else 1
    renamed = {}
    for name, value in state.items():
        if name.endswith(("relative_position_index", "attn_mask")):
            continue
        new = re.sub(r"^patch_embed\.proj\.", "features.0.0.", name)
        new = re.sub(r"^patch_embed\.norm\.", "features.0.2.", new)
        new = re.sub(r"^layers\.(\d)\.blocks\.", lambda found: f"features.{2 * int(found[1]) + 1}.", new)
        new = re.sub(
            r"^layers\.(\d)\.downsample\.", lambda found: f"features.{2 * (int(found[1]) - merged_before) + 2}.", new
        )
        new = re.sub(r"\.mlp\.fc1\.", ".mlp.0.", new)
        renamed[re.sub(r"\.mlp\.fc2\.", ".mlp.3.", new)] = value
    return renamed


def _tiny() -> SwinTransformer:
    network = swin(**_TINY)
    network.head = nn.Linear(8 * _TINY["channels"], WIDTH)
    return network


def build(config: Config, weights_path: Path | None, seed: int, device: str) -> FrameNetwork:
    """The network up to its global average pooling, in evaluation mode.

    Preprocessing is that of the published evaluation at 224: bicubic; the central 90 % are kept.

    Raises:
        InputError: the file of weights does not fit.
    """
    made = swin() if config.random == "large" else _tiny()
    network = fill(made, weights_path, seed, unused=_UNUSED, read=read)
    prepare = Preprocessing(resize=int(config.size / 0.9), crop=config.size, interpolation="bicubic")
    return FrameEncoder(network, prepare, config.batch, device_of(device))
