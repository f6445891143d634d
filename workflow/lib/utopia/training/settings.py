"""What determines the training of a run, as it comes from the workflow."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, ValidationError

from utopia.config.base import Strict
from utopia.errors import ConfigError


class Run(Strict):
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
    code: str = ""
    """Fingerprint of the code; a checkpoint made by other code is not reused."""

    def determinants(self) -> dict[str, Any]:
        """All that a replica's numbers depend on, besides its own identity and the input files."""
        return self.model_dump(by_alias=True, exclude={"id", "treatment", "repeats", "targets"})


def parse_run(run: dict[str, Any]) -> Run:
    """Read a run.

    Raises:
        ConfigError: naming every key that is unknown, missing or of the wrong type.
    """
    try:
        return Run.model_validate(run)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise ConfigError(
            f"not a valid run: {faults}",
            where=f"run {run.get('id', '?')}",
            remedy="correct the keys; utopia.training.settings.Run lists them",
        ) from error
