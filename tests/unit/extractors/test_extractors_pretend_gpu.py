"""Every extractor on a device with the rules of a GPU: nothing stays in main memory, and the numbers are the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pretend_gpu import pretend

from utopia.config import registry

SMALL: dict[str, dict[str, Any]] = {
    "googlenet": {"size": 64},
    "inception_v3": {"size": 96},
    "openpose_action": {"height": 32, "width": 32},
    "se_resnet": {"network": "se_resnet50", "size": 64},
    "vgg16_places365": {"size": 64},
    "vggish": {},
    "xception_face": {},
}
TOLERANCE = 0.02
HEAVY = {"swin_l", "vggish_music", "vision_model"}
"""Too large here, or made of the parts of the others."""


def test_all_are_known() -> None:
    assert {*SMALL, *HEAVY} == set(registry.names("extractors"))


@pytest.mark.parametrize("name", SMALL)
def test_extractors(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    module = registry.load("extractors", name)
    fields = module.Config.model_fields
    options = {key: value for key, value in SMALL[name].items() if key in fields}
    weights = {key: "random" for key in fields if key == "weights" or key == "detector_weights"}
    config = module.Config(**weights, **options)
    random = np.random.default_rng(0)
    given: Any = [random.integers(0, 255, (96, 128, 3), np.uint8) for _ in range(2)]
    if module.MEDIUM == "audio":
        given = random.normal(0, 0.1, 32_000).astype(np.float32)
    network = module.build(config, None, 0, "cpu")
    expected = network(given)
    with pretend(monkeypatch) as device:
        for place in [key for key in vars(network) if key.lstrip("_") in ("network", "detector")]:
            vars(network)[place] = vars(network)[place].to(device)
        for place in [key for key in vars(network) if key.lstrip("_") == "device"]:
            vars(network)[place] = device
        found = network(given)
    for one, other in zip(*((pair if isinstance(pair, tuple) else (pair,)) for pair in (expected, found)), strict=True):
        # on a GPU torchvision resizes in floats, on a CPU in whole numbers: a value may differ by one of 255
        assert isinstance(other, np.ndarray) and np.linalg.norm(one - other) <= TOLERANCE * np.linalg.norm(one)
