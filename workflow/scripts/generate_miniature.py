"""Generates a data set of the miniature in its official raw layout."""

from pathlib import Path

from utopia.inputs.miniature import generate
from utopia.provenance.job import record

with record(snakemake) as job:
    job.made(
        *generate(dataset=snakemake.wildcards.dataset, folder=Path(snakemake.output[0]), **snakemake.params.settings)
    )
