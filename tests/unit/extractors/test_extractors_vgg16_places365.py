from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import vgg16

from utopia.errors import InputError
from utopia.extractors import vgg16_places365
from utopia.extractors._caffe import read_caffemodel

LAYERS = [(block, number) for block, count in enumerate((2, 2, 3, 3, 3), 1) for number in range(1, count + 1)]
"""Block and number of each convolution, in order."""


@pytest.fixture(scope="module")
def published() -> nn.Module:
    torch.manual_seed(2)
    return vgg16(weights=None).features.eval()


@pytest.fixture(scope="module")
def convolutions(published: nn.Module) -> dict[tuple[int, int], nn.Conv2d]:
    return dict(zip(LAYERS, (layer for layer in published if isinstance(layer, nn.Conv2d)), strict=True))


def keras_file(path: Path, convolutions: dict[tuple[int, int], nn.Conv2d], root: str = "") -> Path:
    """As Keras 2 saves weights: a group per layer, whose attribute names its arrays in order."""
    with h5py.File(path, "w") as file:
        top = file.create_group(root) if root else file
        for (block, number), layer in convolutions.items():
            name = f"block{block}_conv{number}"
            group = top.create_group(name)
            group[f"{name}/kernel:0"] = layer.weight.detach().permute(2, 3, 1, 0).numpy()
            group[f"{name}/bias:0"] = layer.bias.detach().numpy()
            group.attrs["weight_names"] = np.array([f"{name}/kernel:0".encode(), f"{name}/bias:0".encode()])
        for block in range(1, 6):
            top.create_group(f"block{block}_pool").attrs["weight_names"] = np.array([], "S1")
    return path


def varint(value: int) -> bytes:
    found = b""
    while value > 0x7F:
        found += bytes([value & 0x7F | 0x80])
        value >>= 7
    return found + bytes([value])


def message(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def blob(values: np.ndarray, old: bool) -> bytes:
    packed = message(5, values.astype("<f4").tobytes())
    if old:
        sizes = (1,) * (4 - values.ndim) + values.shape
        return b"".join(varint(place << 3) + varint(size) for place, size in enumerate(sizes, 1)) + packed
    return message(7, message(1, b"".join(map(varint, values.shape)))) + packed


def caffe_file(path: Path, layers: Iterable[tuple[str, list[np.ndarray]]], old: bool = False) -> Path:
    """As Caffe writes it; `old` as it did before 2014."""
    content = message(1, b"VGG-Places365")
    for name, blobs in layers:
        layer = message(4 if old else 1, name.encode()) + (varint(5 << 3) + varint(4) if old else message(2, b"Conv"))
        layer += b"".join(message(6 if old else 7, blob(values, old)) for values in blobs)
        layer += varint(10 << 3 | 5) + struct.pack("<f", 0.5)  # a field of another kind
        content += message(2 if old else 100, layer)
    path.write_bytes(content)
    return path


def blobs_of(layer: nn.Conv2d) -> list[np.ndarray]:
    return [layer.weight.detach().numpy(), layer.bias.detach().numpy()]


@pytest.fixture(params=["keras", "keras, whole model", "caffe", "caffe, old"])
def weights_file(request: pytest.FixtureRequest, convolutions, tmp_path: Path) -> Path:
    if request.param.startswith("keras"):
        return keras_file(tmp_path / "vgg.h5", convolutions, "model_weights" if "whole" in request.param else "")
    layers = [(f"conv{block}_{number}", blobs_of(layer)) for (block, number), layer in convolutions.items()]
    layers += [("relu5_3", []), ("fc6", [np.zeros((4, 8), np.float32), np.zeros(4, np.float32)])]
    return caffe_file(tmp_path / "vgg.caffemodel", layers, old="old" in request.param)


@pytest.mark.long
def test_every_file_gives_the_maximum_of_conv5_and_pool5(published: nn.Module, weights_file: Path) -> None:
    network = vgg16_places365.build(vgg16_places365.Config(), weights_file, 0, "cpu")
    assert sum(parameter.numel() for parameter in network.network.parameters()) == 14_714_688
    frames = list(np.random.default_rng(0).integers(0, 255, (1, 120, 160, 3), np.uint8))
    found = network(frames)
    with torch.inference_mode():
        images = torch.stack([network.prepare(torch.from_numpy(frame)) for frame in frames])
        conv5, pool5 = published[:-1](images), published(images)
    assert conv5.shape == (1, 512, 14, 14) and pool5.shape == (1, 512, 7, 7)
    assert torch.equal(conv5.amax((2, 3)), pool5.amax((2, 3)))
    np.testing.assert_allclose(found, conv5.amax((2, 3)).numpy(), rtol=1e-5, atol=1e-4)
    assert found.std() > 0.01


def test_a_keras_kernel_means_what_keras_means_by_it(convolutions, tmp_path: Path) -> None:
    """One number of the first layer, computed from the file's own array: height, width, in, out; not flipped."""
    path = keras_file(tmp_path / "vgg.h5", convolutions)
    with h5py.File(path) as file:
        kernel, bias = (np.asarray(file[f"block1_conv1/block1_conv1/{part}:0"]) for part in ("kernel", "bias"))
    image = np.random.default_rng(1).normal(size=(3, 3, 3)).astype(np.float32)  # height, width, channel
    expected = (image[..., None] * kernel).sum((0, 1, 2)) + bias
    state = vgg16_places365.read(path)
    found = nn.functional.conv2d(
        torch.from_numpy(image).permute(2, 0, 1)[None], state["features.0.weight"], state["features.0.bias"]
    )
    np.testing.assert_allclose(found.flatten().numpy(), expected, atol=1e-5)


def test_a_layer_that_lacks_is_named(convolutions, tmp_path: Path) -> None:
    some = {place: layer for place, layer in convolutions.items() if place != (5, 3)}
    with pytest.raises(InputError, match=r"missing features\.28\.weight"):
        vgg16_places365.build(vgg16_places365.Config(), keras_file(tmp_path / "vgg.h5", some), 0, "cpu")


def test_arrays_in_other_files_are_not_read(convolutions, tmp_path: Path) -> None:
    other = keras_file(tmp_path / "other.h5", convolutions)
    with h5py.File(tmp_path / "vgg.h5", "w") as file:
        for block, number in LAYERS:
            name = f"block{block}_conv{number}"
            file[name] = h5py.ExternalLink(str(other), name)
    with pytest.raises(InputError, match="refers to another file"):
        vgg16_places365.read(tmp_path / "vgg.h5")


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"\xff" * 40, b"PK\x03\x04 cut"])
@pytest.mark.parametrize("name", ["vgg.h5", "vgg.caffemodel", "vgg.pth"])
def test_files_that_are_no_such_files(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError):
        vgg16_places365.read(tmp_path / name)


def test_a_cut_caffemodel_is_refused(tmp_path: Path) -> None:
    path = caffe_file(tmp_path / "net.caffemodel", [("conv1_1", [np.ones((2, 3), np.float32)])])
    assert read_caffemodel(path)["conv1_1"][0].tolist() == [[1, 1, 1], [1, 1, 1]]
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(InputError, match="not a readable caffemodel"):
        read_caffemodel(path)
