"""Computes the metrics of a reference that needs no network."""

from pathlib import Path

from utopia.evaluation.references import evaluate_reference
from utopia.provenance.job import record

with record(snakemake) as job:
    evaluate_reference(
        reference=snakemake.wildcards.reference,
        run=snakemake.params.run,
        labels=Path(snakemake.input.labels),
        features=[Path(path) for path in snakemake.input.get("features", [])],
        output=Path(snakemake.output[0]),
    )
