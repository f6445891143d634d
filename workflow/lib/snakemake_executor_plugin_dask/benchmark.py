"""Snakemake's benchmark file of a job that ran in a worker, from the job's own record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def write_benchmark(job: Any, extended: bool) -> None:
    """Write what the record of a finished job knows of its time and memory; Snakemake's other columns stay empty."""
    from snakemake.benchmark import BenchmarkRecord, write_benchmark_records

    facts = json.loads(Path(f"{job.output[0]}.record.json").read_text(encoding="utf-8"))
    record = BenchmarkRecord(
        running_time=facts["seconds"], max_rss=facts["peak_memory_bytes"] / 2**20, cpu_time=facts["cpu_seconds"]
    )
    record.data_collected = True
    about = {"jobid": job.jobid, "rule_name": job.rule.name, "input": job.input}
    about |= {name: getattr(job, name) for name in ("wildcards", "params", "resources", "threads")}
    for name, value in about.items():
        setattr(record, name, value)
    Path(str(job.benchmark)).parent.mkdir(parents=True, exist_ok=True)
    write_benchmark_records([record], str(job.benchmark), extended)
