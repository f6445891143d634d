from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from pydantic import ValidationError
from safetensors.torch import save_file
from timm.models.swin_transformer import SwinTransformer

from utopia.errors import InputError
from utopia.extractors import swin_l
from utopia.extractors._common import fill

SMALL = {"depths": (2, 2, 4, 2), "heads": (1, 2, 4, 8), "channels": 32}


def shapes(state: dict[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in state.items() if not name.startswith("head.")}


@pytest.fixture(scope="module")
def own() -> dict[str, tuple[int, ...]]:
    return shapes(swin_l.swin().state_dict())


def authors(channels: int = 192, depths=(2, 2, 18, 2), heads=(6, 12, 24, 48)) -> dict[str, tuple[int, ...]]:
    """Names and shapes in the authors' file, from the paper's description and their code's names."""
    found = {
        "patch_embed.proj.weight": (channels, 3, 4, 4),
        "patch_embed.proj.bias": (channels,),
        "norm.weight": (8 * channels,),
        "norm.bias": (8 * channels,),
        "patch_embed.norm.weight": (channels,),
        "patch_embed.norm.bias": (channels,),
        "head.weight": (21841, 8 * channels),
        "head.bias": (21841,),
    }
    for stage, (depth, head) in enumerate(zip(depths, heads, strict=True)):
        width = channels * 2**stage
        for block in range(depth):
            layers = {
                "norm1": (width,),
                "attn.qkv": (3 * width, width),
                "attn.proj": (width, width),
                "norm2": (width,),
                "mlp.fc1": (4 * width, width),
                "mlp.fc2": (width, 4 * width),
            }
            prefix = f"layers.{stage}.blocks.{block}"
            for layer, shape in layers.items():
                found |= {f"{prefix}.{layer}.weight": shape, f"{prefix}.{layer}.bias": shape[:1]}
            found[f"{prefix}.attn.relative_position_bias_table"] = (13 * 13, head)
            found[f"{prefix}.attn.relative_position_index"] = (49, 49)
            if block % 2 and stage < 3:
                found[f"{prefix}.attn_mask"] = ((56 // 2**stage // 7) ** 2, 49, 49)
        if stage < 3:
            found[f"layers.{stage}.downsample.reduction.weight"] = (2 * width, 4 * width)
            found |= {f"layers.{stage}.downsample.norm.{part}": (4 * width,) for part in ("weight", "bias")}
    return found


def test_the_published_size(own: dict[str, tuple[int, ...]]) -> None:
    assert sum(int(np.prod(shape)) for shape in own.values()) == 194_995_476
    assert sum(parameter.numel() for parameter in swin_l.swin().parameters()) == 194_995_476


def test_names_and_shapes_of_the_authors_file_all_have_their_place(own: dict[str, tuple[int, ...]]) -> None:
    with torch.device("meta"):
        published = {name: torch.empty(shape) for name, shape in authors().items()}
    assert shapes(swin_l.rename(published)) == own


def test_names_and_shapes_of_timms_file_all_have_their_place(own: dict[str, tuple[int, ...]]) -> None:
    with torch.device("meta"):
        published = timm.create_model("swin_large_patch4_window7_224.ms_in22k", pretrained=False, num_classes=21841)
    assert shapes(swin_l.rename(published.state_dict())) == own


@pytest.fixture(scope="module")
def theirs() -> SwinTransformer:
    """timm's network, small, with positions that matter."""
    torch.manual_seed(5)
    depths, heads, channels = SMALL["depths"], SMALL["heads"], SMALL["channels"]
    network = SwinTransformer(depths=depths, num_heads=heads, embed_dim=channels, num_classes=7, window_size=7)
    for name, parameter in network.named_parameters():
        if parameter.ndim == 1 or name.endswith("bias_table"):
            torch.nn.init.normal_(parameter, 1.0 if "norm" in name and name.endswith("weight") else 0.0, 0.3)
    return network.eval()


def file_of(network: SwinTransformer, layout: str, folder: Path) -> Path:
    state = {name: value.contiguous() for name, value in network.state_dict().items()}
    if layout == "timm":
        path = folder / "swin.safetensors"
        save_file(state, path)
        return path
    path = folder / "swin.pth"
    renamed = {}
    for name, value in state.items():
        stage = name.split(".")[1]
        new = (
            name.replace(f"layers.{stage}.downsample", f"layers.{int(stage) - 1}.downsample")
            if "down" in name
            else name
        )
        renamed[new.replace("head.fc.", "head.")] = value
    for stage in range(3):  # buffers that the authors saved
        renamed[f"layers.{stage}.blocks.0.attn.relative_position_index"] = torch.zeros(49, 49, dtype=torch.int64)
        renamed[f"layers.{stage}.blocks.1.attn_mask"] = torch.zeros(4, 49, 49)
    torch.save({"model": renamed}, path)
    return path


@pytest.mark.parametrize("layout", ["timm", "authors"])
def test_it_equals_timms_network_whatever_the_file(theirs: SwinTransformer, layout: str, tmp_path: Path) -> None:
    path = file_of(theirs, layout, tmp_path)
    ours = fill(swin_l.swin(**SMALL), path, 0, unused=("head.",), read=swin_l.read)
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = theirs.forward_head(theirs.forward_features(images), pre_logits=True)
        found = ours(images)
    assert found.shape == (2, 8 * SMALL["channels"])
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert found.std(dim=0).max() > 1e-3, "the pictures are told apart"


def test_another_networks_file_is_refused(theirs: SwinTransformer, tmp_path: Path) -> None:
    path = file_of(theirs, "timm", tmp_path)
    with pytest.raises(InputError, match="of another shape"):
        swin_l.build(swin_l.Config(), path, 0, "cpu")


def test_the_tiny_network_is_as_wide_and_only_random() -> None:
    frames = [np.random.default_rng(number).integers(0, 255, (48, 64, 3), dtype=np.uint8) for number in range(3)]
    config = swin_l.Config(weights="random", random="tiny", size=64)
    first, again = (swin_l.build(config, None, 4, "cpu")(frames) for _ in range(2))
    assert first.shape == (3, swin_l.WIDTH) and np.isfinite(first).all() and first.std() > 0.1
    np.testing.assert_array_equal(first, again)
    assert np.abs(first[0] - first[1]).mean() > 0.01
    with pytest.raises(ValidationError, match="random: tiny needs weights: random"):
        swin_l.Config(random="tiny")
