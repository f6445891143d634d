"""What networks that see single pictures share: from a decoded frame to the input, and from a batch to features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import nn
from torchvision.transforms import functional

from utopia.extractors._common import on_device

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Preprocessing:
    """Resize, take the centre, and normalise: the form in which nearly all published networks want a picture.

    Resizing is antialiased and rounds to whole grey values, as that of PIL, with which the networks were trained: the
    two differ by one of 255 at most (bicubic: at one value in a thousand by up to five).
    """

    resize: int | tuple[int, int]
    """The shorter side in pixels, or height and width, which do not keep the picture's shape."""
    crop: int
    """Side of the central square that is kept."""
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    """Subtracted, in the order of the channels and the range that the network sees."""
    std: tuple[float, float, float] = IMAGENET_STD
    """Divided by."""
    bgr: bool = False
    """Whether the network sees blue, green, red."""
    largest: float = 1.0
    """What white becomes before the mean is subtracted: 1, or 255 in networks from Caffe."""

    def __call__(self, frame: torch.Tensor) -> torch.Tensor:
        """Input float32 [3, crop, crop] of a frame uint8 RGB [height, width, 3]."""
        image = frame.permute(2, 0, 1)[None].float()
        tall, wide = self._resized(*frame.shape[:2])
        # torch resizes rows, then columns; done apart, the same sums, only of columns that are kept.
        image = self._centre(self._scaled(image, (image.shape[2], wide)), 3)
        image = self._centre(self._scaled(image, (tall, image.shape[3])), 2)
        values = image[0].clamp(0, 255).round() / (255 / self.largest)
        return functional.normalize(values.flip(0) if self.bgr else values, list(self.mean), list(self.std))

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the whole picture after resizing."""
        if not isinstance(self.resize, int):
            return self.resize
        longer = int(self.resize * max(height, width) / min(height, width))
        return (longer, self.resize) if height > width else (self.resize, longer)

    def _scaled(self, image: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
        return nn.functional.interpolate(image, size, mode=self.interpolation, align_corners=False, antialias=True)

    def _centre(self, image: torch.Tensor, dim: int) -> torch.Tensor:
        return image.narrow(dim, round((image.shape[dim] - self.crop) / 2), self.crop)


class FrameEncoder:
    """A network that turns each picture into a row of numbers: the `FrameNetwork` of most extractors."""

    def __init__(
        self,
        network: nn.Module,
        prepare: Callable[[torch.Tensor], torch.Tensor],
        batch: int,
        device: torch.device,
        *,
        channels_last: bool = False,
    ) -> None:
        """Take a network in evaluation mode.

        Args:
            prepare: gives the input [3, height, width], of one size for all, of a frame uint8 RGB [height, width, 3].
            channels_last: whether the network is faster with this order in memory, as those with many small
                convolutions are.
        """
        self.batch = batch
        self._device = device
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self.network = network.to(device).to(memory_format=self._format)  # type: ignore[call-overload]
        self.prepare = prepare

    def lay_out(self, channels_last: bool) -> None:
        """Let channels lie last in memory, or not, whatever the extractor has chosen."""
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self.network.to(memory_format=self._format)

    @torch.inference_mode()
    def __call__(self, frames: Sequence[np.ndarray]) -> np.ndarray:
        """Features float32 [N, width] of N frames uint8 [height, width, 3]."""
        images = [self.prepare(on_device(frame, self._device)) for frame in frames]
        x_NCHW = torch.stack(images).contiguous(memory_format=self._format)
        return np.asarray(self.network(x_NCHW).float().cpu().numpy())
