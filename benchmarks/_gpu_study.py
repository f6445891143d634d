"""The stage of `gpu.py` that is a whole study: ULDA's nine tables at the papers' sizes, from generated features."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from _gpu_training import TINY, Row, Sizes, epoch_seconds_of, plain_rate, seconds_of, train
from _study import Study, stack_of

from utopia.config.load import load
from utopia.plan.plan import Plan
from utopia.plan.runs import Run as PlannedRun
from utopia.plan.runs import batches
from utopia.plan.scale import labels_per_second, mean_seconds
from utopia.training.data import Fold
from utopia.training.parts import Parts
from utopia.training.replica import Replica
from utopia.training.settings import parse_run
from utopia.training.trainer import ReplicaJob

SOME = 16
"""Videos that the plain loop is timed on."""
VIDEOS = {"summe": 25, "tvsum": 50, "liris": 66, "pmemo": 794}
WIDTHS = {"summe": 1024, "tvsum": 1024, "liris": 3968, "pmemo": 260}
LIRIS_SECONDS = 740.0
"""Mean length of its films, a label per second."""


def planned() -> dict[str, list[PlannedRun]]:
    """The batches of ULDA's tables, from the plan of the paper study itself."""
    plan = Plan(load(overrides={"study": "paper", "without_data": "hole"}))
    cells = [cell for cell in plan.cells if cell.table.startswith("ulda_table_")]
    runs = {run.id: run for cell in cells for run in cell.runs if run.reference is None}
    return batches(runs.values(), plan.study.engine.runs)


def study_rates(device: torch.device, sizes: Sizes, *, whole: bool = False) -> Iterator[Row]:
    """The nine tables from generated features at the papers' sizes: of each pack one stack for two epochs, or all.

    What is told beside the measured time is the time of all replicas and epochs of the recipe, an upper bound: early
    stopping ends most before.
    """
    total = plain = compared = 0.0
    for number, (name, pack) in enumerate(sorted(planned().items(), key=lambda one: len(one[1])), start=1):
        with tempfile.TemporaryDirectory() as folder:
            row = _pack(Path(folder), pack, device, sizes, whole)
        total += row["projected_s"]
        if row["projected_plain_s"]:
            plain, compared = plain + row["projected_plain_s"], compared + row["projected_s"]
        yield {"what": name, **row, "packs_so_far": number, "projected_so_far_s": total}
    ratio = plain / compared if compared else None
    yield {
        "what": "all packs",
        "projected_s": total,
        "goal_s": 600.0,
        "of_plain_loop": ratio,
        "goal_of_plain_loop": 15.0,
    }


def _pack(folder: Path, pack: list[PlannedRun], device: torch.device, sizes: Sizes, whole: bool) -> Row:
    dataset, settings = pack[0].dataset, dict(pack[0].settings)
    seconds = mean_seconds(dataset) or LIRIS_SECONDS
    frames = max(12, round(sizes.share * seconds * labels_per_second(dataset)))
    videos = max(10, round(sizes.share * VIDEOS[dataset]))
    width = max(8, round(sizes.share * WIDTHS[dataset]))
    if sizes is TINY:
        small = dict(sizes.models.values())
        settings["model_config"] = settings["model_config"] | small[settings["model"]]
    folds = 5 if dataset in ("summe", "tvsum") else 1
    targets = list(settings["targets"])
    studies: dict[str, Study] = {}
    for run in pack:
        if run.distribution_key not in studies:
            place = folder / str(len(studies))
            place.mkdir()
            how: dict[str, Any] = {"settings": run.distribution, "window": run.window, "targets": targets}
            how["features"] = next(iter(studies.values())).features if studies else None
            studies[run.distribution_key] = Study(place, videos, frames, width, folds=5, **how)
    first = next(iter(studies.values()))
    jobs: list[ReplicaJob] = []
    for run in pack:
        study = studies[run.distribution_key]
        generated = {"features": ["generated"], "device": "auto", "normalise": {}}
        ours = parse_run(dict(run.settings) | {"model_config": settings["model_config"], **generated})
        parts = Parts.of(ours, study.plan)
        members = [(repeat, member) for repeat in range(ours.repeats) for member in range(ours.members)]
        for fold, target, (repeat, member) in itertools.product(study.data.folds[:folds], targets, members):
            jobs.append(
                ReplicaJob(Replica(target, fold.name, repeat, member), ours, parts, study.data, fold, study.plan)
            )
    recipe = jobs[0].parts.recipe
    if whole:
        spent = seconds_of(lambda: train(jobs, device, jobs[0].run.engine), device)
        return {"replicas": len(jobs), "measured_s": spent, "projected_s": spent, "projected_plain_s": None}
    # every so many, so that all treatments of the pack are in the stack
    some = jobs[:: max(1, len(jobs) // jobs[0].run.engine.places)][: jobs[0].run.engine.places]
    some = some[:2] if sizes is TINY else some
    training = stack_of(some, device)
    epoch = epoch_seconds_of(training, device, 1)
    plain = _plain(some[0], first, device, sizes)
    return {
        "replicas": len(jobs),
        "epochs": recipe.epochs,
        "at_once": len(some),
        "epoch_s": epoch,
        "of_plain_loop": len(some) / epoch / plain if plain else None,
        "projected_s": epoch / len(some) * len(jobs) * recipe.epochs,
        "projected_plain_s": len(jobs) * recipe.epochs / plain if plain else None,
    }


def _plain(job: ReplicaJob, study: Study, device: torch.device, sizes: Sizes) -> float | None:
    """Epochs per second of the plain loop, by its rate on some of the videos."""
    some = Fold(job.fold.name, job.fold.train[:SOME], job.fold.test)
    frames = {fold: sum(len(study.features[item]) for item in fold.train) for fold in (some, job.fold)}
    less = ReplicaJob(job.replica, job.run, job.parts, job.data, some, job.distribution)
    rate = plain_rate(job.run.model, job.run.settings, study, less, device, sizes)
    return rate * frames[some] / frames[job.fold] if rate else None
