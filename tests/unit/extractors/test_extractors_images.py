"""Preprocessing against PIL, NumPy and the libraries' own."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_data_config
from torchvision.models import Inception_V3_Weights
from torchvision.transforms import InterpolationMode, functional

from utopia.extractors import inception_v3, se_resnet, swin_l, vgg16_places365
from utopia.extractors._images import Preprocessing


def picture(height: int = 360, width: int = 640) -> np.ndarray:
    """Smooth shapes, edges and noise."""
    random = np.random.default_rng(3)
    coarse = random.integers(0, 255, (9, 16, 3), np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC), np.int16)
    smooth[100:200, 200:300] = 255
    return (smooth + random.integers(-20, 20, smooth.shape)).clip(0, 255).astype(np.uint8)


def prepared(network: object, frame: np.ndarray) -> np.ndarray:
    return network.prepare(torch.from_numpy(frame)).numpy()  # type: ignore[attr-defined]


def alike(found: np.ndarray, expected: np.ndarray, interpolation: str) -> None:
    """Within rounding. PIL cuts off what bicubic weights add beyond black and white between its two passes as well,
    torchvision only after both: that shows at a few edges."""
    levels = np.abs(found - expected) * np.array([0.229, 0.224, 0.225])[:, None, None] * 255
    assert levels.mean() < 0.2
    assert np.quantile(levels, 1.0 if interpolation == "bilinear" else 0.999) < 1.01
    assert levels.max() < 6


def by_hand(frame: np.ndarray, size: tuple[int, int], crop: int, how: Image.Resampling) -> np.ndarray:
    """The central square of the picture resized to (height, width), in grey values [crop, crop, 3]."""
    image = np.asarray(Image.fromarray(frame).resize(size[::-1], how), np.float64)
    top, left = round((size[0] - crop) / 2), round((size[1] - crop) / 2)
    return image[top : top + crop, left : left + crop]


def test_swin_sees_what_pil_gives_bicubic_at_248_of_which_224() -> None:
    frame = picture()
    network = Preprocessing(resize=248, crop=224, interpolation="bicubic")
    grey = by_hand(frame, (248, 440), 224, Image.Resampling.BICUBIC)
    expected = ((grey / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]).transpose(2, 0, 1)
    found = network(torch.from_numpy(frame)).numpy()
    assert found.dtype == np.float32 and found.shape == (3, 224, 224)
    alike(found, expected, "bicubic")


@pytest.mark.parametrize(
    ("ours", "settings", "theirs"),
    [
        (swin_l, {}, "swin_large_patch4_window7_224.ms_in22k"),
        (se_resnet, {"network": "se_resnet50"}, "legacy_seresnet50"),
    ],
)
def test_preprocessing_is_that_of_timms_preset(ours, settings, theirs, monkeypatch: pytest.MonkeyPatch) -> None:
    preset = resolve_data_config(pretrained_cfg=timm.get_pretrained_cfg(theirs).to_dict())
    monkeypatch.setattr(ours, "fill", lambda network, *values, **settings: network.eval())  # only what comes before
    network = ours.build(ours.Config(weights="random", **settings), None, 0, "cpu")
    expected = create_transform(**preset, is_training=False)(Image.fromarray(picture())).numpy()
    alike(prepared(network, picture()), expected, preset["interpolation"])


def test_inception_sees_exactly_what_torchvisions_preset_gives() -> None:
    network = inception_v3.build(inception_v3.Config(weights="random"), None, 0, "cpu")
    transform = Inception_V3_Weights.IMAGENET1K_V1.transforms()
    expected = transform(torch.from_numpy(picture()).permute(2, 0, 1)).numpy()
    np.testing.assert_allclose(prepared(network, picture()), expected, atol=1e-6)


@pytest.mark.parametrize(("geometry", "side"), [("crop", 256), ("squash", 224)])
def test_places_sees_blue_green_red_less_the_mean(geometry: str, side: int) -> None:
    config = vgg16_places365.Config(weights="random", geometry=geometry)
    network = vgg16_places365.build(config, None, 0, "cpu")
    grey = by_hand(picture(), (side, side), 224, Image.Resampling.BILINEAR)
    expected = (grey[..., ::-1] - [104.051, 112.514, 116.676]).transpose(2, 0, 1)
    found = prepared(network, picture())
    assert np.abs(found - expected).max() <= 1.01
    assert np.abs(found - expected).mean() < 0.2


@pytest.mark.parametrize(("mean", "first"), [("imagenet", 10 - 103.939), ("none", 10)])
def test_other_means_of_places(mean: str, first: float) -> None:
    config = vgg16_places365.Config(weights="random", mean=mean, size=32)
    frame = np.full((40, 50, 3), (30, 20, 10), np.uint8)  # red, green, blue
    found = prepared(vgg16_places365.build(config, None, 0, "cpu"), frame)
    assert found[0] == pytest.approx(first, abs=1e-4)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(360, 640), (640, 360), (256, 256), (255, 257), (72, 96), (33, 500), (720, 1280)])
def test_to_resize_only_what_is_kept_changes_no_bit(size: tuple[int, int], interpolation: str) -> None:
    """Against torchvision, which resizes the whole picture and cuts the centre out of it."""
    frame = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (*size, 3), np.uint8))
    mode = InterpolationMode(interpolation)
    for resize, crop in ((256, 224), (73, 64), (342, 299), ((256, 256), 256), ((300, 400), 200)):
        shape = [resize] if isinstance(resize, int) else list(resize)
        whole = functional.resize(frame.permute(2, 0, 1), shape, mode, antialias=True)
        expected = functional.center_crop(whole, [crop]).float() / 255
        network = Preprocessing(resize, crop, interpolation, mean=(0.0,) * 3, std=(1.0,) * 3)  # type: ignore[arg-type]
        assert torch.equal(network(frame), expected), (size, resize, crop)
