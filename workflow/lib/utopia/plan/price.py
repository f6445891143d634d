"""What the study at hand costs from nothing, before its first run: per job, stage, table and unit of work.

Seconds are those of one CPU core, or of a GPU where the rate was measured on one. Every epoch that a recipe allows is
counted: early stopping only makes it less. What has no rate is named in `unknown` and left out of all sums.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from utopia.config import registry
from utopia.config.study import PRECOMPUTED
from utopia.datasets._summary import STEP
from utopia.inputs.miniature import has_media
from utopia.plan import cost, scale
from utopia.plan.availability import generation
from utopia.plan.jobs import PlannedJob
from utopia.plan.plan import Plan
from utopia.plan.rates import Rate, Rates, checkpoint_bytes
from utopia.plan.runs import LABEL_STUDY, Run
from utopia.plan.shards import seconds_of

STAGES = {
    "generate_miniature": "inputs", "list_inputs": "inputs", "build_labels": "labels", "choose_annotators": "labels",
    "approximate_distribution": "labels", "fine_tune": "extraction", "extract_features": "extraction",
    "import_features": "extraction", "train": "training", "evaluate": "evaluation", "evaluate_reference": "evaluation",
    "write_submission": "evaluation", "render_table": "outputs", "render_figure": "outputs",
    "report_coverage": "outputs", "render_page": "outputs",
}  # fmt: skip
"""The stage of each rule; one that is not named belongs to the outputs."""
START = {
    "train": 1.8, "extract_features": 1.6, "fine_tune": 1.6, "render_figure": 1.3, "render_page": 3.0,
    "render_table": 0.4, "evaluate": 0.4,
}  # fmt: skip
"""CPU seconds of a job's own start: Python and what it imports."""
OTHER_START = 0.15
WORKFLOW = 0.7
"""CPU seconds of Snakemake per job."""
RANDOM_SUMMARY = 0.012
"""CPU seconds of a summary of a video from random scores, judged."""
GENERATED_PIXELS_PER_SECOND = 1.5e7


@dataclass
class JobCost:
    """One job from nothing."""

    job: PlannedJob
    seconds: float
    on_gpu: bool = False
    disk_bytes: float = 0.0
    unknown: tuple[str, ...] = ()

    @property
    def stage(self) -> str:
        """A name of `STAGES`."""
        return STAGES.get(self.job.rule, "outputs")


@dataclass
class Stage:
    """The jobs of a kind."""

    stage: str
    jobs: int = 0
    core_seconds: float = 0.0
    gpu_seconds: float = 0.0
    longest_seconds: float = 0.0
    disk_bytes: float = 0.0


@dataclass
class Unit:
    """One video's extraction, or one replica's training."""

    unit: str
    count: int
    seconds: float
    source: str
    """Where its rate comes from; of several, all."""
    on_gpu: bool = False
    stage: str = "extraction"


@dataclass
class Price:
    """What a study costs (the keys of `as_dict` are those of `utopia plan --json` under `price`)."""

    jobs: list[JobCost]
    stages: list[Stage]
    units: list[Unit]
    tables: dict[str, float]
    """Core-seconds of each table if it alone were made, from nothing."""
    unknown: list[str] = field(default_factory=list)
    """What has no measured rate; it is in no sum."""
    workers: int = 1
    """Cores of a training job."""

    @property
    def core_seconds(self) -> float:
        """Of all jobs, those on a GPU left out."""
        return sum(stage.core_seconds for stage in self.stages)

    @property
    def gpu_seconds(self) -> float | None:
        """Of all jobs whose rate was measured on a GPU; None: none was."""
        return sum(stage.gpu_seconds for stage in self.stages) or None

    def wall_seconds(self, nodes: int, cores: int) -> float:
        """From nothing on some nodes: one stage after the other, each at least as long as its longest job, and training
        as its longest replica, which no second core makes shorter.
        """
        total = 0.0
        replica = max((unit.seconds for unit in self.units if unit.stage == "training"), default=0.0)
        for stage in self.stages:
            training = stage.stage == "training"
            threads = min(cores, self.workers if training else 1)
            at_once = max(1, nodes * max(1, cores // threads))
            work = (stage.core_seconds / threads + stage.gpu_seconds) / min(at_once, max(1, stage.jobs))
            total += max(work, stage.longest_seconds / threads, replica if training else 0.0)
        return total

    def seconds_by_rule(self) -> dict[str, float]:
        """Mean seconds of a job by rule, as Snakemake names rules."""
        seconds_of: dict[str, list[float]] = defaultdict(list)
        for job_cost in self.jobs:
            seconds_of[job_cost.job.name].append(job_cost.seconds)
        return {rule: sum(seconds) / len(seconds) for rule, seconds in seconds_of.items()}

    def as_dict(self, nodes: int, cores: int) -> dict[str, Any]:
        """JSON-able values."""
        gpu = self.gpu_seconds
        return {
            "core_hours": round(self.core_seconds / 3600, 3),
            "gpu_hours": None if gpu is None else round(gpu / 3600, 3),
            "disk_gigabytes": round(sum(stage.disk_bytes for stage in self.stages) / 1e9, 3),
            "wall_hours": round(self.wall_seconds(nodes, cores) / 3600, 3),
            "nodes": nodes,
            "cores": cores,
            "stages": [asdict(stage) for stage in self.stages],
            "units": [asdict(unit) for unit in self.units],
            "tables": {name: round(seconds / 3600, 4) for name, seconds in self.tables.items()},
            "unknown": self.unknown,
        }


def price(plan: Plan) -> Price:
    """What the study's jobs cost from nothing, whatever of it is there."""
    return Pricing(plan).price()


class Pricing:
    """The price of each job of a plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.rates = Rates(plan.root)
        self.units: dict[str, Unit] = {}
        self.unknown: dict[str, None] = {}
        self.lengths: dict[str, list[float]] = {}
        self.shard_seconds: dict[str, list[float]] = {}

    def price(self) -> Price:
        """All of it."""
        jobs = [self._job(job) for job in self.plan.jobs]
        stages = {name: Stage(name) for name in dict.fromkeys(STAGES.values())}
        for job_cost in jobs:
            stage = stages[job_cost.stage]
            stage.jobs += 1
            if job_cost.on_gpu:
                stage.gpu_seconds += job_cost.seconds
            else:
                stage.core_seconds += job_cost.seconds
            stage.longest_seconds = max(stage.longest_seconds, job_cost.seconds)
            stage.disk_bytes += job_cost.disk_bytes
        kept = [stage for stage in stages.values() if stage.jobs]
        cores = self.plan.study.engine.cores(self.plan.study.device)
        return Price(jobs, kept, list(self.units.values()), self._tables(jobs), list(self.unknown), cores)

    def _job(self, job: PlannedJob) -> JobCost:
        known = {
            "generate_miniature": self._generate,
            "list_inputs": self._list,
            "build_labels": self._labels,
            "choose_annotators": self._labels,
            "approximate_distribution": self._labels,
            "extract_features": self._extract,
            "train": self._train,
            "evaluate": self._evaluate,
            "evaluate_reference": self._reference,
        }
        job_cost = JobCost(job, WORKFLOW + START.get(job.rule, OTHER_START))
        if job.rule == "fine_tune":
            self.unknown[f"fine-tuning of {job.names['feature']}"] = None
        if job.rule in known:
            known[job.rule](job_cost)
        return job_cost

    # -- inputs and labels

    def length(self, dataset: str) -> list[float]:
        """Seconds of every item; of those that nobody has looked at, the data set's usual length."""
        if dataset not in self.lengths:
            self.lengths[dataset] = _lengths(self.plan, dataset, self.unknown)
        return self.lengths[dataset]

    def frames(self, dataset: str) -> float:
        """Labels of all items of a data set (of one target)."""
        per_second = scale.labels_per_second(dataset)
        if self.plan.study.generated is not None and registry.constant("datasets", dataset, "PROTOCOL") == "summary":
            per_second = self.plan.study.generated.fps / STEP
        return sum(self.length(dataset)) * per_second

    def _generate(self, job_cost: JobCost) -> None:
        dataset = job_cost.job.names["dataset"]
        size = generation(self.plan.study, dataset)
        assert size is not None
        filmed = has_media(dataset)  # series whose features are drawn have no pictures
        pixels = size.width * size.height * size.fps * sum(self.length(dataset)) if filmed else 0
        job_cost.seconds += 1.0 + pixels / GENERATED_PIXELS_PER_SECOND
        job_cost.disk_bytes += pixels * 0.01

    def _list(self, job_cost: JobCost) -> None:
        dataset_plan = self.plan.datasets[job_cost.job.names["dataset"]]
        videos = len(dataset_plan.item_ids)
        if not dataset_plan.generated or has_media(dataset_plan.name):  # to be hashed and probed
            job_cost.seconds += videos * scale.LIST_CPU_SECONDS
        job_cost.disk_bytes += videos * 2_000.0

    def _labels(self, job_cost: JobCost) -> None:
        frames = self.frames(job_cost.job.names["dataset"])
        job_cost.seconds += frames * 2e-5
        job_cost.disk_bytes += frames * 40.0

    # -- features

    def _extract(self, job_cost: JobCost) -> None:
        dataset = job_cost.job.names["dataset"]
        dataset_plan = self.plan.datasets[dataset]
        shard, lengths = int(job_cost.job.names["shard"]), self.length(dataset)
        mean = sum(lengths) / max(1, len(lengths))
        sources: dict[str, None] = {}
        cost_of_second, disk = self._decoding(), 0.0
        for name in dataset_plan.features:
            settings = self.plan.study.features[name]  # type: ignore[attr-defined]
            if settings.extractor in PRECOMPUTED:
                continue
            of_frames = registry.constant("extractors", settings.extractor, "MEDIUM") == "frames"
            rows = settings.options.fps if of_frames else cost.ROWS_PER_SECOND_OF_SOUND
            disk += rows * (4 * scale.width(settings.extractor) + 8)
            if (rate := self.rates.extraction(settings.extractor, settings.options)) is None:
                self.unknown[f"extractor {settings.extractor}"] = None
                continue
            cost_of_second += rows * rate[0]
            sources[rate[1]] = None
        if dataset not in self.shard_seconds:
            self.shard_seconds[dataset] = seconds_of(dataset_plan.shards, dataset_plan.seconds, mean)
        seconds = self.shard_seconds[dataset][shard]
        job_cost.seconds += seconds * cost_of_second
        job_cost.disk_bytes += seconds * disk
        title = f"a video of {dataset} ({'+'.join(dataset_plan.features)}, {mean:.0f} s long)"
        priced = Unit(title, 0, mean * cost_of_second, "; ".join(sources))
        unit = self.units.setdefault(f"extraction {dataset}", priced)
        unit.count += len(dataset_plan.shards[shard])

    def feature_width(self, dataset: str) -> int:
        """Values of a data set's features per row; of precomputed ones, whose width their file tells later, 1024."""
        settings = [self.plan.study.features[name] for name in self.plan.datasets[dataset].features]  # type: ignore[attr-defined]
        made = [feature for feature in settings if feature.extractor not in PRECOMPUTED]
        return sum(scale.width(feature.extractor) for feature in made) or 1024

    def _decoding(self) -> float:
        """CPU seconds of decoding a second of video: of real ones that of 640x360 at 25 frames per second."""
        size = self.plan.study.generated
        if size is None:
            return cost.DECODE_CPU_SECONDS_PER_SECOND
        return cost.DECODE_CPU_SECONDS_PER_SECOND * size.width * size.height * size.fps / (640 * 360 * 25)

    # -- training

    def replicas(self, run: Run) -> int:
        """Trainings of a run: targets, folds, repeats, members."""
        settings = run.settings
        members = int(settings.get("members", 1))
        return len(settings["targets"]) * self.folds(run) * int(settings["repeats"]) * members

    def folds(self, run: Run) -> int:
        """Folds of a run: those that its data set's files name, else those of its trained runs or the published splits.

        A run that tests folds together has no more than it says.
        """
        known = len(self.plan.datasets[run.dataset].folds) or scale.folds(self.plan, run.dataset)
        return min(known, run.labelling.folds or known)

    def _train(self, job_cost: JobCost) -> None:
        for run in self.plan.batches[job_cost.job.names["batch"]]:
            model, replicas = str(run.settings["model"]), self.replicas(run)
            rate = self.rates.training(run)
            predicted = self.frames(run.dataset) / max(1, self.folds(run))
            job_cost.disk_bytes += replicas * (predicted * 4 + checkpoint_bytes(run))
            if rate is None:
                self.unknown[f"training of {model}"] = None
                continue
            seconds = self.replica(run, rate)
            job_cost.seconds += replicas * seconds
            job_cost.on_gpu = job_cost.on_gpu or rate.on_gpu
            unit = self.units.setdefault(
                f"training {run.dataset} {model}",
                Unit(f"a training of {model} on {run.dataset}", 0, seconds, rate.source, rate.on_gpu, "training"),
            )
            unit.count += replicas

    def replica(self, run: Run, rate: Rate) -> float:
        """Seconds of one training of a run."""
        videos = len(self.plan.datasets[run.dataset].item_ids)
        folds = self.folds(run)
        share = 1 - 1 / folds if folds > 1 else 0.8
        training = run.settings["model_config"]["training"]
        frames = self.frames(run.dataset)
        if "clips" in training:  # an epoch takes one clip of every video
            frames = videos * float(training["clips"]["steps"])
        return int(training["epochs"]) * rate.seconds(frames * share, videos * share)

    # -- the rest

    def _evaluate(self, job_cost: JobCost) -> None:
        for run in self.plan.batches[job_cost.job.names["batch"]]:
            job_cost.seconds += self.frames(run.dataset) * int(run.settings["repeats"]) * 2e-5

    def _reference(self, job_cost: JobCost) -> None:
        dataset = job_cost.job.names["dataset"]
        name = self.plan.runs[f"{dataset}.reference.{job_cost.job.names['reference']}"].reference
        job_cost.seconds += 1.5 + self.frames(dataset) * (3e-3 if name == LABEL_STUDY else 1e-4)
        if name == "random" and registry.constant("datasets", dataset, "PROTOCOL") == "summary":
            draws = self.plan.study.evaluation.random_draws
            job_cost.seconds += len(self.plan.datasets[dataset].item_ids) * draws * RANDOM_SUMMARY

    def _tables(self, jobs: Iterable[JobCost]) -> dict[str, float]:
        """Of each table alone: its rendering, and all that its runs stand on; a shared training job by its runs."""
        makers: dict[str, JobCost] = {path: job_cost for job_cost in jobs for path in job_cost.job.made()}
        seconds_of = {}
        for name in self.plan.tables:
            wanted = set(self.plan.table_runs(name))
            seconds, waiting, seen = 0.0, [f"{self.plan.root}/tables/{name}.csv"], set()
            while waiting:
                job_cost = makers.get(waiting.pop())
                if job_cost is None or id(job_cost) in seen:
                    continue
                seen.add(id(job_cost))
                seconds += job_cost.seconds * self._share(job_cost.job, wanted)
                waiting += job_cost.job.read()
            seconds_of[name] = seconds
        return seconds_of

    def _share(self, job: PlannedJob, wanted: set[str]) -> float:
        """How much of a job that several runs share is done for some of them."""
        if job.rule not in ("train", "evaluate"):
            return 1.0
        runs = [run.id for run in self.plan.batches[job.names["batch"]]]
        return sum(run in wanted for run in runs) / len(runs)


def _lengths(plan: Plan, dataset: str, unknown: dict[str, None]) -> list[float]:
    dataset_plan = plan.datasets[dataset]
    known = cost.lengths_of(plan.study, dataset_plan, Path(plan.manifest(dataset))) or list(dataset_plan.seconds)
    count = len(dataset_plan.item_ids)
    if dataset_plan.generated and plan.study.generated is not None:
        known = [float(plan.study.generated.size(dataset)["seconds"])] * count
    mean = sum(known) / len(known) if known else scale.mean_seconds(dataset)
    if mean is None:
        unknown[f"lengths of {dataset}'s videos (known when they are listed; 60 s are taken)"] = None
        mean = 60.0
    return [*known, *[mean] * (count - len(known))][: max(count, len(known))]


def in_words(price: Mapping[str, Any]) -> list[str]:
    """The price for people, from the values of `Price.as_dict`."""
    gpu = "GPU-hours: unknown (no rate was measured on a GPU)"
    if price["gpu_hours"] is not None:
        gpu = f"{duration(price['gpu_hours'] * 3600)} of a GPU"
    nodes = f"{price['nodes']} {'node' if price['nodes'] == 1 else 'nodes'} of {price['cores']} cores"
    lines = [
        f"price of all of it, from nothing: {price['core_hours']:.3g} core-hours, {gpu}, "
        f"{price['disk_gigabytes']:.2g} GB on disk, about {duration(price['wall_hours'] * 3600)} on {nodes}"
    ]
    rows = [["stage", "jobs", "core time", "longest job", "disk"]]
    rows += [
        [
            stage["stage"],
            str(stage["jobs"]),
            duration(stage["core_seconds"])
            + (f" + {duration(stage['gpu_seconds'])} of a GPU" if stage["gpu_seconds"] else ""),
            duration(stage["longest_seconds"]),
            f"{stage['disk_bytes'] / 1e6:.0f} MB",
        ]
        for stage in price["stages"]
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = [[cell.ljust(wide) for cell, wide in zip(row, widths, strict=True)] for row in rows]
    lines += [f"  {'  '.join(row)}".rstrip() for row in padded]
    units = price["units"]
    sources = list(dict.fromkeys(unit["source"] for unit in units if unit["source"]))
    lines += ["one unit of work, with the source of its rate"] if units else []
    for unit in units:
        note = f"[{sources.index(unit['source']) + 1}]" if unit["source"] else "without networks whose rate is unknown"
        where = " of a GPU" if unit["on_gpu"] else ""
        lines.append(f"  {unit['unit']}: {duration(unit['seconds'])}{where}, {unit['count']} of them {note}")
    lines += [f"  [{number}] {source}" for number, source in enumerate(sources, 1)]
    return lines + [f"  unknown, and in no sum: {what}" for what in price["unknown"]]


def duration(seconds: float) -> str:
    """A length of time in one unit: `4.2 s`, `17 min`, `3.5 h`."""
    if seconds < 120:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
