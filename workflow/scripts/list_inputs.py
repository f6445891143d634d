"""Lists every expected item of a data set with its files' hashes, or the reason of its absence."""

from pathlib import Path

from utopia.inputs.manifest import list_inputs
from utopia.provenance.job import record

with record(snakemake) as job:
    job.used(
        *list_inputs(
            dataset=snakemake.wildcards.dataset,
            folder=Path(snakemake.params.folder),
            options=snakemake.params.options,
            output=Path(snakemake.output[0]),
        )
    )
