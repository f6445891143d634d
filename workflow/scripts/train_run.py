"""Trains all replicas of a run."""

from pathlib import Path

from utopia.provenance.job import record
from utopia.training.run import train_run

with record(snakemake) as job:
    made = train_run(
        run={**snakemake.params.run, "code": snakemake.params.code["fingerprint"]},
        labels=Path(snakemake.input.labels),
        distribution=Path(snakemake.input.distribution),
        features=[Path(index) for index in snakemake.input.features],
        folder=Path(snakemake.params.folder),
        predictions=Path(snakemake.output.predictions),
        summary=Path(snakemake.output.summary),
    )
    job.made(*made)
