"""Computes the metrics of the stored predictions of some runs."""

from pathlib import Path

from utopia.evaluation.protocols import evaluate_run
from utopia.provenance.job import record

with record(snakemake) as job:
    for run, predictions, output in zip(
        snakemake.params.runs, snakemake.input.predictions, snakemake.output, strict=True
    ):
        evaluate_run(run=run, labels=Path(snakemake.input.labels), predictions=Path(predictions), output=Path(output))
