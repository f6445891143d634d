"""Draws a figure."""

from pathlib import Path

from utopia.figures.render import render_figure
from utopia.provenance.job import record

with record(snakemake) as job:
    settings = snakemake.params.settings
    inputs = dict(snakemake.input.items())
    runs = settings["runs"]
    # by the folder of each file, which is named by its run, and in the order of the catalogue
    of_runs = {
        kind: {Path(path).parent.name: Path(path) for path in inputs[kind]}
        for kind in ("predictions", "summaries", "metrics")
        if inputs.get(kind)
    }
    render_figure(
        figure=settings["figure"],
        labels=Path(inputs["labels"]) if "labels" in inputs else None,
        distribution=Path(inputs["distribution"]) if "distribution" in inputs else None,
        table=Path(inputs["table"]) if "table" in inputs else None,
        manifest=Path(inputs["manifest"]) if "manifest" in inputs else None,
        features=[Path(path) for path in inputs.get("features", [])],
        feature_names=settings["feature_names"],
        feature_reason=settings["feature_reason"],
        runs=runs,
        absent=settings["absent"],
        absent_runs=settings["absent_runs"],
        outputs={form: Path(path) for form, path in snakemake.output.items()},
        **of_runs,
    )
