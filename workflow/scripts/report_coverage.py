"""Counts what was expected, obtained and missing, by reason."""

from pathlib import Path

from utopia.inputs.coverage import report_coverage
from utopia.provenance.job import record

with record(snakemake) as job:
    report_coverage(
        manifests=[Path(path) for path in snakemake.input.manifests],
        indexes=[Path(path) for path in snakemake.input.indexes],
        absent=snakemake.params.absent,
        output=Path(snakemake.output[0]),
    )
