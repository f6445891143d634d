"""Inception-v3, SE-ResNets and any network by name: what comes before the published classifier."""

from __future__ import annotations

import socket
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision
from pydantic import ValidationError
from safetensors.torch import save_file
from torch import nn
from torchvision.models import Inception3

from utopia.errors import ConfigError, InputError
from utopia.extractors import inception_v3, se_resnet, vision_model


def frames(count: int = 2) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 255, (count, 120, 160, 3), np.uint8))


def trained(network: nn.Module) -> nn.Module:
    """With statistics as after training, not the identity."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return network.eval()


def logits(network: nn.Module, prepare, pictures: list[np.ndarray]) -> torch.Tensor:
    with torch.inference_mode():
        return network(torch.stack([prepare(torch.from_numpy(picture)) for picture in pictures]))


def test_inception_is_what_comes_before_the_published_classifier(tmp_path: Path) -> None:
    torch.manual_seed(1)
    published = trained(Inception3(aux_logits=True, transform_input=True, init_weights=False))
    assert sum(parameter.numel() for parameter in published.parameters()) == 27_161_264
    path = tmp_path / "inception.pth"
    torch.save(published.state_dict(), path)
    network = inception_v3.build(inception_v3.Config(), path, 0, "cpu")
    assert sum(parameter.numel() for parameter in network.network.parameters()) == 21_785_568
    features = network(frames())
    assert features.shape == (2, inception_v3.WIDTH)
    expected = logits(published, network.prepare, frames())
    torch.testing.assert_close(published.fc(torch.from_numpy(features)), expected, rtol=1e-4, atol=1e-5)


def test_inceptions_weights_see_values_from_minus_one_to_one() -> None:
    """After ImageNet's normalisation the network undoes it: black becomes -1 and white 1, as in TensorFlow."""
    network = inception_v3.build(inception_v3.Config(weights="random", size=75), None, 0, "cpu")
    seen = []
    network.network.Conv2d_1a_3x3.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    network([np.zeros((80, 80, 3), np.uint8), np.full((80, 80, 3), 255, np.uint8)])
    torch.testing.assert_close(seen[0][0], torch.full((3, 75, 75), -1.0), atol=1e-5, rtol=0)
    torch.testing.assert_close(seen[0][1], torch.full((3, 75, 75), 1.0), atol=1e-5, rtol=0)


PUBLISHED = {
    "se_resnet50": 28_088_024,
    "se_resnext101_32x4d": 48_955_416,
    "se_resnet152": 66_821_848,
    "senet154": 115_088_984,
}


@pytest.mark.parametrize(("name", "parameters"), PUBLISHED.items())
def test_se_resnets_have_the_published_sizes(name: str, parameters: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(se_resnet, "fill", lambda network, *values, **settings: network.eval())
    weights = f"{name}_imagenet"
    network = se_resnet.build(se_resnet.Config(network=name, weights=weights), Path("unread"), 0, "cpu").network
    assert sum(parameter.numel() for parameter in network.parameters()) == parameters - 2048 * 1000 - 1000


def test_se_resnet_is_what_comes_before_the_published_classifier(tmp_path: Path) -> None:
    torch.manual_seed(1)
    published = trained(timm.create_model("legacy_seresnet50", pretrained=False))
    path = tmp_path / "se_resnet50.pth"  # the public file is older than the counters of steps
    state = {name: value for name, value in published.state_dict().items() if not name.endswith("batches_tracked")}
    assert {"layer0.conv1.weight", "layer1.0.se_module.fc1.weight", "last_linear.weight"} <= set(state)
    torch.save(state, path)
    network = se_resnet.build(se_resnet.Config(network="se_resnet50", weights="se_resnet50_imagenet"), path, 0, "cpu")
    features = network(frames())
    assert features.shape == (2, se_resnet.WIDTH)
    expected = logits(published, network.prepare, frames())
    torch.testing.assert_close(published.last_linear(torch.from_numpy(features)), expected, rtol=1e-3, atol=1e-4)


def test_weights_of_another_se_resnet_are_refused_at_once() -> None:
    with pytest.raises(ValidationError, match="not those of senet154: use senet154_imagenet"):
        se_resnet.Config(network="senet154")


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("the network is used")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)


def by_name(**settings: object) -> vision_model.Config:
    return vision_model.Config.model_validate({"weights": "random"} | settings)


@pytest.mark.usefixtures("offline")
def test_torchvisions_network_by_name(tmp_path: Path) -> None:
    torch.manual_seed(1)
    published = trained(torchvision.models.resnet18(weights=None))
    torch.save(published.state_dict(), tmp_path / "resnet18.pth")
    config = by_name(library="torchvision", name="resnet18.IMAGENET1K_V1", weights="resnet18_imagenet")
    network = vision_model.build(config, tmp_path / "resnet18.pth", 0, "cpu")
    features = network(frames())
    assert features.shape == (2, 512)
    expected = logits(published, network.prepare, frames())
    torch.testing.assert_close(published.fc(torch.from_numpy(features)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_torchvisions_inceptions_rescale_their_input(name: str) -> None:
    network = vision_model.build(by_name(library="torchvision", name=name), None, 0, "cpu")
    assert network.network.transform_input
    assert network(frames()).shape == (2, {"googlenet": 1024, "inception_v3": 2048}[name])


@pytest.mark.usefixtures("offline")
def test_timms_network_by_name(tmp_path: Path) -> None:
    torch.manual_seed(1)
    published = trained(timm.create_model("test_resnet.r160_in1k", pretrained=False))
    save_file(published.state_dict(), tmp_path / "net.safetensors")
    config = by_name(library="timm", name="test_resnet.r160_in1k", weights="net")
    network = vision_model.build(config, tmp_path / "net.safetensors", 0, "cpu")
    expected = logits(published, network.prepare, frames())
    assert network.prepare(torch.from_numpy(frames()[0])).shape == (3, 160, 160), "its own preset, not one for all"
    torch.testing.assert_close(published.fc(torch.from_numpy(network(frames()))), expected, rtol=1e-4, atol=1e-5)
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match="do not fit"):
        vision_model.build(config, tmp_path / "other.pth", 0, "cpu")


@pytest.mark.usefixtures("offline")
def test_poolings_of_a_transformer() -> None:
    rows = {}
    for pool in ("token", "avg", "max"):
        network = vision_model.build(by_name(library="timm", name="test_vit", pool=pool), None, 3, "cpu")
        rows[pool] = network(frames())
        again = vision_model.build(by_name(library="timm", name="test_vit", pool=pool), None, 3, "cpu")(frames())
        assert np.array_equal(rows[pool], again), "positions and tokens come from the seed too"
    assert not np.allclose(rows["avg"], rows["max"]) and not np.allclose(rows["avg"], rows["token"])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"library": "timm", "name": "resnet_of_nobody"}, "no features of 'resnet_of_nobody'"),
        ({"library": "timm", "name": "test_resnet.no_such_tag"}, "test_resnet.no_such_tag"),
        ({"library": "torchvision", "name": "resnet_of_nobody"}, "no features of 'resnet_of_nobody'"),
        ({"library": "torchvision", "name": "resnet18.IMAGENET9K"}, "IMAGENET9K"),
        ({"library": "torchvision", "name": "squeezenet1_0"}, "no linear classifier"),
        ({"library": "timm", "name": "test_resnet", "pool": "token"}, "test_resnet"),
    ],
)
def test_what_the_library_does_not_have(settings: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        vision_model.build(by_name(**settings), None, 0, "cpu")


@pytest.mark.parametrize(
    "settings",
    [
        {"library": "timm", "name": "hf-hub:timm/resnet18.a1_in1k"},
        {"library": "timm", "name": "local-dir:/etc"},
        {"library": "torchvision", "name": "resnet18", "pool": "max"},
        {"library": "timm", "name": "resnet18", "weights": "../weights"},
    ],
)
def test_settings_that_are_refused(settings: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        by_name(**settings)
