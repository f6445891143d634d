"""One feature to be made: the extractor, its settings and weights, and how its network is run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from utopia import seeds
from utopia.config import registry
from utopia.config.extraction import Compute
from utopia.errors import ConfigError
from utopia.features import cards, weights
from utopia.files import digest, sha256
from utopia.media.container import decoder
from utopia.media.decoding import Decoder

_built: dict[tuple[Callable[..., Any], str], Any] = {}
"""Networks of this process, by what builds them and the digest of all that determines them: a worker that makes shard
after shard loads each once."""


class Maker:
    """One feature to be made: its extractor's settings and weights; the network is built when first needed."""

    def __init__(
        self, name: str, settings: Mapping[str, Any], weights_folder: Path | None, seed: int, device: str
    ) -> None:
        self.name, self.extractor = name, str(settings["extractor"])
        # Without importing the extractor, and with it torch: a shard that is finished needs neither.
        self.config: Any = registry.config_of("extractors", self.extractor).model_validate(
            dict(settings.get("options", {}))
        )
        self.medium = registry.constant("extractors", self.extractor, "MEDIUM")
        self.compute = Compute.model_validate(dict(settings.get("compute", {})))
        number = registry.constant("extractors", self.extractor, "VERSION")
        self.code = settings.get("code", f"{self.extractor} {number}")
        self.absent, self.device = "", device
        self.error: float | None = None
        self.seed = seeds.derive(seed, "extractor", self.extractor)
        self.decoder = self._decoder()
        self._pins: Mapping[str, str] = settings.get("sha256", {})
        self._paths: dict[str, Path | None] = {}
        tuned = settings.get("tuned")
        described = {
            name: self._tuned(Path(tuned)) if tuned and name == "weights" else self._find(name, card, weights_folder)
            for name, card in cards.chosen(self.config).items()
        }
        self.weights = described.pop("weights") | ({"others": described} if described else {})

    def _find(self, setting: str, card: str, folder: Path | None) -> dict[str, Any]:
        """What is to be said of the weights that a setting names; notes their path, or that they are absent."""
        self._paths[setting] = None
        if card == cards.RANDOM:
            return {"kind": "random", "seed": self.seed}
        found = weights.find(card, folder)
        if found.path is None:
            self.absent = self.absent or found.reason
            return {"kind": "card", "card": found.name, "absent": found.reason}
        self._paths[setting] = found.path
        digest = weights.identify(found, self._pins.get(card))
        return {"kind": "card", "card": found.name, "file": found.path.name, "sha256": digest}

    def _tuned(self, path: Path) -> dict[str, Any]:
        """What is to be said of weights that the study itself has fine-tuned."""
        self._paths["weights"] = path
        return {"kind": "fine-tuned", "file": path.name, "sha256": sha256(path)}

    def _decoder(self) -> Decoder:
        if self.compute.decoder == "av":
            return Decoder()
        if self.medium == "audio":
            raise ConfigError(
                f"{self.extractor} hears sound, which {self.compute.decoder} does not decode here",
                where=f"features.{self.name}.compute.decoder",
                remedy="leave it `av`",
            )
        from utopia.extractors._common import device_of

        return Decoder(self.compute.decoder, device_of(self.device).type)

    @cached_property
    def decoded_by(self) -> dict[str, str]:
        """Name and versions of the decoder."""
        return decoder() if self.decoder.name == "av" else self.decoder.facts()

    @cached_property
    def network(self) -> Any:
        from utopia.extractors import _precision

        _precision.one_thread()
        module: ModuleType = registry.load("extractors", self.extractor)
        determined_by = digest(
            {
                "extractor": self.extractor,
                "options": self.config.model_dump(mode="json"),
                "weights": self.weights,
                "seed": self.seed,
                "device": self.device,
                "channels_last": self.compute.channels_last,
            }
        )
        if (key := (module.build, determined_by)) not in _built:
            _built[key] = self._build(module)
        return _built[key]

    def _build(self, module: ModuleType) -> Any:
        others = {name: path for name, path in self._paths.items() if name != "weights"}
        network = module.build(self.config, self._paths["weights"], self.seed, self.device, **others)
        if self.compute.channels_last is not None:
            if not hasattr(network, "lay_out"):
                raise ConfigError(
                    f"{self.extractor} has one order of channels only",
                    where=f"features.{self.name}.compute.channels_last",
                    remedy="leave it null",
                )
            network.lay_out(self.compute.channels_last)
        return network

    def call(self, function: Callable[..., Any], *values: Any) -> Any:
        """Call the network in the precision asked for."""
        from utopia.extractors._precision import precision

        with precision(self.compute.precision, self.device):
            return function(*values)

    def rows(self, frames: Sequence[np.ndarray]) -> np.ndarray:
        """Features of frames; the error of the job's first batch is kept."""
        found: np.ndarray = self.call(self.network, frames)
        self._judge(lambda: self.network(frames), lambda: found)
        return found

    def judge_sound(self, piece: np.ndarray) -> None:
        """Keep the error of the precision on the job's first piece of sound."""
        self._judge(lambda: self.network(piece)[0], lambda: self.call(self.network, piece)[0])

    def _judge(self, exact: Callable[[], np.ndarray], ours: Callable[[], np.ndarray]) -> None:
        if self.compute.precision == "float32" or self.error is not None:
            return
        from utopia.extractors._precision import precision

        with precision("float32", self.device):
            expected = exact().astype(np.float64)
        if scale := float(np.linalg.norm(expected)):
            self.error = float(np.linalg.norm(ours() - expected)) / scale

    def rate(self) -> tuple[Any, ...]:
        """What must agree for two features to be made from one decoding."""
        if self.medium == "frames":
            return self.medium, self.config.fps, getattr(self.config, "every", None), self.decoder
        return self.medium, self.network.rate, self.network.channels, self.decoder

    def identity(self, item: str, source_sha256: str) -> dict[str, Any]:
        """All that determines the features of an item; becomes the object's name and its metadata."""
        return {
            "item": item,
            "source_sha256": source_sha256,
            "extractor": self.extractor,
            "options": self.config.model_dump(mode="json"),
            "compute": self.compute.model_dump(mode="json"),
            "weights": self.weights,
            "decoder": self.decoded_by,
            "code": self.code,
        }
