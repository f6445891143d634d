"""Reading a study's configuration. Every fault is reported at once: file, line, what is allowed, the nearest name."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from utopia.config import layers, places
from utopia.config.base import UnknownSettingError, changed
from utopia.config.faults import Fault, of_change, of_pydantic, shown
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

    Relative `data` and `results` are taken from the folder of `config`, wherever the command runs.

    Raises:
        ConfigError: listing every fault.
    """
    study = validate(_stack(overrides or {}, files, config, studies), base=config.parent)
    data = None if study.data is None else places.absolute(study.data, config.parent)
    return study.model_copy(update={"data": data, "results": places.results(study.results, config.parent)})


def _stack(overrides: Mapping[str, Any], files: Sequence[str | Path], config: Path, studies: Path) -> list[Layer]:
    base = layers.read(config)
    above = [layers.read(Path(file)) for file in files]
    if overrides:
        above.append(Layer(COMMAND_LINE, dict(overrides)))
    name = layers.merge([base, *above]).get("study", StudyBase.model_fields["study"].default)
    overlay = layers.read(places.overlay_of(name, studies, layers.locate([base, *above], ["study"])))
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
    study, faults = None, [*_unknown_features(merged), *_data_folder(merged, base), *_results_folder(merged, base)]
    faults += [fault for kind in ("tables", "figures") for fault in _unknown_entries(kind, merged.get(kind))]
    try:
        study = study_model().model_validate(merged)
        faults += _models_of_data_sets(study)
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
            ("datasets", name, part, i, j),
            f"found {feature!r}: no such entry in `features`",
            f"allowed here: {', '.join(sorted(map(str, known)))}",
            nearest(feature, map(str, known)),
        )
        for name, settings in datasets.items()
        for part in ("features", "published_features")
        for i, choice in _enumerated(settings.get(part) if isinstance(settings, Mapping) else None)
        for j, feature in _enumerated(choice)
        if isinstance(feature, str) and feature not in known
    ]


def _unknown_entries(kind: str, wanted: Any) -> list[Fault]:
    """Tables or figures that are asked for and that the catalogue does not have: it has a file of each."""
    known = [path.stem for path in (RESOURCES / kind).glob("*.yaml")]
    return [
        Fault((kind, i), f"found {name!r}: there is no file {kind}/{name}.yaml", "", nearest(name, known))
        for i, name in _enumerated(wanted)
        if isinstance(name, str) and name not in known
    ]


def _enumerated(value: Any) -> list[tuple[int, Any]]:
    return list(enumerate(value)) if isinstance(value, list) else []


def _models_of_data_sets(study: StudyBase) -> list[Fault]:
    """Settings that a data set gives a model and that the model refuses, alone or with its others."""
    faults = []
    for name in type(study.datasets).model_fields:  # type: ignore[attr-defined]
        for model, changes in study.dataset(name).models.items():
            known = type(study.models).model_fields  # type: ignore[attr-defined]
            path = ("datasets", name, "models", model)
            if model not in known:
                faults.append(
                    Fault(path, "there is no such model", f"allowed here: {', '.join(known)}", nearest(model, known))
                )
                continue
            settings = getattr(study.models, model)  # type: ignore[attr-defined]
            for dotted, value in changes.items():
                try:
                    settings = changed(settings, dotted.split("."), value)
                except (ValidationError, UnknownSettingError) as error:
                    faults.append(of_change(error, settings, value, (*path, dotted)))
    return faults


def _data_folder(merged: Mapping[str, Any], base: Path) -> list[Fault]:
    data = merged.get("data")
    if not isinstance(data, str | Path):
        return []
    found, remedy = (
        f"found {shown(str(data))}",
        "name the folder that holds one folder per data set, or leave `data` out",
    )
    if fault := places.fault_of_text(str(data)):
        return [Fault(("data",), f"{found}: {fault}", remedy)]
    folder = places.absolute(data, base)
    try:
        if not folder.is_dir():
            what = "is not a folder" if folder.exists() else "there is no such folder"
            return [Fault(("data",), f"{found}: {what}", remedy)]
    except OSError as error:
        return [Fault(("data",), f"{found}: {error.strerror}", remedy)]
    if not os.access(folder, os.R_OK | os.X_OK):
        return [Fault(("data",), f"{found}: the folder cannot be read (see `ls -ld`)", remedy)]
    return []


def _results_folder(merged: Mapping[str, Any], base: Path) -> list[Fault]:
    folder = merged.get("results")
    if not isinstance(folder, str | Path):
        return []
    fault = places.fault_of_results(folder, base)
    return [Fault(("results",), f"found {shown(str(folder))}: {fault}")] if fault else []
