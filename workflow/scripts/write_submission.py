"""Writes what a run predicts for videos whose labels are not published, as the challenge takes it."""

from pathlib import Path

from utopia.evaluation.submission import write_submission
from utopia.provenance.job import record

with record(snakemake) as job:
    job.used(
        write_submission(
            dataset=snakemake.params.dataset,
            folder=Path(snakemake.params.folder),
            options=snakemake.params.options,
            manifest=Path(snakemake.input.manifest),
            labels=Path(snakemake.input.labels),
            predictions=Path(snakemake.input.predictions),
            summary=Path(snakemake.input.summary),
            output=Path(snakemake.output.csv),
            report=Path(snakemake.output.report),
        )
    )
