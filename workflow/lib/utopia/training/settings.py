"""What determines the training of a run, as it comes from the workflow."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AliasChoices, Field, ValidationError

from utopia.config import registry
from utopia.config.base import Strict
from utopia.config.engine import OLD_STRATEGIES, TREATMENT, Engine
from utopia.errors import ConfigError


class RunSettings(Strict):
    """A run: a data set, features, a model and a treatment, with all settings that its numbers depend on."""

    id: str
    """The run's name, for messages and records; no number depends on it."""
    dataset: str
    model: str
    """A file of `models/`."""
    settings: dict[str, Any] = Field(default_factory=dict, alias="model_config")
    """The model's `Config`."""
    treatment: str = ""
    """Name of the treatment; no number depends on it."""
    loss: str = "mse"
    """A file of `losses/`."""
    loss_config: dict[str, Any] = Field(default_factory=dict)
    sampler: str | None = None
    """A file of `samplers/`, or null."""
    sampler_config: dict[str, Any] = Field(default_factory=dict)
    members: int = Field(1, ge=1)
    """Networks of an ensemble, whose predictions are averaged."""
    fit_on_all: int = Field(0, ge=0, validation_alias=AliasChoices("fit_on_all", "whole"))
    """How many of them, the last ones, are trained on the validation videos too; `whole` in older records."""
    best: int | None = Field(None, ge=2)
    """How many of them are averaged: these, and the best of the others on validation; null: all."""
    label_filter: Literal["none", "butterworth", "median", "gaussian"] = "none"
    """What the training labels of a clip go through (data sets of reactions only)."""
    features: list[str] = Field(..., min_length=1)
    """Feature names; rows are concatenated in this order."""
    normalise: dict[str, Literal["none", "l2", "standardise"]] = Field(default_factory=dict)
    """By feature; a feature that is not named is taken as it is."""
    seed: int = Field(..., ge=0)
    """The study's root seed."""
    repeats: int = Field(..., ge=1)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    targets: list[str] = Field(..., min_length=1)
    low: float
    """Lower end of the label range; decides the output function, with `high`."""
    high: float
    engine: Engine = Field(default_factory=Engine)
    """How to train."""
    code: str = ""
    """Fingerprint of the code; a checkpoint made by other code is not reused."""

    def determinants(self) -> dict[str, Any]:
        """All that a replica's numbers depend on, besides its own identity, the input files and `numerics_key`."""
        return self.model_dump(
            by_alias=True, exclude={"id", "treatment", "repeats", "members", "fit_on_all", "best", "targets", "engine"}
        )

    def shared(self) -> dict[str, Any]:
        """What runs of one job have in common: data, model, engine."""
        return self.model_dump(by_alias=True, exclude={*TREATMENT, "code"})

    def strategy(self, device: str) -> Literal["sequential", "vectorized"]:
        """How replicas are trained on this kind of device; a model that is not stackable always by itself."""
        if not getattr(registry.load("models", self.model), "STACKABLE", False):
            return "sequential"
        if self.engine.strategy == "auto":
            return "vectorized" if device == "cuda" else "sequential"
        return self.engine.strategy

    def numerics_key(self, device: str) -> list[str | bool]:
        """What of the engine a replica's numbers depend on, if only by rounding."""
        gpu = [self.engine.precision, self.engine.compile] if device == "cuda" else []
        # the old names, so that a digest of checkpoints that were made before is still theirs
        old_name = {new: old for old, new in OLD_STRATEGIES.items()}[self.strategy(device)]
        return [old_name, *gpu]


def parse_run(run: dict[str, Any]) -> RunSettings:
    """Read a run.

    Raises:
        ConfigError: naming every key that is unknown, missing or of the wrong type.
    """
    try:
        return RunSettings.model_validate(run)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise ConfigError(
            f"not a valid run: {faults}",
            where=f"run {run.get('id', '?')}",
            remedy="correct the keys; utopia.training.settings.RunSettings lists them",
        ) from error
