"""Fine-tunes the network of a feature on labelled frames or on a data set's labels."""

from pathlib import Path

from utopia.features.finetune import fine_tune
from utopia.provenance.job import record

with record(snakemake) as job:
    folders = {"weights_folder": snakemake.params.weights_folder, "root": snakemake.params.folder}
    files = {role: snakemake.input.get(role) for role in ("frames", "manifest", "labels")}
    fine_tune(
        settings=snakemake.params.settings,
        output=Path(snakemake.output[0]),
        seed=snakemake.params.seed,
        device=snakemake.params.device,
        code=snakemake.params.code,
        **{name: Path(path) if path else None for name, path in {**folders, **files}.items()},
    )
