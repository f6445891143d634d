"""Reading a study's configuration. Every fault is reported at once: file, line, what is allowed, the nearest name."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from utopia.config import layers
from utopia.config.faults import Fault, of_pydantic
from utopia.config.layers import COMMAND_LINE, Layer
from utopia.config.study import StudyBase, study_model
from utopia.config.suggest import nearest
from utopia.errors import ConfigError

REPOSITORY = Path(__file__).resolve().parents[4]
RESOURCES = REPOSITORY / "workflow" / "resources"
CONFIG = REPOSITORY / "config.yaml"


def load(
    overrides: Mapping[str, Any] | None = None,
    files: Sequence[str | Path] = (),
    config: Path = CONFIG,
    studies: Path = RESOURCES / "studies",
) -> StudyBase:
    """Read `config`, the overlay of the study it (or an override) names, then `files`, then `overrides`.

    A relative `data` is taken from the folder of `config`, wherever the command runs.

    Raises:
        ConfigError: listing every fault.
    """
    study = validate(_stack(overrides or {}, files, config, studies), base=config.parent)
    return study if study.data is None else study.model_copy(update={"data": _absolute(study.data, config.parent)})


def _stack(overrides: Mapping[str, Any], files: Sequence[str | Path], config: Path, studies: Path) -> list[Layer]:
    base = layers.read(config)
    above = [layers.read(Path(file)) for file in files]
    if overrides:
        above.append(Layer(COMMAND_LINE, dict(overrides)))
    name = layers.merge([base, *above]).get("study", StudyBase.model_fields["study"].default)
    overlays = {path.stem: path for path in sorted(studies.glob("*.yaml"))}
    if not isinstance(name, str) or name not in overlays:
        raise ConfigError(
            f"there is no study {name!r}{nearest(str(name), overlays)}",
            where=layers.locate([base, *above], ["study"]),
            remedy=f"use one of: {', '.join(overlays)}; or add {studies.name}/{name}.yaml",
        )
    overlay = layers.read(overlays[name])
    if overlay.data.get("study", name) != name:
        raise ConfigError(
            f"the overlay of the study {name!r} names another study, {overlay.data['study']!r}",
            where=layers.locate([overlay], ["study"]),
            why="its results would lie in the folder of the other study",
            remedy="remove the key: an overlay is chosen by the name of its file",
        )
    return [base, overlay, *above]


def validate(stack: Sequence[Layer], base: Path = REPOSITORY) -> StudyBase:
    """Merge and validate layers; a relative `data` is taken from the folder `base`.

    Raises:
        ConfigError: listing every fault.
    """
    merged = layers.merge(stack)
    study, faults = None, [*_unknown_features(merged), *_data_folder(merged, base)]
    try:
        study = study_model().model_validate(merged)
    except ValidationError as error:
        faults = [*of_pydantic(study_model(), error), *faults]
    if study is None or faults:
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise ConfigError(
            f"the configuration has {count}:\n" + "\n".join(fault.located(stack) for fault in faults),
            remedy="correct the lines named above; docs/configuration.md lists every setting",
        )
    return study


def _unknown_features(merged: Mapping[str, Any]) -> list[Fault]:
    """Data sets that are to be fed with features which nothing defines."""
    known, datasets = merged.get("features"), merged.get("datasets")
    if not isinstance(known, Mapping) or not isinstance(datasets, Mapping):
        return []
    return [
        Fault(
            ("datasets", name, "features", i, j),
            f"found {feature!r}: no such entry in `features`",
            f"allowed here: {', '.join(sorted(map(str, known)))}",
            nearest(feature, map(str, known)),
        )
        for name, settings in datasets.items()
        for i, choice in _enumerated(settings.get("features") if isinstance(settings, Mapping) else None)
        for j, feature in _enumerated(choice)
        if isinstance(feature, str) and feature not in known
    ]


def _enumerated(value: Any) -> list[tuple[int, Any]]:
    return list(enumerate(value)) if isinstance(value, list) else []


def _data_folder(merged: Mapping[str, Any], base: Path) -> list[Fault]:
    data = merged.get("data")
    if not isinstance(data, str | Path):
        return []
    folder = _absolute(Path(data), base)
    remedy = "name the folder that holds one folder per data set, or leave `data` out"
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "there is no such folder"
        return [Fault(("data",), f"found {str(data)!r}: {what}", remedy)]
    if not os.access(folder, os.R_OK | os.X_OK):
        return [Fault(("data",), f"found {str(data)!r}: the folder cannot be read (see `ls -ld`)", remedy)]
    return []


def _absolute(path: Path, base: Path) -> Path:
    return Path(os.path.normpath(base / path.expanduser()))
