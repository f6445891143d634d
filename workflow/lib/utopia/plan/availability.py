"""What data the user has: decided before the run from names and sizes alone; hashing and decoding belong to jobs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from utopia.config import registry
from utopia.config.extraction import FineTune
from utopia.config.load import RESOURCES
from utopia.config.study import PRECOMPUTED, Generated, StudyBase
from utopia.config.suggest import nearest
from utopia.datasets import _common
from utopia.errors import ConfigError
from utopia.fetch import recipe
from utopia.plan import looked
from utopia.plan.catalog import Figure, Table
from utopia.plan.looked import FoldPlan
from utopia.plan.runs import LABEL_STUDY, RIDGE, Run
from utopia.plan.shards import shards_of

EMBEDDED = RESOURCES / "embedded"
"""Data sets that come with the project, a folder each; one of the user's own takes its place."""


NOT_ASKED = "not asked for: `only_datasets` (--datasets) leaves this data set out"
"""The reason of a data set that is there, or not, and that nobody looks at."""
_FEWEST = 2
"""Items with labels that a data set needs: one to train on and one to test on."""


@dataclass(frozen=True)
class DatasetPlan:
    """A data set of the study: what is there, and the files that will be made from it."""

    name: str
    folder: Path
    generated: bool
    inputs: tuple[Path, ...]
    """Files (or the generated folder) whose change regenerates the manifest; of its media, see `media`."""
    reason: str
    """Why there is nothing to work on; empty if there is."""
    item_ids: tuple[str, ...]
    """Every expected item."""
    with_video: tuple[str, ...]
    """Items that have a video (of a data set of sound: a song)."""
    features: tuple[str, ...]
    """The chosen set of features; empty if none is available."""
    feature_reason: str
    """Why no set of features is available; empty if one is."""
    notes: tuple[str, ...] = ()
    """Why results on these features cannot be compared with published values."""
    shots: str = ""
    """The file whose shots the F-score goes by; empty where there is none."""
    protocol_notes: tuple[str, ...] = ()
    """Why no result on this data can, whether it needs features or not."""
    shards: tuple[tuple[str, ...], ...] = ()
    """Items per extraction job."""
    seconds: tuple[float, ...] = ()
    """How long the items of `with_video` are, where lists or tables tell it of all of them before the run."""
    precomputed: dict[str, Path] = field(default_factory=dict)
    """The file behind each precomputed feature; of a generated data set the folder that holds it."""
    missing: dict[str, str] = field(default_factory=dict)
    """What else is not there, by role, with the reason."""
    folds: tuple[FoldPlan, ...] = ()
    """Its folds; none where that is not known before the run (generated data, where all are there)."""

    listing: looked.Listing | None = field(default=None, compare=False)
    """What lies below the folder; None where no file of its medium does."""

    @property
    def available(self) -> bool:
        """Whether there are labels to work on."""
        return not self.reason

    @cached_property
    def media(self) -> tuple[Path | None, dict[str, Any]]:
        """The videos (songs) below the folder as one file and one digest: `looked.state`; empty where there are none.

        It asks the file system for each of them, so only the job that lists them asks for it.
        """
        return looked.state(self.listing) if self.listing else (None, {})

    @property
    def items(self) -> int:
        """How many items are expected."""
        return len(self.item_ids)


def survey(study: StudyBase, name: str) -> DatasetPlan:
    """Look what is there of a data set. Reasons name the data folder `<data>`: they are published, its place is not."""
    dataset_plan = _survey(study, name)
    if study.data is None:
        return dataset_plan
    data = str(study.data)
    return replace(
        dataset_plan,
        reason=_remedied(dataset_plan.reason, name, "annotations").replace(data, "<data>"),
        feature_reason=(
            _remedied(dataset_plan.feature_reason, name)
            if study.dataset(name).features
            else dataset_plan.feature_reason
        ).replace(data, "<data>"),
        missing={
            role: _remedied(why, name, role).replace(data, "<data>") for role, why in dataset_plan.missing.items()
        },
    )


def _remedied(reason: str, name: str, role: str = "") -> str:
    """The reason of an absence with the command that gets what is missing, where there is one."""
    command = recipe.command(name, role) if reason and reason != NOT_ASKED else ""
    return reason if not command or command in reason else f"{reason} (to get it: {command})"


def selected(kind: str, known: dict[str, Any], wanted: Any, study: str) -> dict[str, Any]:
    """The entries of the catalogue that a study makes.

    Raises:
        ConfigError: it names one that there is not.
    """
    if wanted == "all":
        return {name: entry for name, entry in known.items() if not entry.studies or study in entry.studies}
    for name in wanted:
        if name not in known:
            raise ConfigError(
                f"there is no entry {name!r} in the {kind}{nearest(name, known)}",
                where=kind,
                remedy=f"use: {', '.join(known)}",
            )
    return {name: known[name] for name in known if name in wanted}


def leave_out(tables: dict[str, Table], figures: dict[str, Figure], kept: Iterable[str]) -> list[str]:
    """Take out of both the entries none of whose data sets is kept, and expectations if one of theirs is not: a row
    without a value would count as an effect that was not found. Returns their names.
    """
    shown = {"", *kept}
    away = [
        name
        for name, table in tables.items()
        if not (table.datasets <= shown if table.is_of_expectations else table.datasets & shown)
    ]
    away += [name for name, figure in figures.items() if figure.datasets and shown.isdisjoint(figure.datasets)]
    for name in away:
        tables.pop(name, None)
        figures.pop(name, None)
    return away


def obstacle(run: Run, dataset_plan: DatasetPlan, options: Any) -> str:
    """Why a run cannot be made on the data that are there; empty if nothing prevents it that names can tell.

    Args:
        run: the run.
        there: its data set.
        options: the data set's own settings.
    """
    if run.reference == LABEL_STUDY:
        return _without_votes("a study of labels", run, options)
    if run.protocol == "summary" and "shots" in dataset_plan.missing:
        return dataset_plan.missing["shots"]
    if run.reference == RIDGE and run.protocol == "reactions":
        return "a label of reactions is no single number, and the linear map predicts one"
    if run.reference not in (None, RIDGE):
        return _voteless(run, options) if run.labels_key else ""
    return dataset_plan.feature_reason or _voteless(run, options) or _untrainable(run, dataset_plan)


def _voteless(run: Run, options: Any) -> str:
    """Why a run has no votes to choose annotators or estimate its utopia distribution from; empty if it needs none."""
    if run.labels_key and (reason := _without_votes("a choice of annotators", run, options)):
        return reason
    estimator = run.distribution.get("estimator", "convolution")
    if estimator == "convolution":
        return ""
    if reason := _without_votes(f"the estimator {estimator!r}", run, options):
        return reason
    held_out = options.label_annotators or run.labelling.annotators or run.labelling.judges
    if estimator == "oracle" and not held_out and not registry.fact("datasets", run.dataset, "UTOPIA_IS_KNOWN", False):
        return (
            "the estimator 'oracle' needs annotators who are not behind the label: set `label_annotators`, or "
            "`labels.judges` of the row"
        )
    return ""


def _without_votes(what: str, run: Run, options: Any) -> str:
    """That a data set publishes mean votes only; empty if it has those of single annotators."""
    if hasattr(options, "label_annotators"):
        return ""
    return f"{what} needs the votes of single annotators, and {run.dataset} has none"


def _untrainable(run: Run, dataset_plan: DatasetPlan) -> str:
    """Why no fold of a run can be trained; empty if one can, as far as the names of files tell."""
    holds_out = run.reference == RIDGE or run.settings["model_config"]["training"]["selection"] == "early_stopping"
    obstacles = [fold.obstacle(2 if holds_out else 1) for fold in dataset_plan.folds]
    return f"no fold can be trained ({'; '.join(obstacles)})" if obstacles and all(obstacles) else ""


def _survey(study: StudyBase, name: str) -> DatasetPlan:
    settings = study.dataset(name)
    if not study.is_asked(name):
        return _absent(name, Path(settings.folder), NOT_ASKED)
    how = generation(study, name)
    if how is not None:
        return _generated(study, name, settings, how)
    module = registry.load("datasets", name)
    folder = study.data / settings.folder if study.data is not None else EMBEDDED / name
    if not folder.is_dir() and (EMBEDDED / name).is_dir():
        folder = EMBEDDED / name
    if study.data is None and not folder.is_dir():
        return _absent(name, Path(settings.folder), "no data folder was given: set `data` (make results DATA=<folder>)")
    if not folder.is_dir():
        return _absent(name, folder, f"the data folder has no {settings.folder}/")
    listing = looked.Listing(folder)
    look = looked.look(name, module, listing, settings.options)
    if "annotations" in look.missing:
        return _absent(name, folder, look.missing["annotations"])
    if look.labelled < _FEWEST:
        few = f"only {look.labelled} of {len(look.item_ids)} items have a file of labels: too few to test on"
        return _absent(name, folder, few)
    no_video = look.missing.get(_common.medium(module).files, "")
    features, why, precomputed = _choose(study, settings, folder, bool(look.with_media), no_video)
    extracted = _extracted(study, features)
    return DatasetPlan(
        name=name,
        folder=folder,
        generated=False,
        inputs=tuple(map(Path, look.files)),
        reason="",
        item_ids=look.item_ids,
        with_video=look.with_media,
        features=features,
        feature_reason=why,
        notes=unlike_published(study, name, features),
        shots=", ".join(look.shots),
        protocol_notes=look.unlike_published,
        shards=shards_of(look.with_media, settings.shard, look.seconds, look.mean_seconds) if extracted else (),
        seconds=look.seconds,
        precomputed=precomputed,
        missing=look.missing,
        folds=look.folds["media" if extracted else "files"],
        listing=listing if look.media else None,
    )


def generation(study: StudyBase, name: str) -> Generated | None:
    """What a data set is generated from; None where it is read."""
    from utopia.inputs.miniature import always_generated

    if not always_generated(name):
        return study.generated
    options = study.dataset(name).options
    return Generated(
        items={name: options.series}, seconds=options.seconds, annotators=options.annotators, label_annotators=1
    )


def _generated(study: StudyBase, name: str, settings: Any, how: Generated) -> DatasetPlan:
    from utopia.inputs.miniature import always_generated, item_ids, video_ids

    folder = study.root / "inputs" / "raw" / name
    count = how.items.get(name, 0)
    if not count:
        return _absent(name, folder, "the miniature does not generate this data set")
    with_video = tuple(video_ids(name, count))
    features, why, drawn = _choose(
        study, settings, folder, bool(with_video), "the miniature generates no videos for this data set"
    )
    return DatasetPlan(
        name=name,
        folder=folder,
        generated=True,
        inputs=(folder,),
        reason="",
        item_ids=tuple(item_ids(name, count)),
        with_video=with_video,
        features=features,
        feature_reason=why,
        notes=("generated data" if always_generated(name) else "generated miniature data",),
        shards=shards_of(with_video, settings.shard) if _extracted(study, features) else (),
        precomputed=drawn,
    )


def _absent(name: str, folder: Path, reason: str) -> DatasetPlan:
    return DatasetPlan(name, folder, False, (), reason, (), (), (), reason)


def _choose(
    study: StudyBase, settings: Any, folder: Path, videos: bool, no_videos: str
) -> tuple[tuple[str, ...], str, dict[str, Path]]:
    """The first set of features all of whose members are available; else why none can."""
    if not settings.features:
        return (), "it has labels only: no features are named for it (setting `features` of the data set)", {}
    reasons = []
    for choice in settings.features:
        chosen_files: dict[str, Path] = {}
        why = ""
        for feature in choice:
            reason, path = _feature(study, feature, folder, videos, no_videos)
            why = why or reason
            if path is not None:
                chosen_files[feature] = path
        if not why:
            return tuple(choice), "", chosen_files
        reasons.append(f"{'+'.join(choice)}: {why}")
    return (), "; ".join(reasons), {}


def _feature(study: StudyBase, feature: str, folder: Path, videos: bool, no_videos: str) -> tuple[str, Path | None]:
    settings = study.features[feature]  # type: ignore[attr-defined]
    if settings.extractor in PRECOMPUTED:
        if generation(study, folder.name) is not None:
            from utopia.inputs.miniature import draws_features

            # the file is not there yet when the first run is planned, so the whole folder is what the job reads
            return ("", folder) if draws_features(folder.name) else ("the miniature has no precomputed features", None)
        place = study.data / settings.folder if settings.folder and study.data else folder
        # who has the published files of a data set that comes with the project has not what the project made of them
        for here in (place, EMBEDDED / folder.name):
            for name in settings.files:
                if (here / name).is_file():
                    return "", here / name
        return f"{' or '.join(settings.files)} is not in {settings.folder or folder.name}/", None
    if not videos:
        return no_videos or "no videos", None
    from utopia.features import cards
    from utopia.features.weights import find

    for card in cards.needed(settings.options):
        reason = find(card, study.data / "weights" if study.data else None).reason
        if reason:
            return _remedied(reason, card), None
    return _nothing_to_tune_on(study, settings.fine_tune, folder), None


def _nothing_to_tune_on(study: StudyBase, how: FineTune | None, folder: Path) -> str:
    """Why a network cannot be fine-tuned first; empty if it can, or need not."""
    if how is None:
        return ""
    if how.frames is not None:
        if study.data is not None and (study.data / how.frames).is_dir():
            return ""
        return f"needs labelled frames to fine-tune on, and <data>/{how.frames}/ is not there (docs/fine_tuning.md)"
    other = study.dataset(str(how.dataset))
    if not study.is_asked(str(how.dataset)):
        return f"needs {how.dataset} to fine-tune on, which was not asked for"
    if study.generated is not None:
        there = bool(study.generated.items.get(str(how.dataset), 0))
    else:
        there = study.data is not None and (study.data / other.folder == folder or (study.data / other.folder).is_dir())
    return "" if there else f"needs {how.dataset} to fine-tune on, and {other.folder}/ is not there"


def _extracted(study: StudyBase, features: tuple[str, ...]) -> bool:
    """Whether some of the features are made from videos or songs."""
    return any(study.features[name].extractor not in PRECOMPUTED for name in features)  # type: ignore[attr-defined]


def unlike_published(study: StudyBase, dataset: str, chosen: Sequence[str]) -> tuple[str, ...]:
    """Why values on a set of features cannot be compared with published values; empty if they are what the paper names.

    Args:
        study: the study.
        dataset: its data set.
        chosen: names of the features; none where nothing was available.
    """
    from utopia.features import cards, weights

    every: Mapping[str, Any] = study.features  # type: ignore[attr-defined]
    reasons = [every[name].note for name in chosen if every[name].note]
    published = study.dataset(dataset).published_features
    if chosen and published and not reasons and set(chosen) not in map(set, published):
        theirs = " or ".join("+".join(names) for names in published)
        reasons.append(f"features {'+'.join(chosen)}, where the paper has {theirs}")
    for name in chosen:
        if every[name].extractor in PRECOMPUTED:
            continue
        started_from = {"weights"} if every[name].fine_tune is not None else set()
        for setting, card in cards.chosen(every[name].options).items():
            if setting in started_from and card != cards.RANDOM:
                continue  # published weights that the study trains further, as the paper did
            unlike = "random weights" if card == cards.RANDOM else weights.card(card).unlike_published
            reasons += [f"{name}: {unlike}"] * bool(unlike)
    return tuple(reasons)
