"""Snakemake executor plugin (`--executor dask`): extraction runs on Dask's workers, which stay alive between jobs.

A worker takes one shard after another: Python, torch and the networks are loaded once, not once per job. It runs the
script of the rule on what Snakemake would give it, so the files, the record and the log of a job are the same. Every
other job runs on this machine, as Snakemake's own local executor runs it.

Dask is optional: nothing here imports it before the first extraction.
"""

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from snakemake.exceptions import SpawnedJobError
from snakemake.executors.local import Executor as LocalExecutor
from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.settings import CommonSettings, ExecutorSettingsBase

from snakemake_executor_plugin_dask.benchmark import write_benchmark
from utopia.provenance.values import flat, jsonable, named

STAYING = frozenset({"extract_features"})
"""Rules of many short jobs that load the same networks."""

common_settings = CommonSettings(non_local_exec=False, implies_no_shared_fs=False, job_deploy_sources=False)


@dataclass
class ExecutorSettings(ExecutorSettingsBase):
    """What `--dask-...` says."""

    workers: int = field(
        default=0, metadata={"help": "Workers on this machine (default: as many as have the threads of a job each)."}
    )
    scheduler_file: str = field(
        default="", metadata={"help": "File that `dask scheduler --scheduler-file` has written: its workers are used."}
    )


def require() -> None:
    """Look whether Dask is installed.

    Raises:
        WorkflowError: it is not; names the command that installs it.
    """
    missing = [name for name in ("distributed", "cryptography") if importlib.util.find_spec(name) is None]
    if missing:
        raise WorkflowError(
            f"The profile `dask` needs {' and '.join(missing)}, which this environment lacks. Run `make setup`, or "
            "install the extra: `.venv/bin/pip install '.[dask]'`; or run without `--profile dask`."
        )


class Executor(LocalExecutor):
    """Runs extraction on workers that stay alive, and all else as Snakemake does by itself."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require()
        from snakemake_executor_plugin_dask.farm import Farm

        asked = self.workflow.executor_settings
        self._farm = Farm(asked.workers, asked.scheduler_file, self.cores or 1)

    def run_single_job(self, job: Any) -> Any:
        """Start a job; returns its future."""
        if job.rule.name not in STAYING:
            return super().run_single_job(job)
        self.workflow.async_run(job.prepare())
        return self.pool.submit(self._on_worker, job)

    def _on_worker(self, job: Any) -> None:
        status = self._farm.run(asked_of(job, self.workflow.globals.get("config", {})))
        if status != 0:
            raise SpawnedJobError()
        if job.benchmark is not None:
            write_benchmark(job, self.workflow.output_settings.benchmark_extended)

    def shutdown(self) -> None:
        """End the workers when all is done."""
        super().shutdown()
        self._farm.close()

    def cancel(self) -> None:
        """End the workers first: jobs that wait for them end with that."""
        self._farm.close()
        super().cancel()


def asked_of(job: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    """A job of Snakemake in plain values: what `utopia.provenance.values.run_script` runs it from."""
    params = jsonable(named(job.params))
    (script,) = params["code"]["files"]
    return {
        "script": script,
        "folder": str(Path.cwd()),
        "rule": job.rule.name,
        "wildcards": {name: str(value) for name, value in named(job.wildcards).items()},
        "params": params,
        "input": _by_role(job.input),
        "output": _by_role(job.output),
        "log": flat(job.log),
        "threads": int(job.threads),
        "resources": {"attempt": int(job.attempt)},
        "config": jsonable(config),
    }


def _by_role(files: Any) -> dict[str, Any]:
    return {
        role: flat(paths) if isinstance(paths, list | tuple) else str(paths) for role, paths in named(files).items()
    }
