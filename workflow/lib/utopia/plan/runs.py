"""A run: data set, features, model, treatment and what differs from the configuration; its id and its settings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from pydantic import ValidationError

from utopia.config import registry
from utopia.config.base import UnknownSettingError, changed
from utopia.config.faults import of_change
from utopia.config.labelling import Labelling
from utopia.config.study import Distribution, StudyBase
from utopia.config.suggest import nearest
from utopia.datasets._common import label_limits
from utopia.errors import ConfigError
from utopia.files import digest
from utopia.plan.catalog import RunChoice, Scalar

RIDGE = "ridge"
"""The reference that reads features."""
RANDOM = "random"
"""The reference that draws scores."""
LABEL_STUDY = "label_study"
"""The reference that tests estimates of the utopia distribution on labels alone."""
_SECTIONS = ("distribution", "labels", "model", "loss", "sampler")
_OF_TREATMENT = ("distribution", "loss", "sampler")
"""Of these, what runs of one batch may differ in."""


@dataclass(frozen=True)
class Run:
    """One training (of all its replicas), or one reference that needs none."""

    id: str
    dataset: str
    reference: str | None
    features: tuple[str, ...]
    settings: Mapping[str, Any]
    """JSON-able: everything that the job depends on, and nothing else of the configuration."""
    distribution: Mapping[str, Any]
    """Settings of the distribution file that it trains on; empty where the data set has none."""
    window: int
    """Window T of the TNS plan in that file."""
    protocol: str
    """How it is judged: `affect`, `summary` or `reactions`."""
    labelling: Labelling = field(default_factory=Labelling)
    """Whose votes label and judge."""
    variant: str = ""
    """What differs from the configuration and is not its treatment's: model, labels, targets. Empty: nothing."""

    @property
    def distribution_key(self) -> str:
        """Names the distribution file."""
        key, labels = distribution_key(self.distribution, self.window), self.labels_key
        return f"{key}@{labels}" if labels else key

    @property
    def labels_key(self) -> str:
        """Names the labels file; empty: the data set's own."""
        return labels_key(self.labelling)


def batches(runs: Iterable[Run], most: int) -> dict[str, list[Run]]:
    """Which runs share a training job: those of one model on the same labels, that differ in treatment only.

    A batch has at most `most` runs, in their order. Its name says what is in it, not its place in the catalogue,
    so that another row of a table renames no job: `<dataset>_<model>`, then a digest of the variant where there is one,
    and a number from the second piece on.
    """
    groups: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        if run.reference is None:
            variant = f"_{digest(run.variant, 8)}" if run.variant else ""
            groups[f"{run.dataset}_{run.settings['model']}{variant}"].append(run)
    return {
        f"{name}_{number}" if number > 1 else name: piece
        for name, group in groups.items()
        for number, piece in enumerate(_pieces(group, most), start=1)
    }


def _pieces(group: list[Run], most: int) -> list[list[Run]]:
    """Pieces of at most `most`, of sizes that differ by one at most."""
    count = -(-len(group) // most)
    edges = [len(group) * piece // count for piece in range(count + 1)]
    return [group[start:stop] for start, stop in pairwise(edges)]


def labels_key(labelling: Labelling) -> str:
    """A readable name of those who label and judge; empty where the data set's own options say it."""
    given = labelling.model_dump(exclude_defaults=True)
    return ",".join(f"{name}={value}" for name, value in sorted(given.items()))


def distribution_key(settings: Mapping[str, Any], window: int) -> str:
    """A readable name for distribution settings; switches appear only where they differ from their defaults."""
    switches = "".join(
        f"_{name}={settings[name]}"
        for name, field in sorted(Distribution.model_fields.items())
        if not field.is_required() and settings[name] != field.default
    )
    span = (
        ""
        if (settings["low"], settings["high"]) in ((0, 1), (-1, 1))
        else f"_{settings['low']:g}..{settings['high']:g}"
    )
    return f"b{settings['bins']}_d{settings['delta']:g}_s{settings['sigma']:g}_T{window}{span}{switches}"


def resolve(
    study: StudyBase,
    dataset: str,
    features: tuple[str, ...],
    choice: RunChoice,
    extra: Mapping[str, Scalar],
    where: str,
) -> Run:
    """The run that a cell names on a data set.

    Raises:
        ConfigError: the cell names a model, treatment or setting that does not exist; `where` names the cell.
    """
    overrides = {**extra, **choice.set}
    module = registry.load("datasets", dataset)
    dataset_settings = study.dataset(dataset)
    distribution = dataset_settings.distribution
    low, high = label_limits(dataset, _settings(distribution))
    for name in choice.targets or ():
        if name not in module.TARGETS:
            raise ConfigError(f"{dataset} has no target {name!r}{nearest(name, module.TARGETS)}", where=where)
    targets = [name for name in module.TARGETS if choice.targets is None or name in choice.targets]
    common = {
        "dataset": dataset,
        "targets": targets,
        "low": low,
        "high": high,
        "seed": study.seed,
        "repeats": study.repeats,
    }
    window = int(study.samplers.tns.window)  # type: ignore[attr-defined]
    if choice.reference:
        labelling, suffix = _labelling(overrides, where)
        run_id = f"{dataset}.reference.{choice.reference}{suffix}"
        read = features if choice.reference == RIDGE else ()
        settings = {"id": run_id, "reference": choice.reference, **common} | ({"features": list(read)} if read else {})
        draws = {LABEL_STUDY: "label_draws", RANDOM: "random_draws"}.get(choice.reference)
        settings |= {draws: getattr(study.evaluation, draws)} if draws else {}
        spread = _settings(distribution)
        return Run(run_id, dataset, choice.reference, read, settings, spread, window, module.PROTOCOL, labelling)

    if choice.treatment not in study.treatments:
        raise ConfigError(
            f"there is no treatment {choice.treatment!r}{nearest(str(choice.treatment), study.treatments)}", where=where
        )
    registry.path_of("models", str(choice.model))
    treatment = study.treatments[str(choice.treatment)]
    parts: dict[str, Any] = {
        "distribution": distribution,
        "labels": Labelling(),
        "model": getattr(study.models, str(choice.model)),  # type: ignore[attr-defined]
        "loss": getattr(study.losses, treatment.loss),  # type: ignore[attr-defined]
        "sampler": getattr(study.samplers, treatment.sampler) if treatment.sampler else None,  # type: ignore[attr-defined]
    }
    for name in dataset_settings.models:
        registry.path_of("models", name)
    # What a data set changes is part of the configuration, so it does not show in the id.
    here = {f"model.{name}": value for name, value in dataset_settings.models.get(str(choice.model), {}).items()}
    _apply(parts, here, f"datasets.{dataset}.models.{choice.model}")
    different = _apply(parts, overrides, where)
    if len(targets) < len(module.TARGETS):
        different.append(("targets", f"targets={'+'.join(targets)}"))
    variant = ",".join(f"{section}.{text}" for section, text in different if section not in _OF_TREATMENT)
    sampler = parts["sampler"]
    window = getattr(sampler, "window", window)
    suffix = _suffix(different)
    run_id = f"{dataset}.{choice.model}.{choice.treatment}{suffix}"
    all_features = dict(study.features.items())  # type: ignore[attr-defined]
    settings = {
        "id": run_id,
        **common,
        "model": choice.model,
        "model_config": parts["model"].model_dump(mode="json"),
        "treatment": choice.treatment,
        "loss": treatment.loss,
        "loss_config": parts["loss"].model_dump(mode="json"),
        "sampler": treatment.sampler,
        "sampler_config": sampler.model_dump(mode="json") if sampler else {},
        "members": treatment.members,
        "fit_on_all": treatment.fit_on_all,
        "best": treatment.best,
        "label_filter": treatment.label_filter,
        "features": list(features),
        "normalise": {name: all_features[name].normalise for name in features},
        "device": study.device,
        "engine": study.engine.model_dump(mode="json", exclude={"runs", "workers"}),
    }
    return Run(
        run_id,
        dataset,
        None,
        features,
        settings,
        _settings(parts["distribution"]),
        window,
        module.PROTOCOL,
        parts["labels"],
        variant,
    )


def _labelling(overrides: Mapping[str, Scalar], where: str) -> tuple[Labelling, str]:
    """Who labels and judges in a row that trains nothing, which no other setting concerns; and the end of its id."""
    parts = {"labels": Labelling()}
    different = _apply(parts, {name: value for name, value in overrides.items() if name.startswith("labels.")}, where)
    return parts["labels"], _suffix(different)


def _suffix(different: list[tuple[str, str]]) -> str:
    """The end of a run's id: what differs from the configuration."""
    return "@" + ",".join(text for _, text in different) if different else ""


def _settings(distribution: Distribution | None) -> dict[str, Any]:
    return distribution.model_dump(mode="json") if distribution is not None else {}


def _apply(parts: dict[str, Any], overrides: Mapping[str, Scalar], where: str) -> list[tuple[str, str]]:
    """Apply dotted overrides to the settings; returns section and `name=value` of those that make a difference."""
    different = []
    for dotted, value in sorted(overrides.items()):
        section, _, rest = dotted.partition(".")
        if section not in _SECTIONS or not rest or parts[section] is None:
            raise ConfigError(
                f"cannot set {dotted!r}",
                where=where,
                remedy=f"start with one of {', '.join(f'{name}.' for name in _SECTIONS)} that this row's treatment has",
            )
        old = parts[section]
        new = _replace(old, rest.split("."), value, where)
        if new != old:
            text = f"{value:g}" if isinstance(value, int | float) else str(value)
            different.append((section, f"{rest}={text}"))
        parts[section] = new
    return different


def _replace(model: Any, path: list[str], value: Scalar, where: str) -> Any:
    try:
        return changed(model, path, value)
    except (ValidationError, UnknownSettingError) as error:
        fault = of_change(error, model, value, tuple(path))
        raise ConfigError(f"{'.'.join(path)}: {fault.what}{fault.hint}", where=where) from error
