"""The contract of `extractors/_common.py`, held against every extractor there is."""

from __future__ import annotations

import hashlib
from typing import Any, get_args

import numpy as np
import pytest
import torch

from utopia.config import registry
from utopia.features import weights

NAMES = registry.names("extractors")


def frames(count: int = 5, height: int = 90, width: int = 120) -> list[np.ndarray]:
    return list(np.random.default_rng(1).integers(0, 255, (count, height, width, 3), np.uint8))


def sound(seconds: float = 3.0, rate: int = 16_000) -> np.ndarray:
    return np.random.default_rng(2).normal(0, 0.1, round(seconds * rate)).astype(np.float32)


def run(module: Any, network: Any) -> np.ndarray:
    return network(frames()) if module.MEDIUM == "frames" else network(sound(rate=network.rate))[0]


NEEDED = {"vision_model": {"library": "timm", "name": "test_resnet"}}
"""Settings without a default."""
SMALL = {
    "se_resnet": {"network": "se_resnet50"},
    "swin_l": {"random": "tiny"},
    "vggish_music": {"channels": 4},
    "openpose_action": {"height": 64, "width": 64},
    "xception_face": {"no_face": "frame"},
}
"""The smallest network where there are several; a drawn detector finds no faces."""


def config(module: Any) -> Any:
    name, fields = name_of(module), module.Config.model_fields
    settings = dict.fromkeys(random_of(fields), "random") | NEEDED.get(name, {}) | SMALL.get(name, {})
    if "size" in fields:
        least = next(found.ge for found in fields["size"].metadata if hasattr(found, "ge"))
        settings["size"] = max(64, least)
    return module.Config(**settings)


def weights_of(fields: dict[str, Any]) -> list[str]:
    return [name for name in fields if name == "weights" or name.endswith("_weights")]


def random_of(fields: dict[str, Any]) -> list[str]:
    """Those of networks, which can be drawn; what may be null is a step that is left out."""
    return [name for name in weights_of(fields) if fields[name].default is not None]


def name_of(module: Any) -> str:
    return module.__name__.rpartition(".")[2]


@pytest.fixture(scope="module", params=NAMES)
def module(request: pytest.FixtureRequest) -> Any:
    return registry.load("extractors", request.param)


@pytest.fixture(scope="module")
def network(module: Any) -> Any:
    return module.build(config(module), None, 7, "cpu")


def test_constants(module: Any) -> None:
    assert module.MEDIUM in ("frames", "audio")
    assert module.WIDTH is None or module.WIDTH > 0
    assert isinstance(module.VERSION, int)
    if module.MEDIUM == "frames":
        assert module.Config.model_fields["fps"].annotation is float


def test_settings_are_read_without_importing_the_file(module: Any) -> None:
    light = registry.config_of("extractors", name_of(module))
    assert light.model_json_schema()["properties"].keys() == module.Config.model_json_schema()["properties"].keys()
    needed = NEEDED.get(name_of(module), {}) | ({"weights": "random"} if name_of(module) in NEEDED else {})
    assert light(**needed).model_dump() == module.Config(**needed).model_dump()


def test_weights_are_random_or_have_a_card(module: Any) -> None:
    fields = module.Config.model_fields
    annotations = [fields[name].annotation for name in random_of(fields)]
    choices = [get_args(annotation) for annotation in annotations if annotation is not str]  # str: any card
    assert all("random" in names and len(names) > 1 for names in choices)
    optional = [
        get_args(get_args(fields[name].annotation)[0]) for name in set(weights_of(fields)) - set(random_of(fields))
    ]
    choices += optional
    for name in {name for names in choices for name in names} - {"random"}:
        card = weights.card(name)
        assert card.licence and card.citation and card.pinned
        address = card.address or ""
        plain = "plain http" in (weights.CARDS / f"{name}.yaml").read_text()
        assert card.made_by or address.startswith(("https://", "it with `pip download")) or plain
        if card.sha256_prefix:
            assert card.sha256_prefix in card.file or (card.sha256 or "").startswith(card.sha256_prefix)


def test_rows_are_finite_float32_and_tell_inputs_apart(module: Any, network: Any) -> None:
    rows = run(module, network)
    assert rows.dtype == np.float32 and rows.shape[1] == (module.WIDTH or rows.shape[1]) and len(rows) >= 3
    assert np.isfinite(rows).all()
    assert 0.01 < rows.std() < 100, "activations vanish or explode"
    assert (rows.std(axis=0) > 0).mean() > 0.3, "rows do not depend on the input"


@pytest.mark.long
def test_random_weights_come_from_the_seed_alone(module: Any, network: Any) -> None:
    expected = run(module, network)
    torch.manual_seed(123)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2 if threads == 1 else 1)
        again = module.build(config(module), None, 7, "cpu")
        assert _parameters(again) == _parameters(network)
    finally:
        torch.set_num_threads(threads)
    assert np.array_equal(run(module, again), expected)
    del again
    assert not np.allclose(run(module, module.build(config(module), None, 8, "cpu")), expected, rtol=0.1)


def test_a_call_does_not_depend_on_its_companions(module: Any, network: Any) -> None:
    if module.MEDIUM == "audio":
        pytest.skip("a sound is one call")
    together, alone = network(frames()), np.concatenate([network([frame]) for frame in frames()])
    least = 1e-5 * max(1, np.abs(together).max())
    np.testing.assert_allclose(together, alone, rtol=1e-4, atol=least)
    mixed = [*frames(1, 90, 120), *frames(1, 64, 200)]
    np.testing.assert_allclose(network(mixed)[:1], network(mixed[:1]), rtol=1e-4, atol=least)


def test_sound_shorter_than_a_row_gives_none(module: Any, network: Any) -> None:
    if module.MEDIUM == "frames":
        pytest.skip("not an extractor of sound")
    features, times = network(sound(0.2, network.rate))
    assert features.shape == (0, module.WIDTH) and times.shape == (0,)
    features, times = network(sound(5, network.rate))
    assert len(features) == len(times) and (np.diff(times) > 0).all() and times[0] == 0


def _parameters(network: Any) -> list[str]:
    inner = next(value for value in vars(network).values() if isinstance(value, torch.nn.Module))
    return [hashlib.sha256(value.contiguous().numpy()).hexdigest() for value in inner.state_dict().values()]
