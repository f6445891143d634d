"""Extracts the features of one shard of videos."""

from pathlib import Path

from utopia.features.extract import extract_shard
from utopia.provenance.job import record

with record(snakemake) as job:
    weights = snakemake.params.weights_folder
    made = extract_shard(
        manifest=Path(snakemake.input.manifest),
        root=Path(snakemake.params.folder),
        items=snakemake.params.videos,
        features=snakemake.params.features,
        weights_folder=Path(weights) if weights else None,
        store=Path(snakemake.params.store),
        output=Path(snakemake.output[0]),
        seed=snakemake.params.seed,
        device=snakemake.params.device,
        threads=snakemake.threads,
    )
    job.made(*made)
