"""Which cards of weights an extractor's settings name: `weights`, and `<part>_weights` of each further network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from utopia.config.study import PRECOMPUTED

if TYPE_CHECKING:
    from utopia.config.study import StudyBase

RANDOM = "random"


def chosen(options: BaseModel) -> dict[str, str]:
    """The card, or "random", by setting; the extractor's own `weights` come first, and a setting that is null is left
    out.
    """
    names = [name for name in type(options).model_fields if name == "weights" or name.endswith("_weights")]
    every = {name: getattr(options, name) for name in sorted(names, key=lambda name: name != "weights")}
    return {name: card for name, card in every.items() if card is not None}


def needed(options: BaseModel) -> list[str]:
    """The cards whose files must be there."""
    return [card for card in chosen(options).values() if card != RANDOM]


def read(feature: Any) -> list[str]:
    """The cards whose files extraction reads: of a feature that is fine-tuned first, not those that it starts from."""
    tuned = feature.fine_tune is not None
    named = chosen(feature.options).items()
    return [card for name, card in named if card != RANDOM and not (tuned and name == "weights")]


def extracted(study: StudyBase) -> dict[str, Any]:
    """The features to extract that some data set of the study names, by name; no others need their weights."""
    datasets = dict(study.datasets)  # type: ignore[attr-defined]
    used = {name for settings in datasets.values() for choice in settings.features for name in choice}
    every: dict[str, Any] = study.features  # type: ignore[attr-defined]
    return {name: own for name, own in every.items() if name in used and own.extractor not in PRECOMPUTED}
