"""Writes the page on which every number shows its ancestry."""

from pathlib import Path

from utopia.provenance.job import record
from utopia.provenance.ledger import Ledger
from utopia.provenance.paths import roots_of
from utopia.report.page import cards, render_page

with record(snakemake) as job:
    given, output = snakemake.params, Path(snakemake.output[0])
    folder = Path(snakemake.input.coverage).parents[1]
    ledger = Ledger.read(folder, roots=roots_of(given, snakemake.config))
    job.used(*(each.path for each in ledger.records if each.rule != snakemake.rule))
    job.used(*cards(ledger))
    render_page(
        ledger=ledger,
        root=ledger.portable.write(folder),
        study=given.study,
        tables=given.tables,
        figures=given.figures,
        output=output,
        rule=snakemake.rule,
    )
