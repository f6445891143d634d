"""Face features, 3072 numbers per frame: the largest face that MTCNN finds, seen by Xception (Chollet 2017).

[U] ULDA names MTCNN and an Xception of 3072 features, but no layer of Xception is that wide. Its block 12 (1024) and
its last layer (2048) together are. ULDA's (sec. 4.3) was pre-trained on RAF-DB, which is given out on request:
`_finetune` does it with the frames of `<data>/raf_db`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from timm.models.xception import Xception
from torch import nn
from torchvision.transforms.v2 import functional as resizing

from utopia import seeds
from utopia.config.base import Strict
from utopia.extractors._common import FrameNetwork, device_of, fill
from utopia.extractors._mtcnn import MTCNN, largest, mtcnn

MEDIUM = "frames"
WIDTH = 3072
VERSION = 1
TUNED = ("block12.", "conv3.", "bn3.", "conv4.", "bn4.")
"""What `_finetune` trains besides the linear layer that predicts [U]."""


class Config(Strict):
    """Xception features of the largest face of frames; zeros where there is none."""

    fps: float = Field(1.0, gt=0, le=1000)
    """Frames per second."""
    every: int | None = Field(None, ge=1, le=1_000_000)
    """Take every so many frames instead of `fps`."""
    size: int = Field(299, ge=64, le=8192)
    """Side of the square that Xception sees, in pixels; 299 is the published one."""
    width: Literal[3072, 2048] = 3072
    """3072: block 12 (1024) and the last layer (2048), each averaged over the face. 2048: the last layer alone [U]."""
    smallest: int = Field(20, ge=12, le=8192)
    """The smallest face to look for, in pixels: 20 is MTCNN's own; 60 takes an eighth of the time at 270 lines."""
    margin: float = Field(0.0, ge=0, le=1)
    """How much of its sides a face's box grows by, half to each side."""
    no_face: Literal["zeros", "frame"] = "zeros"
    """What a frame without a face gives: a row of zeros, or the features of the whole frame [U]."""
    batch: int = Field(8, ge=1, le=100_000)
    """Frames per call of the network."""
    weights: Literal["xception_imagenet", "xception_face", "random"] = "xception_imagenet"
    """Of Xception: a card of workflow/resources/weights/ (`xception_face`: a file of your own), or `random`."""
    detector_weights: Literal["mtcnn", "random"] = "mtcnn"
    """Of MTCNN: its card, or `random`, which finds faces anywhere or nowhere."""


class FaceXception(Xception):
    """timm's `legacy_xception` without its classifier, 20.8 M parameters, with the names of the public weights."""

    def __init__(self, width: int) -> None:
        super().__init__(num_classes=0)
        self._both = width == WIDTH

    def forward(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        """Features [N, 3072]: block 12's, then the last layer's; or the latter alone, [N, 2048]."""
        x_NCHW = self.act2(self.bn2(self.conv2(self.act1(self.bn1(self.conv1(x_NCHW))))))
        for index in range(1, 13):
            x_NCHW = getattr(self, f"block{index}")(x_NCHW)
        middle_NC = x_NCHW.mean((2, 3))
        x_NCHW = self.act3(self.bn3(self.conv3(x_NCHW)))
        last_NC = self.act4(self.bn4(self.conv4(x_NCHW))).mean((2, 3))
        return torch.cat([middle_NC, last_NC], dim=1) if self._both else last_NC


class Features:
    """Detector and network with what belongs between them."""

    def __init__(self, network: nn.Module, detector: MTCNN, config: Config, device: torch.device) -> None:
        self.batch, self.device, self.width = config.batch, device, config.width
        self.network = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.detector, self._config = detector.to(device), config
        self._boxes: dict[str, torch.Tensor | None] = {}

    def prepare(self, frame: np.ndarray, name: str) -> torch.Tensor | None:
        """The face of a frame as `embed` takes it; None where there is none. Its place is remembered by `name`."""
        image_CHW = torch.from_numpy(np.ascontiguousarray(frame)).to(self.device).permute(2, 0, 1)
        if name not in self._boxes:
            self._boxes[name] = largest(self.detector(image_CHW[None]))[0]
        return self._face(image_CHW, self._boxes[name])

    def shrunk(self, frame: np.ndarray) -> np.ndarray:
        """The frame as it is: faces are looked for at its full size."""
        return frame

    def embed(self, faces: Sequence[torch.Tensor]) -> torch.Tensor:
        """Features [N, width], with gradients where they are asked for."""
        x_NCHW = torch.stack(list(faces)).contiguous(memory_format=torch.channels_last)
        features: torch.Tensor = self.network(x_NCHW)
        return features

    @torch.inference_mode()
    def __call__(self, frames: Sequence[np.ndarray]) -> np.ndarray:
        """Features float32 [N, width] of N frames uint8 [height, width, 3], zeros where there is no face."""
        images = [torch.from_numpy(np.ascontiguousarray(frame)).to(self.device).permute(2, 0, 1) for frame in frames]
        alike: dict[torch.Size, list[int]] = defaultdict(list)
        for index, image in enumerate(images):
            alike[image.shape].append(index)
        faces: list[torch.Tensor | None] = [None] * len(images)
        for indices in alike.values():
            found = largest(self.detector(torch.stack([images[index] for index in indices])))
            for index, box in zip(indices, found, strict=True):
                faces[index] = self._face(images[index], box)
        rows = np.zeros((len(frames), self.width), np.float32)
        seen = [index for index, face in enumerate(faces) if face is not None]
        if seen:
            rows[seen] = self.embed([face for face in faces if face is not None]).float().cpu().numpy()
        return rows

    def _face(self, image_CHW: torch.Tensor, box: torch.Tensor | None) -> torch.Tensor | None:
        """Xception's input [3, size, size] of a face: cut out, resized, -1 to 1."""
        if box is not None:
            image_CHW = cut(image_CHW, box, self._config.margin)
        elif self._config.no_face == "zeros":
            return None
        square = resizing.resize(
            image_CHW, [self._config.size] * 2, interpolation=resizing.InterpolationMode.BICUBIC, antialias=True
        )
        return square.float() / 127.5 - 1


def cut(image_CHW: torch.Tensor, box: torch.Tensor, margin: float) -> torch.Tensor:
    """The part of an image in a box [left, top, right, bottom], grown by `margin` of its sides, inside the image."""
    left, top, right, bottom = box.tolist()
    more = margin * (right - left) / 2, margin * (bottom - top) / 2
    height, width = image_CHW.shape[1:]
    x0, y0 = min(max(int(left - more[0]), 0), width - 1), min(max(int(top - more[1]), 0), height - 1)
    x1, y1 = min(max(int(right + more[0]), x0 + 1), width), min(max(int(bottom + more[1]), y0 + 1), height)
    return image_CHW[:, y0:y1, x0:x1]


def _calm(network: nn.Module) -> None:
    """Scale drawn parameters so that 12 blocks do not blow up what passes through.

    No activation lies between a depthwise and its pointwise convolution, and a block adds two branches.
    """
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d) and module.groups > 1:
            module.weight.mul_(0.5**0.5)
        if "block" in name and isinstance(module, nn.Sequential):
            last = next(part for part in reversed(list(module)) if isinstance(part, nn.BatchNorm2d))
            last.weight.mul_(0.5**0.5)
        if name.endswith("skipbn"):
            module.weight.mul_(0.5**0.5)


def build(
    config: Config, weights_path: Path | None, seed: int, device: str, detector_weights: Path | None = None
) -> FrameNetwork:
    """Detector and network in evaluation mode.

    Raises:
        InputError: a file of weights does not fit.
    """
    return tunable(config, weights_path, seed, device, detector_weights)


def tunable(
    config: Config, weights_path: Path | None, seed: int, device: str, detector_weights: Path | None = None
) -> Features:
    """Detector and network for `_finetune`.

    Raises:
        InputError: a file of weights does not fit.
    """
    network = FaceXception(config.width)
    fill(network, weights_path, seeds.derive(seed, "xception"), unused=("fc.", "last_linear.", "classifier."))
    if weights_path is None:
        _calm(network)
    detector = mtcnn(detector_weights, seeds.derive(seed, "mtcnn"), config.smallest)
    return Features(network, detector, config, device_of(device))
