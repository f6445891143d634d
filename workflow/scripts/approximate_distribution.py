"""Convolves the label distribution and derives CWL weights and the TNS plan from it."""

from pathlib import Path

from utopia.distribution.approximate import approximate_distribution
from utopia.provenance.job import record

with record(snakemake) as job:
    approximate_distribution(
        labels=Path(snakemake.input.labels), output=Path(snakemake.output[0]), **snakemake.params.settings
    )
