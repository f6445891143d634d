"""Dask's scheduler and workers, of this machine or of a cluster."""

from __future__ import annotations

import logging
import shutil
import threading
from pathlib import Path
from typing import Any

from snakemake_interface_common.exceptions import WorkflowError

from utopia.provenance.values import run_script

_KILLED_AT_MOST = 2
"""How often a shard may end its worker before its job fails; a worker is started again each time."""
_SCRATCH = Path(".snakemake", "dask")
_QUIET = {
    "distributed.scheduler.allowed-failures": _KILLED_AT_MOST,
    # No page about what runs: nothing but the workers' own encrypted connections listens.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    # One thread for each operation. Dask's own value has `MALLOC_TRIM_THRESHOLD_` too, which would reach other jobs.
    "distributed.nanny.pre-spawn-environ": dict.fromkeys(
        ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"
    ),
    # A shard takes minutes, and one call into a network may hold Python for seconds.
    "distributed.comm.timeouts.connect": "60s",
    "distributed.admin.tick.limit": "1h",
    "distributed.scheduler.work-stealing": False,
}


class Farm:
    """Workers that stay alive; they are started, or found, when the first job comes.

    Args:
        count: workers to start on this machine; 0: as many as have the threads of the first job each.
        scheduler_file: the file of a scheduler that is there; then none is started here.
        cores: of this machine, for such jobs.
    """

    def __init__(self, count: int, scheduler_file: str = "", cores: int = 1) -> None:
        self._count, self._file, self._cores = count, scheduler_file, cores
        self._lock = threading.Lock()
        self._client: Any = None
        self._cluster: Any = None
        self._closed = False

    def run(self, asked: dict[str, Any]) -> int:
        """Run a job on the next free worker; returns its exit status.

        Raises:
            KeyboardInterrupt: the farm was closed meanwhile.
            WorkflowError: the job has ended its worker several times, or there is no scheduler.
        """
        from distributed import CancelledError, KilledWorker

        try:
            future = self._connected(asked["threads"]).submit(run_script, asked, pure=False)
            return int(future.result())
        except CancelledError:
            raise KeyboardInterrupt from None
        except KilledWorker as error:
            raise WorkflowError(
                f"{asked['rule']} {asked['wildcards']}: {_KILLED_AT_MOST + 1} workers have ended while they had it in "
                "work, most often because memory ran out. What is stored stays; with fewer workers "
                "(`--dask-workers`) each has more memory."
            ) from error

    def close(self) -> None:
        """End the workers that were started here, and leave those of a cluster alone."""
        with self._lock:
            self._closed = True
            for part in (self._client, self._cluster):
                if part is not None:
                    part.close(timeout=10)
            if self._cluster is not None:
                shutil.rmtree(_SCRATCH, ignore_errors=True)
            self._client = self._cluster = None

    def _connected(self, threads: int) -> Any:
        with self._lock:
            if self._closed:
                raise KeyboardInterrupt
            if self._client is None:
                self._client = self._connect(threads)
            return self._client

    def _connect(self, threads: int) -> Any:
        import dask
        from distributed import Client, LocalCluster

        dask.config.set(_QUIET)
        if self._file:
            return self._found(Client)
        # Whoever may connect to a scheduler may run programs through it. The keys of this run are in memory only, so
        # that other users of this machine are refused.
        self._cluster = LocalCluster(
            n_workers=self._count or max(1, self._cores // threads),
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address=None,
            memory_limit=0,
            security=True,
            silence_logs=logging.ERROR,
            local_directory=str(_SCRATCH.absolute()),
        )
        return Client(self._cluster)

    def _found(self, connect: Any) -> Any:
        try:
            client = connect(scheduler_file=self._file, timeout="30s")
        except (OSError, ValueError, TypeError) as error:
            raise WorkflowError(
                f"{self._file}: no scheduler of Dask answers there ({error}). Start one: docs/clusters.md."
            ) from error
        if not client.scheduler.address.startswith("tls://"):
            client.close()
            raise WorkflowError(
                f"{self._file}: this scheduler takes work from anyone who reaches its port, and runs it as you. Start "
                "it, and its workers, with a key (`--tls-ca-file`, `--tls-cert`, `--tls-key`): docs/clusters.md."
            )
        return client
