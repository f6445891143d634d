"""Features of frames from any image network of timm or torchvision, by its name there."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import timm
import torch
import torchvision
from PIL import Image
from pydantic import Field, model_validator
from timm.data import create_transform, resolve_data_config
from torch import nn

from utopia.config.base import Strict
from utopia.errors import ConfigError
from utopia.extractors._common import FrameNetwork, device_of, fill
from utopia.extractors._images import FrameEncoder

MEDIUM = "frames"
WIDTH = None
"""As the network has it."""
VERSION = 1


class Config(Strict):
    """Features of frames from an image network by name: what it feeds its classifier."""

    library: Literal["timm", "torchvision"]
    """Where the network and its preprocessing come from."""
    name: str = Field(..., pattern=r"^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)?$")
    """The network's name there. After a dot may stand which of its published weights the preprocessing goes with:
    `vgg16.IMAGENET1K_V1`, `resnet50.a1_in1k`; otherwise it is that of the library's default ones."""
    pool: Literal["default", "avg", "max", "token"] = "default"
    """How positions become one row: as the network has it, or, in timm, their mean, maximum or class token."""
    fps: float = Field(2.0, gt=0, le=1000)
    """Frames per second."""
    every: int | None = Field(None, ge=1, le=1_000_000)
    """Take every so many frames instead of `fps`."""
    batch: int = Field(8, ge=1, le=100_000)
    """Frames per call of the network."""
    weights: str = Field(..., pattern="^[a-z0-9_]+$")
    """A card of workflow/resources/weights/, whose file has the library's names; or `random`. Nothing is downloaded."""

    @model_validator(mode="after")
    def _poolable(self) -> Self:
        if self.library == "torchvision" and self.pool != "default":
            raise ValueError("torchvision's networks have one pooling: use `pool: default`, or the network of timm")
        return self


def build(config: Config, weights_path: Path | None, seed: int, device: str) -> FrameNetwork:
    """The network without its classifier, in evaluation mode, with the library's own preprocessing.

    Raises:
        ConfigError: the library has no such network, pooling or preprocessing.
        InputError: the file of weights does not fit.
    """
    network, classifier, transform = (_timm if config.library == "timm" else _torchvision)(config)
    fill(network, weights_path, seed, unused=classifier)
    return FrameEncoder(network, _Prepare(transform), config.batch, device_of(device))


class _Prepare:
    """The library's transform, on a picture as the library reads it from a file."""

    def __init__(self, transform: Any) -> None:
        self._transform = transform

    def __call__(self, frame: torch.Tensor) -> torch.Tensor:
        """Input float32 [3, height, width] of a frame uint8 [height, width, 3]."""
        prepared: torch.Tensor = self._transform(Image.fromarray(np.asarray(frame.cpu())))
        return prepared.to(frame.device)


_Found = tuple[nn.Module, tuple[str, ...], Any]
"""The network, the prefixes of its classifier's parameters in a file, and the preprocessing."""


def _timm(config: Config) -> _Found:
    pool: dict[str, Any] = {} if config.pool == "default" else {"global_pool": config.pool}
    try:
        network: Any = timm.create_model(config.name, pretrained=False, num_classes=0, **pool)
        preset = resolve_data_config({}, model=network)
    except (RuntimeError, AssertionError, TypeError, ValueError) as error:
        raise _refused(config, error) from error
    named = network.pretrained_cfg.get("classifier") or ()
    heads = (named,) if isinstance(named, str) else tuple(named)
    return network, tuple(f"{head}." for head in heads), create_transform(**preset, is_training=False)


def _torchvision(config: Config) -> _Found:
    name, _, version = config.name.partition(".")
    try:
        presets = torchvision.models.get_model_weights(name)
        preset = presets[version] if version else presets.DEFAULT
        # The original ImageNet weights of two networks want their input rescaled inside; none has auxiliary heads here.
        extra: dict[str, Any] = {"transform_input": True, "aux_logits": False, "init_weights": False}
        network = torchvision.models.get_model(name, weights=None, **(extra if name in _INCEPTIONS else {}))
    except (KeyError, ValueError) as error:
        raise _refused(config, error) from error
    linear = [place for place, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise _refused(config, ValueError("it has no linear classifier to leave out"))
    parent, _, last = linear[-1].rpartition(".")
    setattr(network.get_submodule(parent), last, nn.Identity())
    return network, (f"{linear[-1]}.", *_INCEPTIONS.get(name, ())), preset.transforms()


_INCEPTIONS = {"googlenet": ("aux1.", "aux2."), "inception_v3": ("AuxLogits.",)}


def _refused(config: Config, error: Exception) -> ConfigError:
    reason = str(error).partition("\n")[0].strip("'\"")
    return ConfigError(
        f"{config.library} gives no features of {config.name!r} ({reason or type(error).__name__})",
        remedy=f"`{config.library}.list_models()` names the networks there are"
        if config.library == "timm"
        else "`torchvision.models.list_models()` names the networks there are",
    )
