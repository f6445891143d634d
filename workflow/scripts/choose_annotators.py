"""Makes labels of some annotators, judged by others, from the votes of all."""

from pathlib import Path

from utopia.labels.choose import choose_annotators
from utopia.provenance.job import record

with record(snakemake) as job:
    choose_annotators(
        labels=Path(snakemake.input.labels),
        choice=snakemake.params.choice,
        seed=snakemake.params.seed,
        output=Path(snakemake.output[0]),
    )
