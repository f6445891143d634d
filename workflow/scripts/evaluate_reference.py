"""Computes the metrics of a reference that needs no network."""

from pathlib import Path

from utopia.provenance.job import record

with record(snakemake) as job:
    labels, output = Path(snakemake.input.labels), Path(snakemake.output[0])
    if snakemake.params.run["reference"] == "label_study":
        from utopia.evaluation.label_study import study_labels

        study_labels(run=snakemake.params.run, labels=labels, output=output)
    else:
        from utopia.evaluation.references import evaluate_reference

        evaluate_reference(
            reference=snakemake.params.run["reference"],
            run=snakemake.params.run,
            labels=labels,
            features=[Path(path) for path in snakemake.input.get("features", [])],
            output=output,
        )
