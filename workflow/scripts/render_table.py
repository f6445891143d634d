"""Renders a table in four forms."""

from pathlib import Path

from utopia.evaluation.summaries import frames, promised, reasons, untrained
from utopia.provenance.job import record
from utopia.tables.render import render_table

with record(snakemake) as job:
    settings = snakemake.params.settings
    summaries = [Path(path) for path in snakemake.input.summaries]
    holes = untrained(summaries)
    metrics = zip(snakemake.params.runs, snakemake.input.metrics, strict=True)
    render_table(
        table=settings["table"],
        runs={run: Path(path) for run, path in metrics if run not in holes},
        absent={**settings["absent"], **holes},
        not_comparable=reasons(settings["notes"], summaries),
        promised=promised(summaries),
        frames=frames(summaries),
        outputs={form: Path(path) for form, path in snakemake.output.items()},
    )
