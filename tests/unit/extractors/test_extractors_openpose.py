from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from utopia.errors import InputError
from utopia.extractors import openpose_action
from utopia.extractors.openpose_action import ActionNetwork, Config, OpenPoseFront, build, prepare

FRONT = {
    "conv1_1": (64, 3), "conv1_2": (64, 64), "conv2_1": (128, 64), "conv2_2": (128, 128),
    "conv3_1": (256, 128), "conv3_2": (256, 256), "conv3_3": (256, 256), "conv3_4": (256, 256),
    "conv4_1": (512, 256), "conv4_2": (512, 512), "conv4_3_CPM": (256, 512), "conv4_4_CPM": (128, 256),
}  # fmt: skip
"""Output and input channels of the layers before the stages; all kernels are 3 by 3."""


def published_shapes() -> dict[str, tuple[int, ...]]:
    """The whole body network as published: the front, stage 1, and five more stages, each with two branches."""
    shapes = {name: (*channels, 3, 3) for name, channels in FRONT.items()}
    for branch, out in (("L1", 38), ("L2", 19)):
        for index in (1, 2, 3):
            shapes[f"conv5_{index}_CPM_{branch}"] = (128, 128, 3, 3)
        shapes[f"conv5_4_CPM_{branch}"] = (512, 128, 1, 1)
        shapes[f"conv5_5_CPM_{branch}"] = (out, 512, 1, 1)
        for stage in range(2, 7):
            for index in range(1, 6):
                shapes[f"Mconv{index}_stage{stage}_{branch}"] = (128, 185 if index == 1 else 128, 7, 7)
            shapes[f"Mconv6_stage{stage}_{branch}"] = (128, 128, 1, 1)
            shapes[f"Mconv7_stage{stage}_{branch}"] = (out, 128, 1, 1)
    return shapes


def published_state(shapes: dict[str, tuple[int, ...]], prefix: str = "") -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in shapes.items():
        state[f"{prefix}{name}.weight"] = torch.randn(shape, generator=generator) * (2 / np.prod(shape[1:])) ** 0.5
        state[f"{prefix}{name}.bias"] = torch.randn(shape[0], generator=generator) * 0.01
    return state


def plain(image: torch.Tensor, state: dict[str, torch.Tensor]) -> torch.Tensor:
    """The front in plain functions."""
    for name in FRONT:
        image = torch.relu(nn.functional.conv2d(image, state[f"{name}.weight"], state[f"{name}.bias"], padding=1))
        if name in ("conv1_2", "conv2_2", "conv3_4"):
            image = nn.functional.max_pool2d(image, 2)
    return image


def frames(count: int = 2, height: int = 48, width: int = 96) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 255, (count, height, width, 3), np.uint8))


@pytest.mark.long
def test_the_front_has_the_published_layers() -> None:
    front = OpenPoseFront()
    assert sum(value.numel() for value in front.parameters()) == 7_340_480
    assert {name: tuple(value.shape) for name, value in front.state_dict().items() if name.endswith("weight")} == {
        f"{name}.weight": (*channels, 3, 3) for name, channels in FRONT.items()
    }
    assert front(torch.zeros(1, 3, 368, 656)).shape == (1, 128, 46, 82)


def test_generated_names_and_shapes_are_those_of_the_published_file() -> None:
    """Its 209,267,595 bytes are the parameters, and some 200 bytes to describe each of 184 tensors."""
    shapes = published_shapes()
    parameters = sum(int(np.prod(shape)) + shape[0] for shape in shapes.values())
    assert len(shapes) == 92 and 0 < 209_267_595 - 4 * parameters < 184 * 300


@pytest.mark.parametrize("prefix", ["", "model0."])
def test_published_names_load_and_the_map_is_pooled(tmp_path: Path, prefix: str) -> None:
    shapes = published_shapes() if not prefix else {name: (*channels, 3, 3) for name, channels in FRONT.items()}
    state = published_state(shapes, prefix)
    path = tmp_path / "body_pose_model.pth"
    torch.save(state, path)
    bare = {name.removeprefix(prefix): value for name, value in state.items()}
    for pool in ("mean", "max"):
        features = build(Config(layer="front", height=48, width=96, pool=pool), path, 0, "cpu")(frames())
        # The frame has the input's size: blue first, x / 256 - 0.5, nothing is resized.
        images = torch.from_numpy(np.stack(frames())[..., ::-1].copy()).permute(0, 3, 1, 2) / 256 - 0.5
        maps = plain(images, bare).flatten(2)
        expected = maps.mean(2) if pool == "mean" else maps.amax(2)
        np.testing.assert_allclose(features, expected.numpy(), rtol=1e-4, atol=1e-5)


def test_another_file_is_refused(tmp_path: Path) -> None:
    state = published_state({name: (*channels, 3, 3) for name, channels in FRONT.items()})
    state["surprise.weight"] = state.pop("conv4_4_CPM.bias")
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(InputError, match=r"missing front.conv4_4_CPM.bias; not known front.surprise.weight"):
        build(Config(layer="front"), tmp_path / "other.pth", 0, "cpu")


def test_a_frame_fits_into_the_corner_and_grey_is_zero() -> None:
    grey = np.full((100, 100, 3), 128, np.uint8)
    image, cells = prepare(grey, 64, 128, torch.device("cpu"))
    assert image.shape == (3, 64, 128) and not image.any() and cells == (8, 8)
    colours = np.zeros((100, 300, 3), np.uint8)
    colours[..., 0] = 255  # red
    image, cells = prepare(colours, 64, 128, torch.device("cpu"))
    assert cells == (6, 16)  # 43 of 64 rows
    assert image[2, :43].eq(255 / 256 - 0.5).all() and image[0, :43].eq(-0.5).all() and not image[:, 43:].any()


def test_only_the_picture_is_pooled() -> None:
    torch.manual_seed(0)
    network = ActionNetwork(Config(layer="front")).eval()
    image = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        map_CRS = network.front(image)[0]
        assert torch.allclose(network(image, [(3, 5)])[0], map_CRS[:, :3, :5].mean((1, 2)))


def test_the_head_is_two_groups_of_convolution_and_pooling_and_a_dense_layer(tmp_path: Path) -> None:
    """ULDA sec. 4.3: "two groups of convolution/max-pooling layers and a dense layer ... 128-dimensional"."""
    assert "do not have" in Config().untrained and not Config(layer="front").untrained
    config = Config(weights="openpose_action", height=64, width=96)
    assert config.layer == "action" and not config.untrained
    path = tmp_path / "body_pose_model.pth"
    torch.save(published_state({name: (*channels, 3, 3) for name, channels in FRONT.items()}), path)
    with pytest.raises(InputError, match=r"missing head.0.weight, head.0.bias"):
        build(config, path, 0, "cpu")
    tuned = openpose_action.tunable(config, path, 3, "cpu").network
    state = tuned.state_dict() | {"classifier.weight": torch.zeros(4, 128)}
    torch.save(state, path)
    with torch.inference_mode():
        x = tuned.front(torch.stack([prepare(frame, 64, 96, torch.device("cpu"))[0] for frame in frames()]))
        for convolution in ("head.0", "head.3"):
            weight, bias = state[f"{convolution}.weight"], state[f"{convolution}.bias"]
            x = nn.functional.max_pool2d(nn.functional.conv2d(x, weight, bias, padding=1).relu(), 2)
        assert x.shape[1:] == (128, 2, 3), "an eighth of the picture, halved twice"
        expected = x.flatten(1) @ state["head.7.weight"].T + state["head.7.bias"]
    assert expected.shape[1] == 128
    np.testing.assert_allclose(build(config, path, 0, "cpu")(frames()), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(48, 96), (100, 37), (720, 1280), (33, 500), (7, 9)])
def test_a_shrunk_frame_is_seen_as_the_frame_is(size: tuple[int, int]) -> None:
    """Fine-tuning keeps frames so small; what the network sees must not change by that."""
    network = openpose_action.tunable(Config(weights="random", height=64, width=96), None, 1, "cpu")
    frame = np.random.default_rng(5).integers(0, 255, (*size, 3), np.uint8)
    small = network.shrunk(frame)
    assert small.shape[0] <= 64 and small.shape[1] <= 96 and (small.shape[0] == 64 or small.shape[1] == 96)
    expected, cells = network.prepare(frame, "")
    image, seen = network.prepare(small, "")
    assert seen == cells and torch.equal(image, expected)
