"""Trains all replicas of the runs of a pack, on clips."""

from pathlib import Path

from utopia.provenance.job import record
from utopia.training.clips import OnClips
from utopia.training.run import Task, train_runs
from utopia.training.settings import parse_run

with record(snakemake) as job:
    made = train_runs(
        [
            Task(parse_run(run), None, *map(Path, files))
            for run, *files in zip(
                snakemake.params.runs,
                snakemake.params.folders,
                snakemake.output.predictions,
                snakemake.output.summaries,
                strict=True,
            )
        ],
        labels=Path(snakemake.input.labels),
        features=[Path(index) for index in snakemake.input.features],
        way=OnClips(),
    )
    job.made(*made)
