from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import GoogLeNet_Weights, googlenet

from utopia.errors import InputError
from utopia.extractors import _common
from utopia.extractors import googlenet as googlenet_file
from utopia.extractors import vggish as vggish_file
from utopia.media.logmel import log_mel


def published_googlenet() -> nn.Module:
    """The network as torchvision publishes it: auxiliary heads, classifier and rescaled input."""
    torch.manual_seed(3)
    network = googlenet(weights=None, transform_input=True, aux_logits=True, init_weights=False)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):  # statistics as after training, not the identity
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return network.eval()


@pytest.fixture(scope="module")
def googlenet_weights(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    path = tmp_path_factory.mktemp("weights") / "googlenet.pth"
    network = published_googlenet()
    torch.save(network.state_dict(), path)
    return network, path


def test_googlenet_is_what_comes_before_the_published_classifier(googlenet_weights: tuple[nn.Module, Path]) -> None:
    network, path = googlenet_weights
    frames = list(np.random.default_rng(0).integers(0, 255, (3, 180, 320, 3), np.uint8))
    features = googlenet_file.build(googlenet_file.Config(), path, 0, "cpu")(frames)
    assert features.shape == (3, 1024)
    transform = GoogLeNet_Weights.IMAGENET1K_V1.transforms()
    with torch.inference_mode():
        images = torch.stack([transform(torch.from_numpy(frame).permute(2, 0, 1)) for frame in frames])
        published = network(images)
        ours = network.fc(torch.from_numpy(features))
    torch.testing.assert_close(ours, published, rtol=1e-4, atol=1e-5)


def test_size_keeps_the_published_ratio_of_resize_to_crop() -> None:
    sizes = []
    network = googlenet_file.build(googlenet_file.Config(weights="random", size=112), None, 1, "cpu")
    network.network.register_forward_pre_hook(lambda _, inputs: sizes.append(tuple(inputs[0].shape)))
    network([np.zeros((72, 96, 3), np.uint8)] * 2)
    assert sizes == [(2, 3, 112, 112)]
    assert network.prepare.resize == 128


def test_vggish_has_the_published_shape_and_no_final_activation() -> None:
    network = vggish_file.VGGish()
    assert sum(value.numel() for value in network.parameters()) == 72_141_184
    names = [f"{part}.{kind}" for part in VGGISH_LAYERS for kind in ("weight", "bias")]
    assert sorted(network.state_dict()) == sorted(names)
    rows = vggish_file.build(vggish_file.Config(weights="random"), None, 1, "cpu")(noise())[0]
    assert (rows < 0).any()


def test_vggish_loads_public_names_and_equals_a_plain_forward_pass(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in VGGISH_LAYERS.items():
        state[f"{name}.weight"] = torch.randn(shape, generator=generator) * (2 / np.prod(shape[1:])) ** 0.5
        state[f"{name}.bias"] = torch.randn(shape[0], generator=generator) * 0.01
    path = tmp_path / "vggish.pth"
    torch.save(state, path)
    for patch in ("whole", "per_second"):
        network = vggish_file.build(vggish_file.Config(patch=patch), path, 0, "cpu")
        features, times = network(noise(2.5))
        np.testing.assert_allclose(features, plain_vggish(log_mel(noise(2.5), patch), state), rtol=1e-3, atol=1e-4)
        assert times.tolist() == [0.0, 0.96]


VGGISH_LAYERS = {
    "features.0": (64, 1, 3, 3),
    "features.3": (128, 64, 3, 3),
    "features.6": (256, 128, 3, 3),
    "features.8": (256, 256, 3, 3),
    "features.11": (512, 256, 3, 3),
    "features.13": (512, 512, 3, 3),
    "embeddings.0": (4096, 12288),
    "embeddings.2": (4096, 4096),
    "embeddings.4": (128, 4096),
}


def noise(seconds: float = 2.0) -> np.ndarray:
    return np.random.default_rng(4).normal(0, 0.1, round(seconds * 16_000)).astype(np.float32)


def plain_vggish(patches: np.ndarray, state: dict[str, torch.Tensor]) -> np.ndarray:
    """VGGish in TensorFlow's terms: pooling pads at the end ("SAME"), the dense layers see rows, bands, channels."""

    def conv(x, name):
        return torch.relu(nn.functional.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], padding=1))

    def pool(x):
        padded = nn.functional.pad(x, (0, x.shape[3] % 2, 0, x.shape[2] % 2), value=float("-inf"))
        return nn.functional.max_pool2d(padded, 2)

    x = torch.from_numpy(patches)[:, None]
    x = pool(conv(x, "features.0"))
    x = pool(conv(x, "features.3"))
    x = pool(conv(conv(x, "features.6"), "features.8"))
    x = pool(conv(conv(x, "features.11"), "features.13"))
    x = x.permute(0, 2, 3, 1).reshape(len(x), -1)
    for index in (0, 2, 4):
        x = x @ state[f"embeddings.{index}.weight"].T + state[f"embeddings.{index}.bias"]
        x = torch.relu(x) if index < 4 else x
    return x.numpy()


def test_drawn_weights_keep_activations_alive_in_every_layer() -> None:
    deviations = []
    network = googlenet_file.build(googlenet_file.Config(weights="random", size=96), None, 11, "cpu")
    for name, module in network.network.named_children():
        if name.startswith(("conv", "inception")):
            module.register_forward_hook(lambda _, __, output: deviations.append(float(output.std())))
    network(list(np.random.default_rng(5).integers(0, 255, (2, 96, 128, 3), np.uint8)))
    assert len(deviations) == 12
    assert min(deviations) > 0.1 and max(deviations) < 10


def test_weights_that_do_not_fit_are_refused(googlenet_weights: tuple[nn.Module, Path], tmp_path: Path) -> None:
    state = dict(googlenet_weights[0].state_dict())
    state["conv1.conv.weight"] = state["conv1.conv.weight"][:32]
    state["surprise"] = state.pop("inception3a.branch1.bn.bias")
    path = tmp_path / "other.pth"
    torch.save(state, path)
    with pytest.raises(InputError, match=r"missing inception3a.branch1.bn.bias; not known surprise; of another shape"):
        googlenet_file.build(googlenet_file.Config(), path, 0, "cpu")


def test_safetensors_are_read(tmp_path: Path) -> None:
    save_file({"a": torch.arange(3.0)}, tmp_path / "weights.safetensors")
    assert _common.load_state(tmp_path / "weights.safetensors")["a"].tolist() == [0, 1, 2]


class _Exploit:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_code_in_a_pickle_is_not_run(tmp_path: Path, writer: str) -> None:
    target, path = tmp_path / "owned", tmp_path / "weights.pth"
    content = {"conv1.conv.weight": torch.zeros(1), "extra": _Exploit(target)}
    if writer == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(InputError, match="not a readable state dict"):
        _common.load_state(path)
    assert not target.exists()


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"PK\x03\x04 cut"])
def test_damaged_files_of_weights(tmp_path: Path, content: bytes) -> None:
    for name in ("weights.pth", "weights.safetensors"):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match="not a readable state dict"):
            _common.load_state(tmp_path / name)


def test_a_whole_model_is_not_a_state_dict(tmp_path: Path) -> None:
    torch.save({"epoch": 3, "state_dict": {"a": torch.zeros(1)}}, tmp_path / "checkpoint.pth")
    with pytest.raises(InputError, match="plain state dict"):
        _common.load_state(tmp_path / "checkpoint.pth")
