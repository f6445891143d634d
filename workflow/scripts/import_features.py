"""Takes in features that somebody else extracted."""

from pathlib import Path

from utopia.features.precomputed import import_features
from utopia.provenance.job import record

with record(snakemake) as job:
    made = import_features(
        manifest=Path(snakemake.input.manifest),
        root=Path(snakemake.params.folder),
        feature=snakemake.wildcards.feature,
        settings=snakemake.params.settings,
        source=Path(snakemake.input.source),
        store=Path(snakemake.params.store),
        output=Path(snakemake.output[0]),
    )
    job.made(*made)
