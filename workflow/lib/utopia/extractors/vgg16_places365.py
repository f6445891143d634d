"""VGG16-Places365 scene features, 512 numbers per frame (Zhou et al. 2018; ULDA sec. 4.3): the maximum of
conv5 over the picture.
"""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Literal

import h5py
import numpy as np
import torch
from pydantic import Field
from torch import nn
from torchvision.models import vgg16

from utopia.config.base import Strict
from utopia.errors import InputError
from utopia.extractors._caffe import read_caffemodel
from utopia.extractors._common import FrameNetwork, device_of, fill
from utopia.extractors._images import FrameEncoder, Preprocessing

MEDIUM = "frames"
WIDTH = 512
VERSION = 1


class Config(Strict):
    """VGG16-Places365 features of frames: the largest value of each channel of the last convolution."""

    fps: float = Field(1.0, gt=0, le=1000)
    """Frames per second; LIRIS-ACCEDE's labels come once per second."""
    size: int = Field(224, ge=32, le=8192)
    """Side of the square that the network sees, in pixels; 224 is the published one."""
    geometry: Literal["crop", "squash"] = "crop"
    """`crop`: resized to 256 x 256 whatever its shape; the central 224 x 224 are seen, as in training;
    `squash`: resized to 224 x 224, as in the examples of the Keras conversion."""
    mean: Literal["places365", "imagenet", "none"] = "places365"
    """What is subtracted from blue, green, red in 0 to 255 **[U]**: the mean of each channel of the training set's mean
    picture; that of ImageNet, which the Keras conversion imports; or nothing, as in its examples."""
    batch: int = Field(8, ge=1, le=100_000)
    """Frames per call of the network."""
    weights: Literal["vgg16_places365_keras", "vgg16_places365_caffe", "random"] = "vgg16_places365_keras"
    """A card of workflow/resources/weights/ (the authors' Caffe network or its conversion to Keras), or `random`."""


_MEANS = {
    "places365": (104.051, 112.514, 116.676),
    "imagenet": (103.939, 116.779, 123.68),
    "none": (0.0, 0.0, 0.0),
}
_CONVOLUTIONS = (2, 2, 3, 3, 3)
"""Per block, each ends with a pooling."""


def build(config: Config, weights_path: Path | None, seed: int, device: str) -> FrameNetwork:
    """The network up to conv5_3 with its ReLU, and the maximum over the picture, in evaluation mode.

    At 224 the maximum over pool5 is the same number: its windows cover all of conv5_3.

    Raises:
        InputError: the file of weights does not fit.
    """
    with torch.device("meta"):  # no time is spent on an initialisation that is replaced at once
        features = vgg16(weights=None, init_weights=False).features[:-1]
    parts = OrderedDict(features=features, pool=nn.AdaptiveMaxPool2d(1), flat=nn.Flatten())
    network = fill(nn.Sequential(parts), weights_path, seed, read=read)
    side = config.size if config.geometry == "squash" else round(config.size * 256 / 224)
    prepare = Preprocessing(
        resize=(side, side), crop=config.size, mean=_MEANS[config.mean], std=(1, 1, 1), bgr=True, largest=255
    )
    return FrameEncoder(network, prepare, config.batch, device_of(device))


def read(path: Path) -> dict[str, torch.Tensor]:
    """The convolutions in a file of Keras (`.h5`) or Caffe (`.caffemodel`), by their names in torchvision's VGG16.

    Raises:
        InputError: it is neither, or damaged.
    """
    if path.suffix == ".h5":
        return _keras(path)
    if path.suffix == ".caffemodel":
        return _caffe(path)
    raise InputError("weights of VGG16-Places365 are an .h5 or a .caffemodel file", where=path)


def _names() -> dict[str, tuple[int, int]]:
    """Block and number of each convolution, from 1, by its name in torchvision's network."""
    found, place = {}, 0
    for block, count in enumerate(_CONVOLUTIONS, 1):
        for number in range(1, count + 1):
            found[f"features.{place}"] = (block, number)
            place += 2
        place += 1
    return found


def _caffe(path: Path) -> dict[str, torch.Tensor]:
    layers = read_caffemodel(path)
    state = {}
    for name, (block, number) in _names().items():
        for part, values in zip(("weight", "bias"), layers.get(f"conv{block}_{number}", []), strict=False):
            state[f"{name}.{part}"] = torch.from_numpy(values.reshape(-1) if part == "bias" else values)
    return state


def _keras(path: Path) -> dict[str, torch.Tensor]:
    """Keras keeps a kernel as [height, width, in, out], and its channels in the order in which Caffe had them."""
    state = {}
    try:
        with h5py.File(path, "r") as file:
            layers = file.get("model_weights", file)
            for name, (block, number) in _names().items():
                layer = layers.get(f"block{block}_conv{number}")
                if layer is None:
                    continue
                for part, values in zip(("weight", "bias"), _arrays(layer, file), strict=False):
                    kernel = values.transpose(3, 2, 0, 1) if part == "weight" and values.ndim == 4 else values
                    state[f"{name}.{part}"] = torch.from_numpy(np.ascontiguousarray(kernel, np.float32))
    except (OSError, RuntimeError, KeyError, ValueError, AttributeError) as error:  # what h5py raises for damaged files
        raise InputError(
            f"not a readable Keras file of weights ({error})",
            where=path,
            remedy="get the file from the address on its card again",
        ) from error
    return state


def _arrays(layer: h5py.Group, file: h5py.File) -> list[np.ndarray]:
    """The kernel and the bias of a layer, in the order that it names them in."""
    names = (name.decode() if isinstance(name, bytes) else str(name) for name in layer.attrs["weight_names"])
    return [np.asarray(_own(layer[name], file)) for name in names]


def _own(values: h5py.Dataset, file: h5py.File) -> h5py.Dataset:
    """Refuse an array that lies in another file than the one that was checked."""
    if values.file.filename != file.filename or values.external or values.is_virtual:
        raise ValueError(f"{values.name} refers to another file")
    return values
