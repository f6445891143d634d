"""Computes the metrics of a run's stored predictions."""

from pathlib import Path

from utopia.evaluation.protocols import evaluate_run
from utopia.provenance.job import record

with record(snakemake) as job:
    evaluate_run(
        run=snakemake.params.run,
        labels=Path(snakemake.input.labels),
        predictions=Path(snakemake.input.predictions),
        output=Path(snakemake.output[0]),
    )
