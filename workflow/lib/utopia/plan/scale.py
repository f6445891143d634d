"""What a study of N videos will cost: jobs, core-hours, GPU-hours, disk and wall time, from rates that were measured.

A training's rate is measured on this machine where the study (or the miniature) has trained the model, else at the
published size by `benchmarks/rates.py`. Every epoch that a recipe allows is counted: early stopping only makes it less.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from utopia.config import registry
from utopia.config.study import PRECOMPUTED
from utopia.errors import ConfigError, counted
from utopia.files import read_json
from utopia.plan import availability, cost
from utopia.plan.plan import Plan
from utopia.plan.rates import Rates
from utopia.plan.runs import Run, batches

SOURCE = "x86-64, torch 2.11, one thread: `benchmarks/rates.py`, `benchmarks/clips.py`, `benchmarks/extraction.py`"
JOB_CPU_SECONDS = {"local": 3.0, "slurm": 13.0}
"""A job before it begins to work: Snakemake's share, Python, torch; on SLURM Snakemake starts twice more."""
LIST_CPU_SECONDS = 0.05
"""Probing and hashing a video of a few megabytes."""
CELLS_CPU_SECONDS = 5.0
"""A table or a figure; evaluating a pack."""


@dataclass
class ScaledStage:
    """What a stage of the study costs."""

    stage: str
    jobs: int
    threads: int = 1
    core_seconds: float = 0.0
    gpu_seconds: float | None = None
    """Null: no rate on a GPU was measured."""
    disk_bytes: float = 0.0


@dataclass
class ScaledPrice:
    """What a study costs in which one data set has `videos` videos."""

    dataset: str
    videos: int
    seconds: float
    """Mean length of a video."""
    nodes: int
    cores: int
    """Per node."""
    stages: list[ScaledStage] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    """What has no measured rate and is left out."""
    rates: dict[str, str] = field(default_factory=dict)
    """Where a training's rate comes from, by model."""

    @property
    def jobs(self) -> int:
        """All jobs."""
        return sum(stage.jobs for stage in self.stages)

    def wall_seconds(self) -> float:
        """One stage after the other; in each, its jobs in turns on all cores of all nodes."""
        total = 0.0
        for stage in self.stages:
            if stage.jobs:
                at_once = max(1, self.nodes * self.cores // stage.threads)
                seconds = stage.core_seconds / stage.jobs / stage.threads + JOB_CPU_SECONDS["slurm"]
                total += math.ceil(stage.jobs / at_once) * seconds
        return total

    def as_dict(self) -> dict[str, Any]:
        """JSON-able values (the keys are those of `utopia plan --videos N --json`)."""
        gpu = [stage.gpu_seconds for stage in self.stages if stage.gpu_seconds is not None]
        return {
            **{name: getattr(self, name) for name in ("dataset", "videos", "seconds", "nodes", "cores", "unknown")},
            "stages": [asdict(stage) for stage in self.stages],
            "jobs": self.jobs,
            "core_hours": round(sum(stage.core_seconds for stage in self.stages) / 3600, 1),
            "gpu_hours": round(sum(gpu) / 3600, 1) if gpu else None,
            "disk_gigabytes": round(sum(stage.disk_bytes for stage in self.stages) / 1e9, 2),
            "wall_hours": round(self.wall_seconds() / 3600, 1),
            "rates": self.rates,
            "source": SOURCE,
        }


def price(
    plan: Plan, dataset: str, videos: int, nodes: int = 1, cores: int = 16, seconds: float | None = None
) -> ScaledPrice:
    """What the study costs if one of its data sets had so many videos, all its features were extracted, and it was new.

    Args:
        plan: the study's plan; whether its data are there does not matter.
        dataset: the data set that grows; the other data sets are left out.
        videos: how many videos it has.
        nodes: machines at work at once, of `cores` cores each.
        seconds: mean length of a video; as the manifest has it, else as the official data set has it.

    Raises:
        ConfigError: there is no such data set, or the length of its videos is not known.
    """
    if dataset not in plan.datasets:
        raise ConfigError(f"there is no data set {dataset!r}", remedy=f"use: {', '.join(plan.datasets)}")
    length = seconds or _mean_length(plan, dataset)
    study_price = ScaledPrice(dataset, videos, round(length, 1), nodes, cores)
    runs = {run.id: run for cell in plan.cells for run in cell.runs if run.dataset == dataset}
    trained = [run for run in runs.values() if run.reference is None]
    groups = batches(trained, plan.study.engine.runs)
    study_price.stages.append(ScaledStage("list_inputs", 1, 1, videos * LIST_CPU_SECONDS, None, videos * 2_000.0))
    study_price.stages.append(_extraction(plan, study_price))
    keys = {run.distribution_key for run in trained if run.distribution}
    frames = videos * length * labels_per_second(dataset)
    study_price.stages.append(
        ScaledStage("labels", 1 + len(keys), 1, (1 + len(keys)) * frames * 2e-5, None, frames * 40.0)
    )
    study_price.stages.append(_training(plan, study_price, groups, frames))
    study_price.stages.append(
        ScaledStage("evaluation", len(groups) + len(runs) - len(trained), 1, len(runs) * frames * 2e-5)
    )
    outputs = [name for name in plan.tables if any(cell.table == name and cell.runs for cell in plan.cells)]
    drawn = [name for name, figure in plan.figures.items() if dataset in figure.datasets]
    rendered = len([name for name in outputs if _asks(plan, name, runs)]) + len(drawn) + 1
    study_price.stages.append(
        ScaledStage("outputs", rendered, 1, rendered * CELLS_CPU_SECONDS, None, rendered * 500_000.0)
    )
    return study_price


def _asks(plan: Plan, table: str, runs: Mapping[str, Run]) -> bool:
    return any(run.id in runs for cell in plan.cells if cell.table == table for run in cell.runs)


def _mean_length(plan: Plan, dataset: str) -> float:
    manifest = Path(plan.manifest(dataset))
    if manifest.is_file():
        lengths = [item.get("facts", {}).get("duration_s") for item in read_json(manifest)["items"]]
        known = [float(length) for length in lengths if length]
        if known:
            return sum(known) / len(known)
    how = availability.generation(plan.study, dataset)
    if how is not None:
        return float(how.size(dataset)["seconds"])
    if (official := mean_seconds(dataset)) is None:
        raise ConfigError(
            f"the length of {dataset}'s videos is not known before they are listed",
            why="nearly all costs grow with it",
            remedy="say it: --seconds 260",
        )
    return official


def labels_per_second(dataset: str) -> float:
    """Labels of a target per second of the official data set."""
    return float(registry.fact("datasets", dataset, "LABELS_PER_SECOND", 1.0))


def mean_seconds(dataset: str) -> float | None:
    """Mean length of the official videos; taken where no manifest tells. None: not known before they are listed."""
    return registry.fact("datasets", dataset, "MEAN_SECONDS", None)


def _extraction(plan: Plan, study_price: ScaledPrice) -> ScaledStage:
    """The first set of the data set's features that is extracted from videos, whether its weights are there or not."""
    settings = plan.study.dataset(study_price.dataset)
    features = plan.study.features  # type: ignore[attr-defined]
    chosen = next(
        (names for names in settings.features if all(features[name].extractor not in PRECOMPUTED for name in names)), ()
    )
    stage = ScaledStage("extraction", math.ceil(study_price.videos / settings.shard) if chosen else 0)
    seconds = study_price.videos * study_price.seconds
    stage.core_seconds = seconds * cost.DECODE_CPU_SECONDS_PER_SECOND if chosen else 0.0
    for name in chosen:
        extractor = features[name].extractor
        frames = registry.constant("extractors", extractor, "MEDIUM") == "frames"
        rows = seconds * (features[name].options.fps if frames else cost.ROWS_PER_SECOND_OF_SOUND)
        if extractor in cost.CPU_SECONDS_PER_ROW:
            stage.core_seconds += rows * cost.CPU_SECONDS_PER_ROW[extractor]
        else:
            study_price.unknown.append(f"extractor {extractor}")
        stage.disk_bytes += rows * 4 * width(extractor) + rows * 8
    return stage


def width(extractor: str) -> int:
    try:
        return int(registry.constant("extractors", extractor, "WIDTH") or 1024)
    except (ConfigError, ValueError, SyntaxError):
        return 128  # VGGish of the music: the constant is another extractor's


def _training(plan: Plan, study_price: ScaledPrice, groups: Mapping[str, list[Run]], frames: float) -> ScaledStage:
    stage = ScaledStage("training", len(groups), min(study_price.cores, plan.study.engine.cores(plan.study.device)))
    every = folds(plan, study_price.dataset)
    known = Rates(plan.root)
    for run in (run for group in groups.values() for run in group):
        count = min(every, run.labelling.folds or every)
        share = 1 - 1 / count if count > 1 else 0.8
        settings, model = run.settings, str(run.settings["model"])
        replicas = len(settings["targets"]) * count * int(settings["repeats"]) * int(settings.get("members", 1))
        stage.disk_bytes += replicas * frames / count * 4 + replicas * 4_000_000
        rate = known.training(run)
        if rate is None:
            study_price.unknown.append(f"training of {model}")
            continue
        training = settings["model_config"]["training"]
        # an epoch of clips takes one of every video, however long it is
        frames_of_epoch = study_price.videos * float(training["clips"]["steps"]) if "clips" in training else frames
        study_price.rates[model] = f"{rate.per_frame:.1e} s per frame and epoch ({rate.source})"
        seconds = replicas * int(training["epochs"]) * rate.seconds(frames_of_epoch * share, study_price.videos * share)
        if rate.on_gpu:
            stage.gpu_seconds = (stage.gpu_seconds or 0.0) + seconds
        else:
            stage.core_seconds += seconds
    study_price.unknown = sorted(set(study_price.unknown))
    return stage


def folds(plan: Plan, dataset: str) -> int:
    """Folds of a data set as its trained runs have them, else as they are published."""
    for path in plan.root.glob(f"runs/{dataset}.*/training.json"):
        return max(1, len(read_json(path)["folds"]))
    return int(registry.fact("datasets", dataset, "SPLITS", 1))


def in_words(study_price: ScaledPrice) -> list[str]:
    """The price for people."""
    whole = study_price.as_dict()
    gpu = "GPU: no rate was measured" if whole["gpu_hours"] is None else f"{whole['gpu_hours']} GPU-hours"
    lines = [
        f"{study_price.dataset} with {counted(study_price.videos, 'video')} of {study_price.seconds:.0f} s: "
        f"{whole['jobs']} jobs, {whole['core_hours']} core-hours, {gpu}, {whole['disk_gigabytes']} GB, "
        f"about {whole['wall_hours']} h on {counted(study_price.nodes, 'node')} of {study_price.cores} cores",
        "  stage         jobs    core-hours        GB",
    ]
    lines += [
        f"  {stage.stage:<12} {stage.jobs:>5} {stage.core_seconds / 3600:>13.1f} {stage.disk_bytes / 1e9:>9.2f}"
        for stage in study_price.stages
    ]
    lines += [f"  {model}: {rate}" for model, rate in sorted(study_price.rates.items())]
    lines += [f"  not counted, because it was never measured: {what}" for what in study_price.unknown]
    return lines
