"""Puts a data set's labels on one time grid."""

from pathlib import Path

from utopia.labels.build import build_labels
from utopia.provenance.job import record

with record(snakemake) as job:
    build_labels(
        dataset=snakemake.wildcards.dataset,
        manifest=Path(snakemake.input.manifest),
        folder=Path(snakemake.params.folder),
        options=snakemake.params.options,
        distribution=snakemake.params.distribution,
        output=Path(snakemake.output[0]),
    )
