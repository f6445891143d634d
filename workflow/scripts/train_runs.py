"""Trains all replicas of the runs of a batch."""

from pathlib import Path

from utopia.provenance.job import record
from utopia.training.run import Task, mode_named, train_runs
from utopia.training.settings import parse_run

with record(snakemake) as job:
    runs = snakemake.params.runs
    distributions = snakemake.input.distributions or [None] * len(runs)
    made = train_runs(
        [
            Task(parse_run(run), distribution and Path(distribution), *map(Path, files))
            for run, distribution, *files in zip(
                runs,
                distributions,
                snakemake.params.folders,
                snakemake.output.predictions,
                snakemake.output.summaries,
                strict=True,
            )
        ],
        labels=Path(snakemake.input.labels),
        features=[Path(index) for index in snakemake.input.features],
        mode=mode_named(snakemake.params.mode),
        workers=snakemake.threads,
    )
    job.made(*made)
