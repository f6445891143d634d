"""Action features, 128 numbers per frame (ULDA sec. 4.3): a head on OpenPose's backbone (Cao et al. 2017).

The head is two groups of a convolution and a max-pooling and a dense layer, fine-tuned (`_finetune`) on LIRIS-ACCEDE;
the features are the dense layer's. [U] ULDA does not say on which map of the backbone it stands, how wide its
convolutions are and what it was taught: here `conv4_4_CPM`, the last map before joints are looked for, with 128
channels; 128 of each convolution; valence and arousal. `layer: front` is that map itself, pooled over the picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn
from torchvision.transforms.v2 import functional as resizing

from utopia.config.base import Strict
from utopia.extractors._common import FrameNetwork, assign, device_of, draw, load_state

MEDIUM = "frames"
WIDTH = 128
VERSION = 2
STRIDE = 8
TUNED = ("front.conv4_3_CPM.", "front.conv4_4_CPM.", "head.")
"""What `_finetune` trains besides the linear layer that predicts [U]."""
_LATER = ("conv5_", "Mconv")  # the stages that find joints and limbs


class Config(Strict):
    """Features of frames from a head for actions on OpenPose's backbone, or from its front."""

    fps: float = Field(1.0, gt=0, le=1000)
    """Frames per second."""
    every: int | None = Field(None, ge=1, le=1_000_000)
    """Take every so many frames instead of `fps`."""
    height: int = Field(368, ge=32, multiple_of=8, le=8192)
    """Height of the network's input: 368 by 656 is OpenPose's own, 224 by 224 costs a fifth of it [U]."""
    width: int = Field(656, ge=32, multiple_of=8, le=8192)
    """Width of the network's input. A frame is scaled to fit, and grey fills the rest, which is not pooled."""
    layer: Literal["action", "front"] = "action"
    """`action`: the head's dense layer, which needs to be fine-tuned (`fine_tune`); `front`: the map conv4_4_CPM."""
    pool: Literal["mean", "max"] = "mean"
    """How the map of `front` becomes a vector."""
    batch: int = Field(4, ge=1, le=100_000)
    """Frames per call of the network."""
    weights: Literal["openpose_coco", "openpose_action", "random"] = "openpose_coco"
    """A card of workflow/resources/weights/ (`openpose_action`: a file of your own that has the head), or `random`."""

    @property
    def untrained(self) -> str:
        """What these weights lack unless they are fine-tuned first; empty if nothing."""
        bare = self.layer == "action" and self.weights == "openpose_coco"
        return "layer: action reads a head that OpenPose's own weights do not have" if bare else ""


class OpenPoseFront(nn.Module):
    """The part before the stages, 7.3 M parameters, with OpenPose's names: an image [N, 3, H, W] to 128 maps at 1/8."""

    def __init__(self) -> None:
        super().__init__()
        plan: tuple[str | tuple[str, int], ...] = (
            *(("conv1_1", 64), ("conv1_2", 64), "pool1", ("conv2_1", 128), ("conv2_2", 128), "pool2"),
            *(("conv3_1", 256), ("conv3_2", 256), ("conv3_3", 256), ("conv3_4", 256), "pool3"),
            *(("conv4_1", 512), ("conv4_2", 512), ("conv4_3_CPM", 256), ("conv4_4_CPM", WIDTH)),
        )
        channels = 3
        for step in plan:
            if isinstance(step, str):
                self.add_module(step, nn.MaxPool2d(2, 2))
            else:
                name, width = step
                self.add_module(name, nn.Conv2d(channels, width, 3, padding=1))
                self.add_module(f"relu_{name}", nn.ReLU(inplace=True))
                channels = width

    def forward(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        """The map conv4_4_CPM, after its ReLU, [N, 128, H / 8, W / 8]."""
        for layer in self.children():
            x_NCHW = layer(x_NCHW)
        return x_NCHW


def action_head(height: int, width: int) -> nn.Sequential:
    """The head for maps of a picture of this size: two groups of a convolution and a max-pooling, and a dense layer."""
    cells = (height // STRIDE // 4) * (width // STRIDE // 4)
    groups = [
        layer
        for _ in range(2)
        for layer in (nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2, 2))
    ]
    return nn.Sequential(*groups, nn.Flatten(), nn.Linear(WIDTH * cells, WIDTH))


class ActionNetwork(nn.Module):
    """The front, and on it the head, or the pooling over the picture alone."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.front = OpenPoseFront()
        self.head = action_head(config.height, config.width) if config.layer == "action" else None
        self._pool = config.pool

    def forward(self, x_NCHW: torch.Tensor, cells: Sequence[tuple[int, int]] | None = None) -> torch.Tensor:
        """Features [N, 128] of images [N, 3, H, W] whose upper left `cells` (rows, columns at 1/8) are picture."""
        maps_NCRS = self.front(x_NCHW)
        if self.head is not None:
            features_N128: torch.Tensor = self.head(maps_NCRS)
            return features_N128
        shown = cells or [(maps_NCRS.shape[2], maps_NCRS.shape[3])] * len(maps_NCRS)
        pictures = [
            maps_CRS[:, :rows, :columns].flatten(1) for maps_CRS, (rows, columns) in zip(maps_NCRS, shown, strict=True)
        ]
        pooled = [picture.mean(1) if self._pool == "mean" else picture.amax(1) for picture in pictures]
        return torch.stack(pooled)


def prepare(frame: np.ndarray, height: int, width: int, device: torch.device) -> tuple[torch.Tensor, tuple[int, int]]:
    """OpenPose's input of a frame uint8 [H, W, 3]: blue, green, red, x / 256 - 0.5, fitted, grey right and below.

    Returns:
        float32 [3, height, width], and the rows and columns of the map (at 1/8) that show the picture.
    """
    image_CHW = torch.from_numpy(np.ascontiguousarray(frame)).to(device).permute(2, 0, 1).flip(0)
    fitted = fit(image_CHW, height, width)
    x_CHW = torch.zeros(3, height, width, device=device)  # grey 128 is 0 here
    x_CHW[:, : fitted.shape[1], : fitted.shape[2]] = fitted.float() / 256 - 0.5
    rows, columns = (-(-side // STRIDE) for side in fitted.shape[1:])
    return x_CHW, (rows, columns)


def fit(image_CHW: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """An image as large as the network's input allows, its sides in their proportion."""
    sides = image_CHW.shape[1:]
    scale = min(height / sides[0], width / sides[1])
    size = [max(1, min(limit, round(scale * side))) for limit, side in zip((height, width), sides, strict=True)]
    return resizing.resize(image_CHW, size, interpolation=resizing.InterpolationMode.BICUBIC, antialias=True)


class Features:
    """The network with what belongs before it."""

    def __init__(self, network: ActionNetwork, config: Config, device: torch.device) -> None:
        self.batch, self.device, self.width = config.batch, device, WIDTH
        self.network = network.to(device)
        self._size = config.height, config.width

    def prepare(self, frame: np.ndarray, name: str) -> tuple[torch.Tensor, tuple[int, int]]:
        """A frame as `embed` takes it."""
        return prepare(frame, *self._size, self.device)

    def shrunk(self, frame: np.ndarray) -> np.ndarray:
        """A frame in the size that `prepare` brings it to."""
        fitted = fit(torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1), *self._size)
        return np.ascontiguousarray(fitted.permute(1, 2, 0).numpy())

    def embed(self, prepared: Sequence[tuple[torch.Tensor, tuple[int, int]]]) -> torch.Tensor:
        """Features [N, 128], with gradients where they are asked for."""
        images, cells = zip(*prepared, strict=True)
        features: torch.Tensor = self.network(torch.stack(images), cells)
        return features

    @torch.inference_mode()
    def __call__(self, frames: Sequence[np.ndarray]) -> np.ndarray:
        """Features float32 [N, 128] of N frames uint8 [height, width, 3]."""
        return np.asarray(self.embed([self.prepare(frame, "") for frame in frames]).float().cpu().numpy())


def build(config: Config, weights_path: Path | None, seed: int, device: str) -> FrameNetwork:
    """The network in evaluation mode.

    Raises:
        InputError: the file of weights does not fit.
    """
    network = ActionNetwork(config)
    if weights_path is None:
        draw(network, seed)
    else:
        assign(network, renamed(load_state(weights_path), head=network.head is not None), weights_path)
    return Features(network.eval().requires_grad_(False), config, device_of(device))


def tunable(config: Config, weights_path: Path | None, seed: int, device: str) -> Features:
    """The network for `_finetune`: the front from published weights, and a head drawn from `seed`.

    Raises:
        InputError: the file of weights does not fit.
    """
    network = ActionNetwork(config.model_copy(update={"layer": "action"}))
    draw(network, seed)
    if weights_path is not None:
        front = renamed(load_state(weights_path), head=False)
        assign(network.front, {name.removeprefix("front."): value for name, value in front.items()}, weights_path)
    return Features(network.eval().requires_grad_(False), config, device_of(device))


def renamed(state: Mapping[str, torch.Tensor], head: bool) -> dict[str, torch.Tensor]:
    """The state under the names of `ActionNetwork`, from OpenPose's own (with or without `model0.`) or fine-tuned.

    The later stages and a classifier are left out, and so is the head where it is not wanted.
    """
    names = {name: name.removeprefix("model0.").removeprefix("front.") for name in state}
    unused = (*_LATER, "model1_", "model2_", "model3_", "model4_", "model5_", "model6_", "classifier.")
    kept = {name: own for name, own in names.items() if not own.startswith(unused if head else (*unused, "head."))}
    return {own if own.startswith("head.") else f"front.{own}": state[name] for name, own in kept.items()}
